"""Another user of the machine can call neither the engine nor our plugins while an operation runs."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pulumi.runtime
import pulumi_postgresql
import pytest

from pulumi_embedded.errors import EngineError
from pulumi_embedded.processes.sockets import socket_folder
from pulumi_embedded.testing import Engine

pytest_plugins = ["pulumi_embedded.testing"]

NOBODY = 65534

DYNAMIC = """
import sys
from pulumi import Output
from pulumi.dynamic import CreateResult, Resource, ResourceProvider
from pulumi_alembic.stack.log import Log

class Saying(ResourceProvider):
    def create(self, props):
        Log(props["urn"]).info("said through the engine's log")
        return CreateResult("id", {**props, "engine": sys.argv[-1]})

class Said(Resource, name="Said"):
    engine: Output[str]

    def __init__(self):
        super().__init__(Saying(), "a", {"urn": "", "engine": None})
"""


def listening_ports(pids: set[int]) -> set[int]:
    """Return the TCP ports that the processes listen on, as Linux reports them."""
    inodes = set()
    for pid in pids:
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                inodes.add(str(descriptor.readlink()).removeprefix("socket:[").removesuffix("]"))
    ports = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(table).read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and fields[9] in inodes:
                ports.add(int(fields[1].rpartition(":")[2], 16))
    return ports


def children() -> set[int]:
    found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(os.getpid())], capture_output=True, text=True, check=True)
    # The process `ps` is one of them, and has ended.
    return {pid for pid in map(int, found.stdout.split()) if Path(f"/proc/{pid}/fd").exists()}


def refused_to(uid: int, sockets: list[Path]) -> list[str]:
    """Return the user's error for an attempt to connect to each socket."""
    script = """
import os, socket, sys
os.setgroups([]); os.setgid(int(sys.argv[1])); os.setuid(int(sys.argv[1]))
for path in sys.argv[2:]:
    try:
        socket.socket(socket.AF_UNIX).connect(path)
        print("connected")
    except OSError as error:
        print(type(error).__name__)
"""
    command = [sys.executable, "-c", script, str(uid), *map(str, sockets)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()


def of_this_user(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as caller:
        caller.connect(str(path))


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="no /proc")
@pytest.mark.usefixtures("processes")
def test_engine_and_plugins_listen_where_no_other_user_can_call(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "saying.py").write_text(DYNAMIC)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    # Other tests of this process can have left servers and processes.
    before = listening_ports({os.getpid(), *(others := children())})
    seen: dict[str, object] = {}

    def look(address: str) -> str:
        folder = Path(address.removeprefix("unix:")).parent
        sockets = sorted(folder.iterdir())
        seen["sockets"] = [each.name for each in sockets]
        seen["mode"] = folder.stat().st_mode & 0o777
        seen["ports"] = listening_ports({os.getpid(), *(children() - others)}) - before
        for each in sockets:
            of_this_user(each)
        seen["folder"] = folder
        if os.geteuid() == 0:
            seen["another user"] = set(refused_to(NOBODY, sockets))
        return address

    def program() -> None:
        import saying

        login = pulumi_postgresql.Provider("server", host="localhost", username="nobody")
        pulumi.Output.all(saying.Said().engine, login.id).apply(lambda values: look(values[0]))

    engine.program = program
    result = engine.up()
    # Two of the three processes are plugins, and the third is this one.
    assert seen["sockets"] == ["engine", "plugin-1", "plugin-2"]
    assert seen["mode"] == 0o700
    assert seen["ports"] == set()
    if os.geteuid() == 0:
        assert seen["another user"] == {"PermissionError"}
    assert not Path(str(seen["folder"])).exists(), "the folder goes with the operation"
    assert "said through the engine's log" in [each.message for each in result.diagnostics]


def test_a_folder_for_sockets_is_the_users_own_and_short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runtime, temporary = tmp_path / "r", tmp_path / "t"
    for each in (runtime, temporary):
        each.mkdir(0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    before = os.umask(0o277)
    try:
        with socket_folder() as folder:
            assert (folder.parent, folder.stat().st_mode & 0o777) == (runtime, 0o700)
    finally:
        os.umask(before)
    assert not folder.exists()
    runtime.chmod(0o755)
    with socket_folder() as folder:
        assert folder.parent == temporary, "others can enter $XDG_RUNTIME_DIR"
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "nowhere"))
    with socket_folder() as folder:
        assert folder.parent == temporary


def test_a_path_that_is_too_long_for_a_socket_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    long, short = tmp_path / ("x" * 100), tmp_path / "t"
    for each in (long, short):
        each.mkdir(0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(long))
    monkeypatch.setattr("tempfile.tempdir", str(short))
    with socket_folder() as folder:
        assert folder.parent == short
    monkeypatch.setattr("tempfile.tempdir", str(long))
    with socket_folder() as folder:
        assert folder.parent == Path("/tmp")
    monkeypatch.setattr("pulumi_embedded.processes.sockets._SHORT", tmp_path / "nowhere")
    with (
        pytest.raises(
            EngineError, match=r"too long for a socket\n(.*\n)+name one with a short path:\n  export TMPDIR="
        ),
        socket_folder(),
    ):
        pass
    assert list(long.iterdir()) == []


def test_an_engine_that_was_killed_leaves_no_folder(tmp_path: Path) -> None:
    folder = tmp_path / "with space"
    folder.mkdir()
    script = (
        "import os, sys; from pathlib import Path; from pulumi_embedded.processes.watchdog import Watchdog\n"
        "dog = Watchdog(); dog.remove(Path(sys.argv[1])); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", script, str(folder)], check=False)
    deadline = time.monotonic() + 10
    while folder.exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
