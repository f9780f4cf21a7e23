"""Only one migration of a database runs at a time.

A waiting one names the other, and succeeds if nothing is left to do.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from pulumi_alembic.database.connection import log_in
from pulumi_alembic.database.migration_lock import KEY
from pulumi_alembic.errors import DatabaseError, TargetError
from pulumi_alembic.migrate import planner
from pulumi_alembic.policy import Policy
from pulumi_alembic.scripts.plan import Plan
from tests.postgres.alembic.conftest import Target
from tests.postgres.alembic.owner import connect
from tests.postgres.alembic.waiting import Told, until

ONE, TWO, THREE = "20250101_001", "20250102_002", "20250103_003"
BIN = Path(sys.executable).parent
WAITS = "waiting for another migration, pid"

MIGRATE = """
import os, sys
from pathlib import Path
from pulumi_alembic.migrate import migrator
from pulumi_alembic.migrate.job import OPEN, Job, Listener

class Waits(Listener):
    def waits(self, text):
        print(text, flush=True)

job = Job(os.environ["DATABASE_URL"], Path("migrations"), sys.argv[1], "pulumi up")
print(migrator.migrate(job, OPEN, Waits()))
"""

PROGRAM = """
import os, pulumi
from pulumi_alembic import Migrations
pulumi.export("revision", Migrations("schema", url=os.environ["DATABASE_URL"], directory="migrations").revision)
"""


@pytest.fixture
def three(empty_target: Target) -> Target:
    """Write three scripts, each with its own table."""
    for id, down, table in ((ONE, None, "one"), (TWO, ONE, "two"), (THREE, TWO, "three")):
        empty_target.write(id, down, f"op.execute('CREATE TABLE {table} ()')", f"op.execute('DROP TABLE {table}')")
    return empty_target


@contextmanager
def held(target: Target) -> Iterator[int]:
    """Hold the lock of a migration, and yield the pid of its session."""
    with log_in(target.url, "somebody else", autocommit=True) as session:
        session.execute("SELECT pg_advisory_lock(%s)", [KEY])
        yield session.info.backend_pid


def applied(target: Target) -> list[object]:
    return [id for (id,) in target.query("SELECT revision FROM migrations.ledger WHERE event = 'applied' ORDER BY id")]


@pytest.mark.full
@pytest.mark.parametrize("start", ["base", ONE])
def test_eight_at_once_end_well_and_one_does_the_work(three: Target, start: str, tmp_path: Path) -> None:
    """The eight are updates of the embedded engine, runs of the provider's own code, and `alembic` commands."""
    if start != "base":
        three.migrate(start)
    with WorkerPool(three, tmp_path) as crowd:
        with held(three) as pid:
            crowd.up(2)
            crowd.start(3, str(BIN / "alembic"), "upgrade", "head")
            crowd.start(3, sys.executable, "-c", MIGRATE, THREE)
            until(lambda: all(f"{WAITS} {pid} (user" in text for text in crowd.printed()))
        assert crowd.exit_codes() == [0] * 8, crowd.printed()
    assert applied(three) == [ONE, TWO, THREE]
    assert sum("application somebody else" in text for text in crowd.printed()) == 8


class WorkerPool:
    """Commands that run at the same time, each with its output in a file. The end of the block ends them."""

    def __init__(self, target: Target, folder: Path) -> None:
        target.configure()
        self._target = target
        self._folder = folder
        self._running: list[tuple[subprocess.Popen[bytes], Path]] = []

    def __enter__(self) -> "WorkerPool":
        return self

    def __exit__(self, *_: object) -> None:
        for process, _path in self._running:
            process.kill()
            process.wait()

    def start(self, count: int, *command: str, cwd: Path | None = None, **environment: str) -> None:
        for _ in range(count):
            output = self._folder / f"output-{len(self._running)}"
            with output.open("wb") as file:
                process = subprocess.Popen(
                    command,
                    cwd=cwd or self._target.directory.parent,
                    env=os.environ | {"DATABASE_URL": self._target.url} | environment,
                    stdin=subprocess.DEVNULL,
                    stdout=file,
                    stderr=subprocess.STDOUT,
                )
            self._running.append((process, output))

    def up(self, count: int) -> None:
        """Start `up` of stacks whose only resource is the database's schema, each with its own state."""
        for number in range(count):
            project = self._folder / f"project-{number}"
            (project / ".state").mkdir(parents=True)
            (project / "migrations").symlink_to(self._target.directory)
            (project / ".venv").symlink_to(sys.prefix)
            (project / "__main__.py").write_text(PROGRAM)
            runtime = {"name": "python", "options": {"virtualenv": ".venv"}}
            settings = {"name": "crowd", "runtime": runtime, "backend": {"url": "file://./.state"}}
            (project / "Pulumi.yaml").write_text(json.dumps(settings))
            secret = {"PULUMI_CONFIG_PASSPHRASE": "x"}
            engine = str(BIN / "pulumi-embedded")
            subprocess.run(
                [engine, "stack", "init", "dev"], cwd=project, env=os.environ | secret, check=True, capture_output=True
            )
            self.start(1, engine, "up", "--yes", "--skip-preview", "--stack", "dev", cwd=project, **secret)

    def printed(self) -> list[str]:
        """Return the output of each command so far."""
        return [path.read_text() for _, path in self._running]

    def exit_codes(self) -> list[int]:
        """Return the exit code of each command."""
        return [process.wait(120) for process, _ in self._running]


def test_the_one_that_waited_finds_the_work_done(three: Target) -> None:
    told, status = Told(), Told()
    with ThreadPoolExecutor() as threads:
        with held(three) as pid:
            waits = threads.submit(three.migrate, THREE, on_wait=told, on_status=status)
            text = told.wait_for(WAITS)
        assert waits.result() == THREE
    assert f"pid {pid} (user " in text
    assert "application somebody else, idle, last query at" in text


def test_an_upgrade_that_waited_does_not_go_down_from_where_the_other_went(three: Target) -> None:
    three.migrate(ONE)
    told = Told()
    with ThreadPoolExecutor() as threads:
        with held(three):
            run = threads.submit(three.migrate, TWO, approve=Plan.require_upgrade, on_wait=told)
            told.wait_for("waiting for another migration")
            with connect(three.url) as other:
                other.execute("UPDATE migrations.alembic_version SET version_num = %s", [THREE])
                other.commit()
        with pytest.raises(TargetError, match=rf"{TWO} is older than the database \({THREE} → {TWO}"):
            run.result()
    assert planner.read_revision(three.url) == THREE


def test_a_migration_that_is_killed_keeps_nobody_waiting(three: Target, tmp_path: Path) -> None:
    three.write(TWO, ONE, "op.execute('SELECT pg_sleep(CASE WHEN (SELECT count(*) FROM one) = 0 THEN 600 ELSE 0 END)')")
    three.write(ONE, None, "op.execute('CREATE TABLE one (); CREATE TABLE two ()')")
    told = Told()
    sleeping = "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE state = 'active' AND query LIKE 'SELECT pg_sleep(C%')"
    login = log_in(three.url, autocommit=True, own=False)
    with WorkerPool(three, tmp_path) as crowd, ThreadPoolExecutor() as threads, login:
        crowd.start(1, sys.executable, "-c", MIGRATE, TWO)
        until(lambda: login.execute(sleeping).fetchone() == (True,))
        waits = threads.submit(three.migrate, TWO, on_wait=told)
        told.wait_for(WAITS, "application pulumi up")
        login.execute(f"SET ROLE {three.query('SELECT current_user')[0][0]}")
        login.execute("INSERT INTO one DEFAULT VALUES")
        # Only the login itself sees the statements of its other sessions.
        login.execute("RESET ROLE")
        crowd.__exit__()
        assert waits.result() == TWO
        if login.info.server_version < 140000:
            # PostgreSQL 13 notices at the end of a statement that the client is gone.
            login.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep(C%'"
            )
        # The server rolls back the killed one's statement before that statement would be done.
        until(lambda: login.execute(sleeping).fetchone() == (False,))
    assert applied(three) == [ONE, TWO]


def test_waiting_ends_with_who_is_in_the_way_and_how_to_end_it(three: Target) -> None:
    with held(three) as pid, pytest.raises(DatabaseError) as caught:
        three.migrate(THREE, policy=Policy(migration_wait=0.3))
    for part in (f"pid {pid} (user", f"SELECT pg_terminate_backend({pid})", "then: pulumi up"):
        assert part in str(caught.value)
    # The wait ends within seconds of its limit, also on a busy machine.
    assert re.search(r"waited \d s \(migration_wait\)", str(caught.value))
    assert three.query("SELECT to_regclass('migrations.alembic_version')") == [(None,)]


def test_looking_waits_for_nobody(three: Target) -> None:
    three.migrate(ONE)
    with held(three):
        assert ONE in three.alembic("current")
        three.alembic("history")
        three.alembic("check", check=False)


@pytest.mark.full
def test_an_index_is_built_concurrently_while_another_migration_waits(three: Target) -> None:
    """The build waits for all older transactions. A session that waited inside the server would be one of them."""
    three.write(
        TWO, ONE, "with op.get_context().autocommit_block(): op.execute('CREATE INDEX CONCURRENTLY i ON one ((1))')"
    )
    told = Told()
    with ThreadPoolExecutor() as threads:
        with held(three):
            waiting = [threads.submit(three.migrate, THREE, on_wait=told) for _ in range(3)]
            until(lambda: len(told.texts) == 3)
        assert [each.result() for each in waiting] == [THREE] * 3
    assert applied(three) == [ONE, TWO, THREE]


def test_a_revision_is_not_committed_when_its_lock_was_lost_but_run_again(three: Target) -> None:
    """Another migration can have begun in the meantime."""
    three.write(
        TWO,
        ONE,
        "op.execute('CREATE TABLE two ()')\n    from tests.postgres.alembic.test_migration_lock import lose_lock\n"
        "    lose_lock()",
    )
    three.migrate(ONE)
    lost.clear()
    told = Told()
    urls.append(three.url)
    assert three.migrate(THREE, on_status=told) == THREE
    assert len(lost) == 2
    assert "the connection was lost" in told.texts[0]
    assert applied(three) == [ONE, TWO, THREE]


urls: list[str] = []
lost: list[bool] = []


def lose_lock() -> None:
    """End the session of the migration's lock at the first call. A revision calls this."""
    lost.append(True)
    if len(lost) == 1:
        with log_in(urls[-1], autocommit=True) as login:
            login.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 1 "
                "AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
            )


def test_the_key_is_that_of_the_first_release() -> None:
    """Another release waits for this one, and other tools can wait for both."""
    assert KEY == 27422255623596387
