"""A backup is complete and in the ledger before the first revision runs. Otherwise nothing runs."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from pulumi_alembic.backups import folder as backups
from pulumi_alembic.backups.setting import When
from pulumi_alembic.database import pg_programs
from pulumi_alembic.errors import BackupError, DatabaseError
from pulumi_alembic.migrate import planner
from pulumi_alembic.provider import MigrationsProvider
from pulumi_alembic.scripts.origin import Origin
from pulumi_alembic.scripts.plan import Plan
from tests import formats, loaded
from tests.conftest import Database
from tests.postgres.alembic.backing_up import EVERYTHING, ONE, THREE, TWO, Backing, require_clients
from tests.postgres.alembic.conftest import Target
from tests.postgres.alembic.hearing import Hears
from tests.postgres.alembic.owner import connect

UPDATE = """
import sys
from pathlib import Path
from pulumi_alembic.migrate import migrator
from pulumi_alembic.backups.taking import Maker
from pulumi_alembic.backups.setting import BackupSetting, When
from pulumi_alembic.migrate.job import Job
from tests.postgres.alembic.hearing import Gates, Hears

url, directory, folder, target = sys.argv[1:]
setting = BackupSetting(When.ALWAYS, Path(folder))
job = Job(url, Path(directory), target, "up")
maker = Maker(setting, job, Hears(on_status=print, on_info=print))
migrator.migrate(job, Gates(back_up=maker.back_up))
"""


@pytest.fixture
def backing(empty_target: Target, tmp_path: Path) -> Backing:
    """Write three scripts, with the first applied and rows in its tables. The third one drops a column."""
    require_clients(empty_target)
    empty_target.write(ONE, None, f"op.get_bind().exec_driver_sql({EVERYTHING!r}.replace('%', '%%'))")
    empty_target.write(TWO, ONE, "op.execute('CREATE TABLE later (x int)')", "op.execute('DROP TABLE later')")
    empty_target.write(THREE, TWO, "op.execute('ALTER TABLE children DROP COLUMN tags')")
    empty_target.migrate(ONE)
    return Backing(empty_target, tmp_path / "backups")


def refused(backing: Backing) -> str:
    """Return the reason why an update to TWO does not run. Nothing changed, and no files are left."""
    before = backing.ids()
    with pytest.raises((BackupError, DatabaseError)) as caught:
        backing.up(TWO)
    assert planner.read_revision(backing.target.url) == ONE
    assert backing.target.query("SELECT to_regclass('later')") == [(None,)]
    assert backing.ids() == before
    return str(caught.value)


def listed(backing: Backing, *arguments: str) -> subprocess.CompletedProcess[str]:
    return loaded.run(
        [
            Path(sys.executable).with_name("pulumi-alembic"),
            "backups",
            *arguments,
            "--directory",
            backing.target.directory,
        ],
        env={**os.environ, "DATABASE_URL": backing.target.url},
    )


def test_what_is_recorded_and_said_is_what_is_there(backing: Backing) -> None:
    id = backing.up(TWO)
    made = backups.load(backing.folder, id)
    made.verify(backing.folder)
    assert (made.heads, made.schemas) == ([ONE], ["app", "migrations"])
    assert made.size == sum(path.stat().st_size for path in (backing.folder / id / "dump").iterdir())
    assert (backing.folder / id).stat().st_mode & 0o777 == 0o700
    [(folder, checksum, reason)] = backing.target.query(
        "SELECT detail ->> 'folder', detail ->> 'checksum', detail ->> 'reason' FROM migrations.ledger "
        f"WHERE event = 'backup' AND backup = '{id}'"
    )
    assert (folder, checksum, reason) == (str(backing.folder), made.checksum, "always")
    size = r"[\d.]+ kB in [\d.]+ s"
    said = rf"backup {id} at {ONE}: {size}, {backing.folder}/{id} \(always\), fingerprint {made.fingerprint}"
    assert re.fullmatch(said, backing.said[-1])
    assert backing.target.query(
        f"SELECT backup FROM migrations.ledger WHERE revision = '{TWO}' AND event = 'applied'"
    ) == [(id,)]


@pytest.mark.few(1)
@pytest.mark.parametrize("umask", [0o000, 0o022])
def test_a_backup_is_the_users_alone_and_older_ones_are_corrected(backing: Backing, umask: int) -> None:
    """This holds for every umask. The first release left the files of a dump with mode 0644."""
    before = os.umask(umask)
    try:
        old = backing.folder / backing.up(TWO)
        assert {oct(path.stat().st_mode & 0o777) for path in [old, old / "dump"]} == {"0o700"}
        files = [path for path in old.rglob("*") if path.is_file()]
        assert {oct(path.stat().st_mode & 0o777) for path in files} == {"0o600"}
        for path in files:
            path.chmod(0o644)
        backing.target.migrate(ONE)
        backing.up(TWO)
    finally:
        os.umask(before)
    assert (
        f"other users of this machine could read {len(files)} files of older backups; corrected their modes"
        in backing.said
    )
    assert {oct(path.stat().st_mode & 0o777) for path in files} == {"0o600"}
    assert backing.folder.stat().st_mode & 0o777 == 0o700


def test_destructive_backs_up_before_what_destroys_and_only_then(backing: Backing) -> None:
    assert backing.up(TWO, When.DESTRUCTIVE) == ""
    assert backing.up(THREE, When.DESTRUCTIVE) != ""
    assert f"(upgrade {THREE} deletes column app.children.tags)" in backing.said[-1]


def test_with_nothing_in_the_database_or_nothing_pending_there_is_none(
    backing: Backing, make_target: Callable[[Path], Target], tmp_path: Path
) -> None:
    make_target(backing.target.directory)
    fresh = Backing(make_target(backing.target.directory), tmp_path / "others")
    assert fresh.up(ONE) == ""
    assert fresh.said == ["no backup: there is nothing in the database yet"]
    assert backing.up(ONE) == ""


def test_the_password_is_in_no_argument(backing: Backing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = require_clients(backing.target)
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("pg_dump", "pg_restore"):
        program = folder / name
        program.write_text(f'#!/bin/sh\necho "$0 $@" >> {tmp_path}/arguments\nexec {real.program(name)} "$@"\n')
        program.chmod(0o755)
    monkeypatch.setattr(pg_programs, "PLACES", ())
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)
    backing.up(TWO)
    arguments = (tmp_path / "arguments").read_text()
    password = backing.target.url.split("@")[0].rpartition(":")[2]
    assert "--format=directory" in arguments and password not in arguments


def test_an_older_pg_dump_stops_the_update(backing: Backing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("pg_dump", "pg_restore"):
        (tmp_path / name).write_text(f"#!/bin/sh\necho '{name} (PostgreSQL) 12.1'\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setattr(pg_programs, "PLACES", ())
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "there is no pg_dump and pg_restore of this or a newer version (found: 12.1 in" in refused(backing)


def test_without_a_pg_dump_the_update_stops(backing: Backing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pg_programs, "PLACES", ())
    monkeypatch.setenv("PATH", str(tmp_path))
    message = refused(backing)
    assert "(none was found). Install them" in message and "apt-get install postgresql-client-" in message


def test_a_folder_that_cannot_be_written_stops_the_update(backing: Backing) -> None:
    backing.folder.parent.mkdir(exist_ok=True)
    backing.folder.write_text("a file")
    message = ""
    with pytest.raises(BackupError) as caught:
        backing.target.migrate(TWO, back_up=_maker(backing))
    message = str(caught.value)
    assert f"the backup directory {backing.folder} cannot be written" in message and "Nothing was changed" in message
    assert planner.read_revision(backing.target.url) == ONE


def _maker(backing: Backing) -> Callable[[Plan, Origin], str]:
    from pulumi_alembic.backups.setting import BackupSetting
    from pulumi_alembic.backups.taking import Maker
    from pulumi_alembic.policy import Policy

    setting = BackupSetting(When.ALWAYS, backing.folder)
    listener = Hears(on_status=backing.said.append, on_info=backing.said.append)
    return Maker(setting, backing.target.job(TWO, policy=Policy(lock_deadline=0.3)), listener).back_up


def test_rows_that_the_owner_may_not_read_stop_the_update(backing: Backing) -> None:
    backing.execute("ALTER TABLE children ENABLE ROW LEVEL SECURITY; ALTER TABLE children FORCE ROW LEVEL SECURITY")
    message = refused(backing)
    assert "and nothing was changed. pg_dump: " in message and "NO FORCE ROW LEVEL SECURITY" in message


def test_a_locked_table_stops_the_update_at_the_deadline(backing: Backing) -> None:
    with connect(backing.target.url) as other:
        other.execute("LOCK TABLE children IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(DatabaseError, match="canceling statement due to lock timeout"):
            backing.target.migrate(TWO, back_up=_maker(backing))
    assert planner.read_revision(backing.target.url) == ONE and backing.ids() == set()


def test_a_table_in_a_schema_of_another_role_is_refused(backing: Backing, database: Database) -> None:
    with database.connect() as admin:
        admin.execute(f"CREATE SCHEMA others; GRANT ALL ON SCHEMA others TO {database.name}_owner".encode())
    backing.execute("CREATE TABLE others.stray ()")
    message = refused(backing)
    assert "others.stray is in a schema that belongs to admin" in message
    assert f"As an admin: ALTER SCHEMA others OWNER TO {database.name}_owner" in message


def test_a_disk_that_is_too_small_stops_the_update_before_anything_is_written(backing: Backing) -> None:
    backing.folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", backing.folder], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("mount is not permitted here, and so there is no small disk")
    try:
        message = refused(backing)
    finally:
        subprocess.run(["umount", backing.folder], check=True)
    assert re.search(r"has [\d.]+ kB left, and the backup may need [\d.]+ MB. Nothing was changed: make room", message)


@pytest.mark.full
def test_a_dump_that_cannot_be_written_to_its_end_stops_the_update_too(backing: Backing) -> None:
    """As on a full disk, pg_dump cannot write beyond the middle of a file."""
    limit = "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
    limit += "resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))\n"
    command = [backing.target.url, backing.target.directory, backing.folder, TWO]
    done = subprocess.run([sys.executable, "-c", limit + UPDATE, *command], capture_output=True, text=True)
    assert "BackupError" in done.stderr and "othing was changed" in done.stderr, done.stderr
    assert planner.read_revision(backing.target.url) == ONE and backing.ids() == set()


STAGES = {
    "begun": ".*.partial",
    "dumping": ".*.partial/dump",
    "tables": ".*.partial/dump/*.gz",
    "listed": ".*.partial/dump/toc.dat",
    "described": ".*.partial/manifest.json",
    "complete": "test_*/manifest.json",
}


@pytest.mark.full
@pytest.mark.parametrize("stage", STAGES)
def test_an_update_converges_after_a_kill_at_any_stage_of_its_backup(backing: Backing, stage: str) -> None:
    backing.execute("INSERT INTO parents (name) SELECT md5(g::text) FROM generate_series(1, 100000) g")
    rows = backing.rows()
    command = [sys.executable, "-c", UPDATE, backing.target.url, backing.target.directory, backing.folder, TWO]
    running = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while running.poll() is None and not list(backing.folder.glob(STAGES[stage])):
        time.sleep(0.001)
    running.send_signal(signal.SIGKILL)
    running.wait()
    at = planner.read_revision(backing.target.url)
    complete = {id for id in backing.ids() if not id.startswith(".")}
    assert at == ONE or complete
    assert backing.rows() == rows
    backing.up(TWO)
    assert planner.read_revision(backing.target.url) == TWO
    assert not list(backing.folder.glob(".*")) or at == TWO
    for found in backups.in_folder(backing.folder):
        assert isinstance(found, backups.Backup)
        found.verify(backing.folder)
    assert backing.rows() == rows


def test_a_pg_dump_that_outlived_its_starter_is_ended(backing: Backing) -> None:
    with psycopg.connect(backing.target.url, application_name="pulumi-alembic backup") as orphan:
        orphan.execute("SELECT 1")
        backing.up(TWO)
        with pytest.raises(psycopg.OperationalError):
            orphan.execute("SELECT 1")


def test_the_list_tells_of_each_and_whether_it_is_whole(backing: Backing) -> None:
    assert listed(backing).stdout == "no backups\n"
    first, second = backing.up(TWO), backing.up(THREE)
    [newer, older] = formats.read("backups", listed(backing, "--json", "--verify").stdout)["backups"]
    assert [newer["id"], older["id"]] == [second, first]
    assert (older["heads"], older["state"], older["folder"]) == ([ONE], "verified", str(backing.folder))
    lines = listed(backing, "--folder", str(backing.folder)).stdout.splitlines()
    assert lines[0].split() == ["id", "when", "database", "revision", "size", "folder", "state"]
    assert lines[2].split()[0] == first and lines[2].endswith("complete")
    shutil.rmtree(backing.folder / second)
    again = listed(backing, "--verify")
    assert again.returncode == 3 and f"there is no backup {second} in" in again.stdout


def test_a_stack_that_wants_one_makes_it_before_it_runs(backing: Backing) -> None:
    provider = MigrationsProvider()
    news = {"url": backing.target.url, "directory": str(backing.target.directory), "target": TWO, "__urn": "urn"}
    planned = dict(provider.check({}, {**news, "backup": "always", "backup_folder": str(backing.folder)}).inputs)
    assert backing.ids() == set()
    provider.create(planned)
    [id] = backing.ids()
    assert backing.target.query(
        f"SELECT backup FROM migrations.ledger WHERE revision = '{TWO}' AND event = 'applied'"
    ) == [(id,)]
