"""A wait reports the blocking session after a second, and ends at a deadline with an error that names the session."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from pulumi_alembic.backups.folder import Backup, in_folder
from pulumi_alembic.backups.restore import Restore
from pulumi_alembic.backups.setting import BackupSetting, When
from pulumi_alembic.backups.taking import Maker
from pulumi_alembic.database import migration_lock, sessions
from pulumi_alembic.database.connection import Connection, connect
from pulumi_alembic.drift import reader
from pulumi_alembic.drift.baseline import DriftBaseline
from pulumi_alembic.errors import MigrationError
from pulumi_alembic.ledger import integrity, ledger, records, stored_scripts
from pulumi_alembic.migrate import planner
from pulumi_alembic.migrate.blocks import statement
from pulumi_alembic.migrate.job import Job
from pulumi_alembic.policy import Policy
from pulumi_alembic.review.build import review_from_database
from pulumi_alembic.review.lint import Settings
from pulumi_alembic.review.rehearsal import scratch
from pulumi_alembic.scripts.history import History
from pulumi_alembic.scripts.origin import Origin
from taskdb.local import Server
from tests.conftest import Database
from tests.postgres.alembic.backing_up import require_clients
from tests.postgres.alembic.conftest import Target
from tests.postgres.alembic.hearing import Hears
from tests.postgres.alembic.waiting import blocker

ONE, TWO, THREE = "20250101_001", "20250102_002", "20250103_003"
DEADLINE = 0.6  # seconds
LEDGER = "ALTER TABLE migrations.ledger ALTER applied_at SET DEFAULT clock_timestamp()"
HEADS = "LOCK TABLE migrations.alembic_version"
TABLE = "LOCK TABLE app.t"


@dataclass
class World:
    """A database at ONE with two more pending scripts. `tell` gets the reports of what an operation waits for."""

    target: Target
    folder: Path
    admin: str
    tell: Callable[[str], None] = print

    @property
    def policy(self) -> Policy:
        return Policy(lock_timeout=0.2, lock_deadline=DEADLINE, migration_wait=DEADLINE)


@pytest.fixture
def world(empty_target: Target, tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr(sessions, "_AFTER", 0.2)
    create = "CREATE TABLE t (id int PRIMARY KEY DEFAULT 1 CHECK (id > 0)); CREATE SEQUENCE s; CREATE TABLE u (x int)"
    empty_target.write(ONE, None, f"op.execute('{create}')")
    block = "with op.get_context().autocommit_block(): op.execute('ANALYZE u')"
    empty_target.write(TWO, ONE, block)
    empty_target.migrate(ONE)
    admin = f"postgresql://{server.username}:{server.password}@{server.host}:{server.port}/postgres"
    return World(empty_target, tmp_path / "backups", admin)


def read(use: Callable[[Connection, History], object]) -> Callable[[World], object]:
    """Return an operation that reads over a session of our own."""

    def operation(world: World) -> object:
        with connect(world.target.url) as connection:
            return use(connection, History.load(world.target.directory))

    return operation


def baseline(world: World) -> None:
    listener = Hears(on_info=world.tell, on_warning=world.tell)
    DriftBaseline(world.target.url, "", listener, infrastructure=False, ignore=(), stack="dev").begin()


def back_up(world: World) -> str:
    require_clients(world.target)
    job = world.target.job(TWO, policy=world.policy)
    maker = Maker(BackupSetting(When.ALWAYS, world.folder), job, Hears(on_status=world.tell))
    return maker.back_up(planner.plan_from_database(job), Origin())


def restore(world: World) -> str:
    [backup] = in_folder(world.folder)
    assert isinstance(backup, Backup)
    job = Job(world.target.url, world.target.directory, command="restore", policy=world.policy)
    return Restore(backup, world.folder, job, tell=world.tell)()


def migrate(world: World) -> str:
    return world.target.migrate(TWO, policy=world.policy, on_wait=world.tell, on_status=world.tell)


def make_ledger(connection: Connection, _: History) -> None:
    connection.execute("DROP TABLE migrations.ledger")
    ledger.prepare(connection)


def stamp(world: World) -> None:
    """Run a command that applies no revision, in a session that otherwise applies revisions."""
    (world.target.directory / "env.py").write_text(ENV)
    said = world.target.alembic("stamp", TWO, check=False)
    for line in said.splitlines():
        world.tell(line)
    raise MigrationError(said.partition("FAILED: ")[2])


ENV = f"""
import os
import sqlalchemy as sa
from pulumi_alembic import environment
from pulumi_alembic.database import sessions
from pulumi_alembic.policy import Policy

sessions._AFTER = 0.2
policy = Policy(lock_timeout=0.1, lock_deadline={DEADLINE})
environment.run(sa.MetaData(), lambda: os.environ["DATABASE_URL"], lambda: policy)
"""


OPERATIONS: dict[str, tuple[str, Callable[[World], object]]] = {
    "a plan": (HEADS, lambda world: planner.plan_from_database(Job(world.target.url, world.target.directory, TWO))),
    "a migration": (HEADS, migrate),
    "an update's snapshot": (LEDGER, baseline),
    "a snapshot of the catalog": (TABLE, read(lambda connection, _: reader.read(connection))),
    "the ledger's records": (LEDGER, read(lambda connection, _: records.read(connection, 5))),
    "a script of the ledger": (LEDGER, read(lambda connection, _: stored_scripts.read(connection, ONE))),
    "accepting an edit": (LEDGER, read(lambda c, history: integrity.accept(c, history, (ONE,), ONE, "because"))),
    "the ledger's attempts": (LEDGER, read(lambda connection, _: ledger.attempts(connection))),
    "a statement outside a transaction": (f"SELECT pg_advisory_lock({statement.KEY})", migrate),
    "another migration": (f"SELECT pg_advisory_lock({migration_lock.KEY})", migrate),
    "a stamp": (HEADS, stamp),
    "a ledger that is made": ("SELECT pg_advisory_xact_lock(hashtext('pulumi_alembic.ledger'))", read(make_ledger)),
    "a backup's reading": (TABLE, back_up),
    "a backup's dump": ("ALTER SEQUENCE app.s RENAME TO r", back_up),
}


def check(world: World, holder: str, operation: Callable[[World], object]) -> None:
    """Assert that the operation reports the session that it waits for, and that its error names the same session."""
    told: list[tuple[float, str]] = []
    begun = time.monotonic()
    world.tell = lambda text: told.append((time.monotonic() - begun, text))
    with blocker(world.target, holder) as session:
        pid, user = session.info.backend_pid, session.info.user
        with sessions.waits(world.tell, DEADLINE), pytest.raises(MigrationError) as caught:
            operation(world)
        waited = time.monotonic() - begun
    whom = f"pid {pid} (user {user}, application the report"
    said = [(seconds, text) for seconds, text in told if whom in text]
    assert said, told
    assert whom in str(caught.value)
    assert f"pg_terminate_backend({pid})" in str(caught.value)
    assert waited < 30


@pytest.mark.few(2)
@pytest.mark.parametrize("name", OPERATIONS)
def test_a_wait_says_for_whom_and_ends_at_its_deadline(name: str, world: World) -> None:
    check(world, *OPERATIONS[name])


@pytest.mark.full
def test_a_restore_says_for_whom_it_waits(world: World) -> None:
    back_up(world)
    check(world, TABLE, restore)


def test_a_first_look_comes_after_a_second(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    told: list[float] = []
    with blocker(world.target, HEADS) as session:

        def hear(_: str) -> None:
            told.append(time.monotonic() - begun)
            session.rollback()

        begun = time.monotonic()
        with sessions.waits(hear, 30):
            planner.read_revision(world.target.url)
    assert len(told) == 1 and told[0] >= 1.0


def not_rehearsed(world: World) -> str:
    require_clients(world.target)
    target = world.target
    _, review = review_from_database(Job(target.url, target.directory, TWO), Settings(), admin=world.admin)
    return review.not_rehearsed


@pytest.mark.full
def test_a_copy_of_the_schema_names_whose_lock_was_in_its_way(world: World) -> None:
    with blocker(world.target, TABLE) as session:
        reason = not_rehearsed(world)
        pid, user = session.info.backend_pid, session.info.user
    assert reason.startswith(f"a lock was in the way of the copy of the schema: pid {pid} (user {user}, application")


@pytest.mark.full
def test_a_scratch_database_that_cannot_be_created_names_who_is_in_the_way(
    world: World, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The template is the admin's own. It stands for template0, which only a superuser can lock."""
    like = scratch._LIKE_TARGET.as_string(None).replace("template0", f'"{database.name}"')
    monkeypatch.setattr(scratch, "_LIKE_TARGET", sql.SQL(like))
    monkeypatch.setattr(scratch, "_LIMITS", scratch._LIMITS.replace("2s", "600ms"))
    with psycopg.connect(world.admin, application_name="the report") as holder:
        holder.execute(sql.SQL("COMMENT ON DATABASE {} IS ''").format(sql.Identifier(database.name)))
        reason = not_rehearsed(world)
        whom = f"pid {holder.info.backend_pid} (user {holder.info.user}, application the report"
        holder.rollback()
    assert reason.startswith("no scratch database: canceling statement due to lock timeout: waited 1 s for")
    assert whom in reason


@pytest.mark.full
def test_a_scratch_database_that_takes_too_long_to_create_waited_for_nobody(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scratch, "_LIMITS", scratch._LIMITS.replace("5s", "10ms"))
    assert not_rehearsed(world) == (
        "no scratch database: canceling statement due to statement timeout: it waited for no lock, the server itself "
        "took longer than 5 s"
    )
