"""The development server is created once and stays the same, through crashes, reboots and damaged files."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner, Result

from taskdb import local
from taskdb.cli import main
from taskdb.errors import TaskdbError
from taskdb.local import place as place_module
from taskdb.local.account import Account
from taskdb.local.binaries import PROGRAMS, Binaries
from taskdb.local.place import Place
from taskdb.local.postmaster import postmaster

# `taskdb server start` in its own process. If root runs it, the servers are below the test's folder.
START = """
import sys
from pathlib import Path
from taskdb import local
from taskdb.local import place
place.BASE_FOR_ROOT = Path(sys.argv[1])
local.start(Path(sys.argv[2]))
"""


@pytest.fixture(scope="module")
def stopped(run_folder: Path, binaries: Binaries) -> Path:
    """Create the folder of a server that was started and stopped. Tests copy it, because creating one takes seconds."""
    home = Path(tempfile.mkdtemp(prefix="home-", dir=run_folder))
    home.chmod(0o755)
    (home / "Pulumi.yaml").touch()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{binaries.folder}{os.pathsep}{os.environ['PATH']}")
        patch.setattr(place_module, "BASE_FOR_ROOT", home / "base")
        local.start(home, say=lambda line: None)
        local.stop(home)
        return Place.of(home).server


@pytest.fixture
def project(empty: Path, stopped: Path) -> Path:
    """Return a project with a stopped server. The project's path contains a space."""
    place = Place.of(empty)
    with place.locked():
        subprocess.run(["cp", "-Rp", stopped, place.server], check=True)
    return empty


@pytest.fixture
def empty(open_folder: Path, binaries: Binaries, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Yield a project without a server. The project's path contains a space."""
    monkeypatch.setenv("PATH", f"{binaries.folder}{os.pathsep}{os.environ['PATH']}")
    folder = open_folder / "a project"
    folder.mkdir(mode=0o755)
    (folder / "Pulumi.yaml").touch()
    monkeypatch.setattr(place_module, "BASE_FOR_ROOT", open_folder / "base")
    yield folder
    local.remove(folder)


def start(project: Path, **options: Any) -> tuple[local.Server, list[str]]:
    said: list[str] = []
    return local.start(project, say=said.append, **options), said


def start_elsewhere(project: Path) -> subprocess.Popen[str]:
    base = str(place_module.BASE_FOR_ROOT)
    return subprocess.Popen(
        [sys.executable, "-c", START, base, project], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def data_of(project: Path) -> Path:
    return Place.of(project).server / "data"


def connect(server: local.Server, **changes: Any) -> psycopg.Connection:
    login = {"host": server.host, "port": server.port, "user": server.username, "password": server.password}
    return psycopg.connect(**(login | {"dbname": "postgres", "autocommit": True} | changes))


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "waited for 30 seconds"
        time.sleep(0.01)


def test_a_started_server_has_one_login_which_is_no_superuser(project: Path) -> None:
    server, _ = start(project)
    with connect(server) as admin:
        rights = "rolsuper, rolcreaterole, rolcreatedb, rolreplication, rolbypassrls"
        row = admin.execute(f"SELECT {rights} FROM pg_roles WHERE rolname = current_user").fetchone()
    assert row == (False, True, True, False, False)
    for stranger in ({"password": "wrong"}, {"user": "postgres"}, {"user": "postgres", "password": ""}):
        with pytest.raises(psycopg.OperationalError, match="password"):
            connect(server, **stranger)


def test_a_started_server_is_on_loopback_only_with_checksums_utf8_and_scram(project: Path) -> None:
    server, _ = start(project)
    expected = {
        "data_checksums": "on",
        "server_encoding": "UTF8",
        "password_encryption": "scram-sha-256",
    }
    with connect(server) as admin:
        assert {name: admin.execute(f"SHOW {name}").fetchone()[0] for name in expected} == expected
    socket_folder, addresses = (data_of(project) / "postmaster.pid").read_text().splitlines()[4:6]
    assert (socket_folder, addresses) == ("", "127.0.0.1")


@pytest.mark.full
def test_where_the_c_library_lacks_c_utf8_the_locale_is_c(
    empty: Path, binaries: Binaries, open_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs = open_folder / "programs"
    programs.mkdir(mode=0o755)
    for name in PROGRAMS:
        refuse = 'case "$*" in *C.UTF-8*) exit 1;; esac' if name == "initdb" else ":"
        (programs / name).write_text(f'#!/bin/sh\n{refuse}\nexec {binaries.program(name)} "$@"\n')
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    server, _ = start(empty)
    with connect(server) as admin:
        row = admin.execute(
            "SELECT datcollate, pg_encoding_to_char(encoding) FROM pg_database WHERE datname = 'template1'"
        ).fetchone()
    assert row == ("C", "UTF8")


def test_the_password_is_in_one_file_that_only_its_user_can_read(project: Path) -> None:
    server, said = start(project)
    connect(server).close()
    local.stop(project)
    secret = server.password.encode()
    folder = Place.of(project).server
    holders = [path for path in folder.rglob("*") if path.is_file() and secret in path.read_bytes()]
    assert holders == [folder / "server.json"]
    assert stat.S_IMODE(holders[0].stat().st_mode) == 0o600
    assert holders[0].stat().st_uid == os.geteuid()
    assert server.password not in repr(server) + "".join(said)


def test_a_server_inherits_no_secret_from_the_environment(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PGPASSWORD", "PULUMI_CONFIG_PASSPHRASE"):
        monkeypatch.setenv(name, "of-no-concern-to-a-server")
    start(project)
    command = ["ps", "eww", "-p", str(postmaster(data_of(project)))]
    shown = subprocess.run(command, capture_output=True, text=True).stdout
    assert " PATH=" in shown
    assert "of-no-concern-to-a-server" not in shown


def test_a_second_start_changes_nothing_and_says_so_in_one_line(project: Path) -> None:
    first, _ = start(project)
    process = postmaster(data_of(project))
    second, said = start(project)
    assert second == first
    assert postmaster(data_of(project)) == process is not None
    assert said == [f"PostgreSQL {local.status(project).version} already runs on 127.0.0.1, port {first.port}"]


def test_a_server_is_found_without_being_started_and_keeps_its_port_and_data(empty: Path) -> None:
    assert local.find(empty) is None
    server, _ = start(empty)
    with connect(server) as admin:
        admin.execute("CREATE ROLE kept")
    assert local.stop(empty)
    assert not local.stop(empty)
    assert local.find(empty) == server
    assert not local.is_running(empty)
    again, _ = start(empty)
    assert again == server
    with connect(server) as admin:
        assert admin.execute("SELECT 'kept'::regrole::text").fetchone() == ("kept",)


def test_after_a_crash_of_the_server_start_recovers_it(project: Path) -> None:
    server, _ = start(project)
    with connect(server) as admin:
        admin.execute("CREATE ROLE kept")
    process = postmaster(data_of(project))
    children = subprocess.run(["pgrep", "-P", str(process)], capture_output=True, text=True).stdout.split()
    os.kill(process, signal.SIGKILL)
    until(lambda: all(is_over(child) for child in children))
    assert not local.is_running(project)
    start(project)
    with connect(server) as admin:
        assert admin.execute("SELECT 'kept'::regrole::text").fetchone() == ("kept",)


def is_over(process: str) -> bool:
    state = subprocess.run(["ps", "-o", "stat=", "-p", process], capture_output=True, text=True).stdout
    return not state.strip() or state.startswith("Z")


def test_a_pid_file_of_another_program_stops_no_start_and_no_program(project: Path) -> None:
    account = Account.owning(data_of(project))
    other = subprocess.Popen(["sleep", "60"], user=account.uid if os.geteuid() == 0 else None, cwd="/")
    pid_file = data_of(project) / "postmaster.pid"
    # Stale after a reboot. Its fields: pid, folder, start time, port, socket folder, address, shared memory, state.
    pid_file.write_text(f"{other.pid}\n{data_of(project)}\n1700000000\n5432\n\n127.0.0.1\n  1 1\nready   \n")
    Account.owning(data_of(project)).own(pid_file)
    assert not local.is_running(project)
    assert not local.stop(project)
    assert other.poll() is None
    other.kill()
    other.wait()


def test_a_taken_port_is_named_with_the_way_on_and_the_new_port_is_remembered(project: Path) -> None:
    server = local.find(project)
    with socket.create_server(("127.0.0.1", server.port)):
        with pytest.raises(TaskdbError) as raised:
            start(project)
        before, _, command = str(raised.value).partition(": ")
        assert f"Port {server.port} on 127.0.0.1 is taken by another program" in before
        assert command.startswith("taskdb server start --port ")
        moved, _ = start(project, port=int(command.rpartition(" ")[2]))
    assert moved.port != server.port
    assert local.find(project) == moved
    with connect(moved) as admin:
        assert admin.info.port == moved.port


def test_a_running_server_is_not_moved_behind_its_users_back(project: Path) -> None:
    server, _ = start(project)
    with pytest.raises(TaskdbError, match="taskdb server stop && taskdb server start --port 20000"):
        start(project, port=20000)
    assert local.find(project) == server


def test_two_first_starts_at_once_make_one_server(empty: Path) -> None:
    processes = [start_elsewhere(empty), start_elsewhere(empty)]
    outputs = sorted(process.communicate(timeout=60)[0] for process in processes)
    assert [process.returncode for process in processes] == [0, 0]
    assert [output.split(" ", 1)[0] for output in outputs] == ["Creating", "PostgreSQL"]
    assert "already runs" in outputs[1]


def test_a_start_whose_output_is_a_pipe_ends_with_it(project: Path) -> None:
    """The server must not inherit the pipe: a reader of the pipe would wait until the server stops."""
    output, errors = start_elsewhere(project).communicate(timeout=60)
    assert local.is_running(project)
    assert f"port {local.find(project).port}" in output
    assert errors == ""


def test_a_creation_that_was_killed_is_done_again(empty: Path) -> None:
    base = Place.of(empty).base
    first = start_elsewhere(empty)
    until(lambda: list(base.glob("incomplete-*/data/base")))
    first.kill()
    first.communicate()
    assert local.find(empty) is None
    server, said = start(empty)
    assert said[0].startswith("Creating")
    connect(server).close()
    # The killed process's initdb can continue for a moment. One of the next commands deletes its files.
    until(lambda: start(empty) and not list(base.glob("incomplete-*")))


def test_lost_data_and_a_damaged_record_are_reported_with_the_way_on(project: Path) -> None:
    record = Place.of(project).server / "server.json"
    record.write_text(record.read_text()[:-9])
    with pytest.raises(TaskdbError, match=r"server\.json is damaged.*: taskdb server remove && taskdb server start"):
        local.find(project)
    record.unlink()
    with pytest.raises(TaskdbError, match=r"server\.json is missing.*: taskdb server remove && taskdb server start"):
        start(project)
    assert local.remove(project)
    assert local.find(project) is None


def test_missing_data_are_reported_with_the_way_on(project: Path) -> None:
    data_of(project).rename(project.parent / "elsewhere")
    with pytest.raises(TaskdbError, match=r"data .* are missing: .*taskdb server remove && taskdb server start"):
        start(project)


def test_data_of_a_major_version_that_is_not_installed_are_not_touched(project: Path) -> None:
    (data_of(project) / "PG_VERSION").write_text("12\n")
    with pytest.raises(TaskdbError, match="are of PostgreSQL 12, and no server of that version is installed"):
        start(project)


def test_a_server_that_does_not_start_shows_what_it_logged(project: Path) -> None:
    with (data_of(project) / "postgresql.conf").open("a") as configuration:
        configuration.write("shared_buffers = 'plenty'\n")
    with pytest.raises(TaskdbError, match=r'(?s)taskdb server start.*invalid value .*"shared_buffers": "plenty"'):
        start(project)


def test_a_server_never_runs_as_root_and_is_where_its_user_can_enter(project: Path) -> None:
    start(project)
    owner = subprocess.run(
        ["ps", "-o", "uid=", "-p", str(postmaster(data_of(project)))], capture_output=True, text=True
    )
    assert int(owner.stdout) == Account.for_new_server().uid != 0
    if os.geteuid() == 0:
        assert Place.of(project).server.parent == place_module.BASE_FOR_ROOT
    else:
        assert Place.of(project).server == project / ".local" / "server"


def test_looking_a_server_up_loads_neither_a_database_driver_nor_pulumi() -> None:
    code = "import sys, taskdb.local; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "taskdb.local.record" in loaded
    assert not {"psycopg", "sqlalchemy", "pulumi", "tarfile"} & set(loaded)


def taskdb(*arguments: str, answer: str | None = None) -> Result:
    return CliRunner().invoke(main, ["server", *arguments], input=answer)


def test_the_commands_tell_what_they_did_and_never_the_password(empty: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (empty / "below").mkdir()
    monkeypatch.chdir(empty / "below")
    runs = [taskdb(*words.split()) for words in ("status", "start", "start", "status", "status --json")]
    server = local.find(empty)
    assert [run.exit_code for run in runs] == [3, 0, 0, 0, 0], [run.output for run in runs]
    assert json.loads(runs[4].output) == {
        "host": "127.0.0.1",
        "port": server.port,
        "version": local.status(empty).version,
        "folder": str(Place.of(empty).server),
        "running": True,
    }
    runs += [taskdb(*words.split()) for words in ("stop", "stop", "status", "start --port 80")]
    assert [run.exit_code for run in runs[5:]] == [0, 0, 3, 2]
    assert server.password not in "".join(run.output for run in runs)


def test_remove_asks_and_deletes_what_stop_keeps(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project)
    start(project)
    assert taskdb("remove", answer="n\n").exit_code == 1
    assert local.is_running(project)
    process = postmaster(data_of(project))
    assert taskdb("remove", "--yes").exit_code == 0
    assert is_over(str(process))
    assert local.find(project) is None
    assert not Place.of(project).server.exists()
    assert "There was no server" in taskdb("remove", "--yes").output


def test_outside_a_project_a_command_says_so(open_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(open_folder)
    result = taskdb("start")
    assert result.exit_code == 1
    assert result.output == f"Error: No Pulumi.yaml in {open_folder} or above it: run this command inside the project\n"
