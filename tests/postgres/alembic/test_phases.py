"""A statement outside a transaction stands alone, is recorded, and is refused if it could leave half a revision."""

import pytest

from pulumi_alembic.errors import HistoryError, RevisionFailed
from pulumi_alembic.migrate import planner
from pulumi_alembic.migrate.job import Job
from pulumi_alembic.policy import Policy
from tests.postgres.alembic.conftest import Target
from tests.postgres.alembic.owner import connect
from tests.postgres.alembic.waiting import blocker

ONE, TWO, THREE = "20250101_001", "20250102_002", "20250103_003"
BLOCK = "with op.get_context().autocommit_block():"
# Hides a statement from the static check.
HIDE = "run = lambda sql: getattr(op, 'exec' + 'ute')(sql)\n    "


def block(statement: str) -> str:
    return f"{BLOCK} op.execute({statement!r})"


@pytest.fixture
def one(empty_target: Target) -> Target:
    empty_target.write(ONE, None, "op.execute('CREATE TABLE t (x int); CREATE TYPE mood AS ENUM (\\'sad\\')')")
    empty_target.migrate(ONE)
    return empty_target


def tables(target: Target) -> list[str]:
    rows = target.query("SELECT relname FROM pg_class WHERE relnamespace = 'app'::regnamespace AND relkind = 'r'")
    return sorted(str(name) for (name,) in rows)


def events(target: Target) -> list[tuple[object, ...]]:
    return target.query(f"SELECT event, phase, statement FROM migrations.ledger WHERE revision = '{TWO}' ORDER BY id")


def labels(target: Target) -> list[object]:
    return [label for (label,) in target.query("SELECT enumlabel FROM pg_enum ORDER BY enumsortorder")]


MISPLACED = {
    "an index build in the transaction": (
        "op.execute('CREATE TABLE n ()'); op.execute('CREATE INDEX CONCURRENTLY i ON t (x)')",
        "CREATE INDEX CONCURRENTLY cannot run in a transaction",
    ),
    "two statements in a block": (
        f"{BLOCK}\n        op.execute('VACUUM t')\n        op.execute('ANALYZE t')",
        "second statement",
    ),
    "two statements in a text": (block("VACUUM t; ANALYZE t"), "several statements"),
    "another statement in a block": (block("CREATE TABLE n ()"), "an autocommit block is for one of"),
    "a block behind the transaction": (
        f"op.execute('CREATE TABLE n ()')\n    {block('VACUUM t')}",
        "with the rest undone: split it into two revisions",
    ),
    "an index without a name": (block("CREATE INDEX CONCURRENTLY ON t (x)"), "give the index a name"),
}


@pytest.mark.few(1)
@pytest.mark.parametrize(("body", "said"), MISPLACED.values(), ids=MISPLACED)
def test_a_statement_in_the_wrong_phase_is_refused_before_it_runs(one: Target, body: str, said: str) -> None:
    """The refusal comes before anything runs, so the revision before it is not applied either."""
    one.write(TWO, ONE, "op.execute('CREATE TABLE two ()')")
    script = one.write(THREE, TWO, body)
    for act in (lambda: planner.plan_from_database(Job(one.url, one.directory, THREE)), lambda: one.migrate(THREE)):
        with pytest.raises(HistoryError, match=said) as caught:
            act()
        assert f"{script.name}:" in str(caught.value)
    assert f"FAILED: migrations/versions/{script.name}:" in (typed := one.alembic("upgrade", "head", check=False))
    assert said in typed
    assert tables(one) == ["t"]


def test_the_way_back_is_looked_at_before_the_way_there_is_taken(one: Target) -> None:
    """After it is applied, the script cannot be changed."""
    one.write(TWO, ONE, downgrade="op.execute('DROP INDEX CONCURRENTLY i')")
    with pytest.raises(HistoryError, match="DROP INDEX CONCURRENTLY cannot run in a transaction"):
        one.migrate(TWO)


@pytest.mark.few(2)
@pytest.mark.parametrize(
    ("body", "said"),
    [
        (
            "op.execute('CREATE TABLE n ()'); run('CREATE INDEX CONCURRENTLY i ON t (x)')",
            "a revision runs in a transaction",
        ),
        (f"{BLOCK}\n        run('VACUUM t'); run('ANALYZE t')", "a second statement in an autocommit block"),
        (f"{BLOCK} run('VACUUM t; ANALYZE t')", "several statements"),
        (f"{BLOCK} run('CREATE TABLE n ()')", "an autocommit block is for one of"),
        (f"run('CREATE TABLE n ()')\n    {block('VACUUM t')}", "split the revision in two"),
        (f"run('SELECT nextval(\\'s\\')')\n    {block('VACUUM t')}", "split the revision in two"),
        (f"{BLOCK}\n        {BLOCK} run('VACUUM t')", "a block within a block"),
        ("run('CREATE TABLE n ()'); op.get_bind().commit()", "not for the script to commit"),
        ("run('CREATE TABLE n ()'); run('COMMIT')", "not for the script to end"),
        ("run('CREATE TABLE n ()'); run('/* x */ rollback')", "not for the script to end"),
    ],
)
def test_a_statement_that_turns_out_in_the_wrong_phase_is_rolled_back(one: Target, body: str, said: str) -> None:
    with blocker(one, "CREATE SEQUENCE s") as session:
        session.commit()
    one.write(TWO, ONE, HIDE + body)
    with pytest.raises(RevisionFailed, match=said) as caught:
        one.migrate(TWO)
    assert "it had committed" not in str(caught.value)
    assert caught.value.revision == ONE
    assert tables(one) == ["t"]
    assert one.query("SELECT last_value, is_called FROM s")[0][0] == 1


@pytest.mark.few(2)
@pytest.mark.parametrize("then", ["pass", "op.execute('CREATE TABLE m ()')"])
@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("op.get_bind().commit()", "not for the script to commit"),
        ("run('COMMIT')", "not for the script to end"),
        ("run('CREATE INDEX CONCURRENTLY i ON t (x)')", "a revision runs in a transaction"),
    ],
)
def test_a_script_that_catches_the_refusal_still_fails_with_it(one: Target, body: str, said: str, then: str) -> None:
    one.write(
        TWO,
        ONE,
        f"{HIDE}op.execute('CREATE TABLE n ()')\n    try:\n        {body}\n    except Exception:\n        {then}",
    )
    with pytest.raises(RevisionFailed, match=said) as caught:
        one.migrate(TWO)
    assert caught.value.revision == ONE
    assert tables(one) == ["t"]


def test_a_savepoint_is_the_scripts_own(one: Target) -> None:
    one.write(TWO, ONE, "with op.get_bind().begin_nested() as inner: op.execute('CREATE TABLE n ()'); inner.rollback()")
    assert one.migrate(TWO) == TWO
    assert tables(one) == ["t"]


def test_reading_before_a_block_commits_nothing_and_is_allowed(one: Target) -> None:
    one.write(TWO, ONE, f"op.get_bind().exec_driver_sql('SELECT count(*) FROM t')\n    {block('VACUUM t')}")
    assert one.migrate(TWO) == TWO


def test_each_block_has_its_intent_and_its_end_in_the_ledger(one: Target) -> None:
    one.write(
        TWO,
        ONE,
        "\n    ".join(
            [block("CREATE INDEX CONCURRENTLY i ON t (x)"), block("VACUUM t"), "op.execute('CREATE TABLE two ()')"]
        ),
    )
    assert one.migrate(TWO) == TWO
    assert events(one) == [
        ("intent", 1, "CREATE INDEX CONCURRENTLY i ON t (x)"),
        ("done", 1, "CREATE INDEX CONCURRENTLY i ON t (x)"),
        ("intent", 2, "VACUUM t"),
        ("done", 2, "VACUUM t"),
        ("applied", None, None),
    ]


def test_the_command_leaves_the_same_events(one: Target) -> None:
    one.write(TWO, ONE, block("CREATE INDEX CONCURRENTLY i ON t (x)"))
    one.alembic("upgrade", "head")
    assert [event for event, *_ in events(one)] == ["intent", "done", "applied"]


def test_the_blocks_before_a_failure_are_not_run_again(one: Target) -> None:
    """A value can be added only once, and an index can be dropped only once."""
    with blocker(one, "CREATE INDEX i ON t (x)") as session:
        session.commit()
    blocks = [block("ALTER TYPE mood ADD VALUE 'it''s'"), block("DROP INDEX CONCURRENTLY i")]
    one.write(TWO, ONE, "\n    ".join([*blocks, "op.execute('SELECT 1/0')"]))
    for _ in range(2):
        with pytest.raises(RevisionFailed, match="22012"):
            one.migrate(TWO)
    one.write(TWO, ONE, "\n    ".join(blocks))
    assert one.migrate(TWO) == TWO
    assert labels(one) == ["sad", "it's"]


def test_a_value_that_was_there_before_is_postgresqls_error_every_time(one: Target) -> None:
    one.write(TWO, ONE, block("ALTER TYPE mood ADD VALUE 'sad'"))
    for _ in range(2):
        with pytest.raises(RevisionFailed, match="already exists"):
            one.migrate(TWO)


def test_what_took_effect_runs_again_after_its_revision_was_taken_back(one: Target) -> None:
    one.write(TWO, ONE, block("CREATE INDEX CONCURRENTLY i ON t (x)"), block("DROP INDEX CONCURRENTLY i"))
    for _ in range(2):
        one.migrate(TWO)
        assert one.query("SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass('i')") == [(True,)]
        one.migrate(ONE)
        assert one.query("SELECT to_regclass('i')") == [(None,)]


@pytest.mark.full
def test_a_pending_detach_is_completed(one: Target) -> None:
    tables = "CREATE TABLE p (x int) PARTITION BY LIST (x); CREATE TABLE c PARTITION OF p FOR VALUES IN (1)"
    with blocker(one, tables) as session:
        if session.info.server_version < 140000:
            pytest.skip("PostgreSQL has it from 14 on")
        session.commit()
    one.write(TWO, ONE, block("ALTER TABLE p DETACH PARTITION app.c CONCURRENTLY"))
    with blocker(one, "SELECT FROM p"), pytest.raises(RevisionFailed, match="lock timeout"):
        one.migrate(TWO, policy=Policy(lock_deadline=0.3))
    assert one.query("SELECT inhdetachpending FROM pg_inherits") == [(True,)]
    assert one.migrate(TWO) == TWO
    assert one.query("SELECT count(*) FROM pg_inherits WHERE inhparent = 'p'::regclass") == [(0,)]


def test_a_statement_timeout_of_the_role_does_not_end_a_build(one: Target) -> None:
    """Half a build is worse than a long one, and a build blocks no other session."""
    with blocker(
        one, "CREATE FUNCTION slow(int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT 1 FROM pg_sleep(0.3)'"
    ) as s:
        s.execute("INSERT INTO t VALUES (1)")
        s.commit()
    one.write(
        TWO,
        ONE,
        f"op.execute('SET statement_timeout = 100')\n    {block('CREATE INDEX CONCURRENTLY i ON t (slow(x))')}",
    )
    assert one.migrate(TWO) == TWO


def test_a_ledger_from_before_there_were_events_is_carried_on(one: Target) -> None:
    with connect(one.url) as connection:
        connection.execute("ALTER TABLE migrations.ledger DROP event, DROP phase, DROP statement, DROP detail")
        connection.commit()
    one.write(TWO, ONE, block("CREATE INDEX CONCURRENTLY i ON t (x)"))
    assert one.migrate(TWO) == TWO
    assert one.query("SELECT revision, event FROM migrations.ledger ORDER BY id") == [
        (ONE, "applied"),
        (TWO, "intent"),
        (TWO, "done"),
        (TWO, "applied"),
    ]
