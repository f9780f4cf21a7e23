"""After any interruption of an index build or drop, the next run leaves a complete index."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

import psycopg
import pytest

from pulumi_alembic.database.connection import log_in
from pulumi_alembic.errors import MigrationError, RevisionFailed
from pulumi_alembic.policy import Policy
from tests.conftest import Database, ThrowawayCluster
from tests.postgres.alembic.conftest import Target, prepare
from tests.postgres.alembic.owner import connect
from tests.postgres.alembic.waiting import Told, blocker, until

ONE, TWO, THREE = "20250101_001", "20250102_002", "20250103_003"

TABLES = """
CREATE TABLE t (x int, y text);
INSERT INTO t SELECT n, 'a' FROM generate_series(1, 500) n;
CREATE TABLE other ();
CREATE FUNCTION gate(x int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS
    'BEGIN PERFORM pg_advisory_lock_shared(42); PERFORM pg_advisory_unlock_shared(42); RETURN x; END';
"""
WRITES = "INSERT INTO t VALUES (0, 'b')"
GATE = "SELECT pg_advisory_xact_lock(42)"
SNAPSHOT = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; SELECT FROM other"

# PostgreSQL 15 manual, 28.4.2: the phases of CREATE INDEX CONCURRENTLY, and a statement that holds it in this phase.
PHASES = {
    "waiting for writers before build": WRITES,
    "building index: scanning table": GATE,
    "waiting for old snapshots": SNAPSHOT,
}
LATER = "waiting for writers before validation"

# Every server before PostgreSQL 14 behaves like this.
FORGETFUL = "SELECT set_config(name, '0', false) FROM pg_settings WHERE name = 'client_connection_check_interval'"


def block(statement: str) -> str:
    return f"with op.get_context().autocommit_block(): op.execute({statement!r})"


@pytest.fixture
def one(empty_target: Target) -> Target:
    """A database at a revision with a table of 500 rows."""
    empty_target.write(ONE, None, f"op.execute({TABLES!r})")
    empty_target.migrate(ONE)
    return empty_target


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor() as pool:
        yield pool


@pytest.fixture
def beside(one: Target) -> Iterator[psycopg.Connection]:
    """A session of the migration's own login, which sees the progress of its builds, and can end them."""
    with log_in(one.url, "beside", autocommit=True, own=False) as connection:
        yield connection


def builders(beside: psycopg.Connection, phase: str) -> list[int]:
    rows = beside.execute(
        "SELECT pid FROM pg_stat_progress_create_index WHERE datname = current_database() AND phase = %s", [phase]
    )
    return [pid for (pid,) in rows]


@contextmanager
def held_at(target: Target, beside: psycopg.Connection, phase: str) -> Iterator[Callable[[], int]]:
    """Hold a build that begins within the block at this phase.

    Yield a function that waits for the phase and returns the pid.
    """
    with ExitStack() as stack:
        first = stack.enter_context(blocker(target, PHASES.get(phase, WRITES)))

        def arrived() -> int:
            if phase == LATER:
                until(lambda: builders(beside, "waiting for writers before build"))
                stack.enter_context(blocker(target, WRITES))
                first.rollback()
            until(lambda: builders(beside, phase))
            return builders(beside, phase)[0]

        yield arrived


def indexes(target: Target) -> list[tuple[object, ...]]:
    return target.query(
        "SELECT indexrelid::regclass::text, indisvalid FROM pg_index JOIN pg_class t ON t.oid = indrelid "
        "WHERE relnamespace = 'app'::regnamespace ORDER BY 1"
    )


def applied(target: Target) -> list[tuple[object, ...]]:
    return target.query("SELECT revision, direction FROM migrations.ledger WHERE event = 'applied' ORDER BY id")


def outcome(run: Future[str]) -> MigrationError | None:
    error = run.exception()
    assert error is None or isinstance(error, MigrationError), error
    return error


@pytest.mark.few(1)
@pytest.mark.parametrize("phase", [*PHASES, LATER])
@pytest.mark.parametrize("how", ["pg_cancel_backend", "pg_terminate_backend"])
@pytest.mark.parametrize("exists", ["", "IF NOT EXISTS "])
def test_a_build_whose_backend_is_ended_is_valid_after_the_next_run(
    one: Target, threads: ThreadPoolExecutor, beside: psycopg.Connection, phase: str, how: str, exists: str
) -> None:
    one.write(TWO, ONE, block(f"CREATE INDEX CONCURRENTLY {exists}i ON t (gate(x)) WHERE y = 'a'"))
    with held_at(one, beside, phase) as arrived:
        run = threads.submit(one.migrate, TWO)
        beside.execute(f"SELECT {how}(%s)", [arrived()])
        if how == "pg_cancel_backend":
            assert isinstance(outcome(run), RevisionFailed)
            assert indexes(one) == [("i", False)]
    # If the connection was lost, the run itself tries again.
    outcome(run)
    assert one.migrate(TWO) == TWO
    assert indexes(one) == [("i", True)]
    assert applied(one) == [(ONE, "upgrade"), (TWO, "upgrade")]


@pytest.mark.full
@pytest.mark.parametrize("phase", [*PHASES, LATER])
def test_a_build_whose_process_is_killed_is_valid_after_the_next_run(
    one: Target, beside: psycopg.Connection, phase: str
) -> None:
    one.write(TWO, ONE, block("CREATE INDEX CONCURRENTLY IF NOT EXISTS i ON t (gate(x))"))
    with held_at(one, beside, phase) as arrived, one.running("alembic", "upgrade", "head"):
        arrived()
    assert one.migrate(TWO) == TWO
    assert indexes(one) == [("i", True)]


def test_a_build_that_outlives_its_client_is_waited_for_and_taken_as_done(
    one: Target, threads: ThreadPoolExecutor, beside: psycopg.Connection
) -> None:
    """A server that does not check its clients lets the backend of a dead client continue."""
    one.write(
        TWO,
        ONE,
        f"op.execute({FORGETFUL!r})\n    " + block("CREATE INDEX CONCURRENTLY IF NOT EXISTS i ON t (gate(x))"),
    )
    with held_at(one, beside, "building index: scanning table") as arrived:
        with one.running("alembic", "upgrade", "head"):
            built_by = arrived()
        run = threads.submit(one.migrate, TWO)
        waits = "SELECT FROM pg_locks WHERE NOT granted AND relation = 'app.t'::regclass"
        until(lambda: one.query(waits))
        assert builders(beside, "building index: scanning table") == [built_by]
        oid = one.query("SELECT 'i'::regclass::oid")
    assert run.result() == TWO
    assert indexes(one) == [("i", True)]
    assert one.query("SELECT 'i'::regclass::oid") == oid


@pytest.mark.full
def test_a_build_that_is_done_and_not_yet_committed_is_waited_for(
    one: Target, threads: ThreadPoolExecutor, make_cluster: Callable[..., ThrowawayCluster]
) -> None:
    """The build's last transaction releases the table's lock before it ends.

    A commit that waits holds the build there.
    """
    server = make_cluster({"synchronous_standby_names": "nobody"}).server
    with Database(server, "postgres").connect() as admin:
        admin.execute("CREATE DATABASE migrated")
    target = prepare(Database(server, "migrated"), one.directory)
    target.migrate(ONE)
    target.write(TWO, ONE, block("CREATE INDEX CONCURRENTLY IF NOT EXISTS i ON t (x)"))
    [(table,)] = target.query("SELECT 't'::regclass::oid")
    told = Told()

    def build() -> None:
        with connect(target.url) as session:
            session.autocommit = True
            session.execute("SET synchronous_commit = on")
            session.execute("CREATE INDEX CONCURRENTLY i ON t (x)")

    with log_in(target.url, "beside", autocommit=True, own=False) as beside:

        def committing() -> tuple[int, str] | None:
            return beside.execute(
                "SELECT pid, backend_xid FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
            ).fetchone()

        def next_commit(after: tuple[int, str] | None) -> tuple[int, str]:
            until(lambda: committing() not in (None, after))
            return committing() or (0, "")

        built = threads.submit(build)
        commit = next_commit(None)
        while beside.execute("SELECT pid FROM pg_locks WHERE relation = %s", [table]).fetchone():
            beside.execute("SELECT pg_cancel_backend(%s)", [commit[0]])
            commit = next_commit(commit)
        assert indexes(target) == [("i", False)]
        run = threads.submit(target.migrate, TWO, on_status=told)
        told.wait_for(f"waiting for pid {commit[0]}, which completes the index i")
        beside.execute("SELECT pg_cancel_backend(%s)", [commit[0]])
        built.result()
        oid = target.query("SELECT 'i'::regclass::oid")
    assert run.result() == TWO
    assert indexes(target) == [("i", True)]
    assert target.query("SELECT 'i'::regclass::oid") == oid


@pytest.mark.full
def test_the_next_run_completes_a_build_that_waited_too_long(one: Target, threads: ThreadPoolExecutor) -> None:
    one.write(TWO, ONE, block("CREATE INDEX CONCURRENTLY IF NOT EXISTS i ON t (x)"))
    with blocker(one, WRITES), pytest.raises(RevisionFailed, match="lock timeout"):
        one.migrate(TWO, policy=Policy(lock_deadline=0.5))
    assert indexes(one) == [("i", False)]
    assert one.migrate(TWO) == TWO
    assert indexes(one) == [("i", True)]


@pytest.mark.full
def test_a_unique_build_that_meets_duplicates_is_valid_after_they_are_gone(one: Target) -> None:
    one.write(TWO, ONE, block("CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS i ON t (y)"))
    for _ in range(2):
        with pytest.raises(RevisionFailed, match=r"\(23505\)(?s:.*)the next run completes its statements"):
            one.migrate(TWO)
        assert indexes(one) == [("i", False)]
    with blocker(one, "DELETE FROM t WHERE x > 1") as session:
        session.commit()
    assert one.migrate(TWO) == TWO
    assert indexes(one) == [("i", True)]


@pytest.mark.few(1)
@pytest.mark.parametrize(
    ("statement", "index"),
    [
        ("CREATE INDEX CONCURRENTLY IF NOT EXISTS i ON app.t (x)", "i"),
        ('CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS "An ""odd"" I" ON "t" USING btree (x DESC)', '"An ""odd"" I"'),
        ("create index concurrently if not exists I on T (lower(y), x) include (y) where y like 'a%'", "i"),
        (f"CREATE INDEX CONCURRENTLY IF NOT EXISTS {'i' * 70} ON t (x)", "i" * 63),
        ('CREATE INDEX CONCURRENTLY IF NOT EXISTS i ON apart."A b" (x)', "apart.i"),
    ],
)
def test_an_invalid_index_of_its_name_is_never_taken_for_the_index(
    one: Target, database: Database, statement: str, index: str
) -> None:
    """A run without a ledger, or a user, has left the index."""
    with database.connect() as admin:
        admin.execute(f"CREATE SCHEMA apart AUTHORIZATION {database.name}_owner")
    with blocker(one, 'CREATE TABLE apart."A b" (x int)') as session:
        session.commit()
        session.autocommit = True
        session.execute("SET lock_timeout = 100")
        with (
            blocker(one, f'{WRITES}; INSERT INTO apart."A b" VALUES (1)'),
            pytest.raises(psycopg.errors.LockNotAvailable),
        ):
            session.execute(statement.encode())
    found = "SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass('{}')".format(index.replace("'", "''"))
    assert one.query(found) == [(False,)]
    one.write(TWO, ONE, block(statement))
    assert one.migrate(TWO) == TWO
    assert one.query(found) == [(True,)]


@pytest.mark.full
def test_a_build_through_alembics_own_operation_is_healed_too(
    one: Target, threads: ThreadPoolExecutor, beside: psycopg.Connection
) -> None:
    one.write(
        TWO,
        ONE,
        "with op.get_context().autocommit_block(): op.create_index('i', 't', ['x'], schema='app', "
        "postgresql_concurrently=True, if_not_exists=True)",
    )
    phase = "waiting for old snapshots"
    with held_at(one, beside, phase) as arrived:
        run = threads.submit(one.migrate, TWO)
        beside.execute("SELECT pg_cancel_backend(%s)", [arrived()])
        assert isinstance(outcome(run), RevisionFailed)
    assert one.migrate(TWO) == TWO
    assert indexes(one) == [("i", True)]


def test_after_an_interruption_an_equal_index_is_accepted(one: Target) -> None:
    """The build was complete, but its result was lost: here the statement after it failed."""
    one.write(TWO, ONE, f"{block('CREATE INDEX CONCURRENTLY i ON t (x, lower(y))')}\n    op.execute('SELECT 1/0')")
    with pytest.raises(
        RevisionFailed, match="the next run completes its statements outside a transaction, the rest was rolled back"
    ):
        one.migrate(TWO)
    oid = one.query("SELECT 'i'::regclass::oid")
    one.write(TWO, ONE, f"{block('CREATE INDEX CONCURRENTLY i ON t (x, lower(y))')}\n    op.execute('SELECT 1')")
    assert one.migrate(TWO) == TWO
    assert one.query("SELECT 'i'::regclass::oid") == oid
    assert one.query("SELECT event FROM migrations.ledger WHERE revision = '20250102_002' ORDER BY id") == [
        ("intent",),
        ("done",),
        ("failed",),
        ("applied",),
    ]


@pytest.mark.few(1)
@pytest.mark.parametrize("other", ["t (y)", "t (x) WHERE x > 1", "t (x DESC)", "t (x, y)", "other ((1))"])
def test_an_index_of_the_name_and_another_definition_is_an_error_that_shows_it(one: Target, other: str) -> None:
    with blocker(one, f"CREATE INDEX i ON {other}") as session:
        session.commit()
    one.write(TWO, ONE, block("CREATE INDEX CONCURRENTLY IF NOT EXISTS i ON t (x)"))
    with pytest.raises(RevisionFailed, match=r"there is an index i already") as caught:
        one.migrate(TWO)
    assert "on the table other" in str(caught.value) or f"CREATE INDEX i ON app.{other[0]} USING" in str(caught.value)
    assert [name for name, _ in indexes(one)] == ["i"]


def test_an_index_that_nobody_here_made_is_postgresqls_error_every_time(one: Target) -> None:
    with blocker(one, "CREATE INDEX i ON t (x)") as session:
        session.commit()
    one.write(TWO, ONE, block("CREATE INDEX CONCURRENTLY i ON t (x)"))
    for _ in range(2):
        with pytest.raises(RevisionFailed, match="42P07"):
            one.migrate(TWO)


def test_an_interrupted_build_of_another_index_is_dropped(one: Target) -> None:
    one.write(TWO, ONE, block("CREATE UNIQUE INDEX CONCURRENTLY i ON t (y)"))
    with pytest.raises(RevisionFailed, match="23505"):
        one.migrate(TWO)
    one.write(TWO, ONE, block("CREATE UNIQUE INDEX CONCURRENTLY i_x ON t (x)"))
    assert one.migrate(TWO) == TWO
    assert indexes(one) == [("i_x", True)]


@pytest.mark.full
def test_postgresql_refuses_a_build_on_a_partitioned_table(one: Target) -> None:
    with blocker(one, "CREATE TABLE parts (x int) PARTITION BY RANGE (x)") as session:
        session.commit()
    one.write(TWO, ONE, block("CREATE INDEX CONCURRENTLY IF NOT EXISTS i ON parts (x)"))
    for _ in range(2):
        with pytest.raises(RevisionFailed, match='cannot create index on partitioned table "parts" concurrently'):
            one.migrate(TWO)
    assert indexes(one) == []


@pytest.mark.few(1)
@pytest.mark.parametrize("how", ["pg_cancel_backend", "pg_terminate_backend", "SIGKILL", "lock timeout"])
@pytest.mark.parametrize("exists", ["", "IF EXISTS "])
@pytest.mark.parametrize("direction", ["upgrade", "downgrade"])
def test_an_interrupted_drop_is_complete_after_the_next_run(
    one: Target, threads: ThreadPoolExecutor, beside: psycopg.Connection, how: str, exists: str, direction: str
) -> None:
    build = block("CREATE INDEX CONCURRENTLY i ON t (x)")
    drop = block(f"DROP INDEX CONCURRENTLY {exists}app.i")
    one.write(TWO, ONE, build, drop)
    one.write(THREE, TWO, drop if direction == "upgrade" else "pass", build if direction == "upgrade" else "pass")
    one.migrate(TWO)
    target = THREE if direction == "upgrade" else ONE
    waits = "SELECT pid FROM pg_stat_activity WHERE query LIKE 'DROP INDEX%' AND wait_event = 'virtualxid'"
    with blocker(one, WRITES):
        if how == "SIGKILL":
            with one.running("alembic", direction, target):
                until(lambda: beside.execute(waits).fetchone())
        elif how == "lock timeout":
            with pytest.raises(RevisionFailed, match="lock timeout"):
                one.migrate(target, policy=Policy(lock_deadline=0.5))
        else:
            run = threads.submit(one.migrate, target)
            until(lambda: beside.execute(waits).fetchone())
            beside.execute(f"SELECT {how}(%s)", beside.execute(waits).fetchone())
            if how == "pg_cancel_backend":
                assert isinstance(outcome(run), RevisionFailed)
    if how == "pg_terminate_backend":
        outcome(run)
    assert one.migrate(target) == target
    assert indexes(one) == []


def test_an_interrupted_reindex_leaves_no_second_index_behind(
    one: Target, threads: ThreadPoolExecutor, beside: psycopg.Connection
) -> None:
    one.write(TWO, ONE, block("CREATE INDEX CONCURRENTLY i ON t (x)"))
    one.migrate(TWO)
    one.write(THREE, TWO, block("REINDEX TABLE CONCURRENTLY t"))
    with held_at(one, beside, "waiting for old snapshots") as arrived:
        run = threads.submit(one.migrate, THREE)
        beside.execute("SELECT pg_cancel_backend(%s)", [arrived()])
        assert isinstance(outcome(run), RevisionFailed)
    assert ("i_ccnew", False) in indexes(one)
    assert one.migrate(THREE) == THREE
    assert indexes(one) == [("i", True)]


def test_what_is_mended_is_told(one: Target) -> None:
    one.write(TWO, ONE, block("CREATE INDEX CONCURRENTLY i ON t (x)"))
    with blocker(one, WRITES), pytest.raises(RevisionFailed, match="lock timeout"):
        one.migrate(TWO, policy=Policy(lock_deadline=0.3))
    told = Told()
    one.migrate(TWO, on_status=told)
    told.wait_for(f"{TWO}: dropping the invalid index i, which an interrupted statement left")
