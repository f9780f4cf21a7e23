"""An aborted transaction stays aborted, and the run names the error that aborted it."""

from collections.abc import Callable

import pytest

from pulumi_alembic.errors import RevisionFailed
from pulumi_alembic.policy import Policy
from tests.conftest import Database
from tests.postgres.alembic.conftest import Target
from tests.postgres.alembic.owner import connect
from tests.postgres.alembic.waiting import blocker

ONE, TWO = "20250101_001", "20250102_002"

SCHEMA = """
CREATE TABLE old_one (id int);
CREATE TABLE old_two (id int);
CREATE TABLE stock (id int);
INSERT INTO stock VALUES (1);
CREATE TABLE simple (id int, name text);
CREATE FUNCTION hidden() RETURNS int LANGUAGE plpgsql AS 'BEGIN DROP TABLE old_two; RETURN 1; END';
"""

BEGINS = """
    op.execute("DROP TABLE old_one")
    op.execute("CREATE TABLE important (id int PRIMARY KEY)")
    op.execute("INSERT INTO important VALUES (1)")
    try:
        op.execute("ALTER TABLE simple ADD CONSTRAINT nope CHECK (missing > 0)")
    except sa.exc.ProgrammingError:
        {caught}
"""

AFTER = {
    "a plain drop of a table": 'op.execute("DROP TABLE old_two")',
    "of a column": 'op.drop_column("simple", "name")',
    "of a view": 'op.execute("DROP VIEW IF EXISTS nothing")',
    "a drop that cascades": 'op.execute("DROP TABLE old_two CASCADE")',
    "a drop of what has rows": 'op.execute("DROP TABLE stock")',
    "what does not show what it drops": 'op.execute("SELECT hidden()")',
    "a delete": 'op.execute("DELETE FROM stock")',
    "a drop over a cursor": 'op.get_bind().connection.cursor().execute("DROP TABLE old_two")',
    "a drop after a drop": '[op.execute(f"DROP TABLE {each}") for each in ("old_two", "simple")]',
    "a commit": "op.get_bind().commit()",
    "nothing": "pass",
}


@pytest.fixture
def filled(empty_target: Target) -> Target:
    with connect(empty_target.url) as connection:
        connection.execute(SCHEMA)
        connection.commit()
    return empty_target


def write(target: Target, body: str, down: str = "    pass\n") -> None:
    script = target.write(ONE, None)
    text = script.read_text().partition("def upgrade")[0]
    script.write_text(f"{text}import sqlalchemy as sa\ndef upgrade():\n{body}\ndef downgrade():\n{down}")


def tables(target: Target) -> list[str]:
    found = target.query("SELECT relname FROM pg_class WHERE relnamespace = 'app'::regnamespace AND relkind = 'r'")
    return sorted(str(name) for (name,) in found)


def failed(target: Target, **options: object) -> str:
    before = tables(target)
    with pytest.raises(RevisionFailed) as caught:
        target.migrate(ONE, **options)
    assert caught.value.revision == "base"
    assert tables(target) == before
    assert target.query("SELECT event FROM migrations.ledger") == [("failed",)]
    return str(caught.value)


@pytest.mark.few(2)
@pytest.mark.parametrize("what", AFTER)
def test_a_revision_that_goes_on_after_an_error_fails_whole(filled: Target, what: str) -> None:
    write(filled, BEGINS.replace("{caught}", AFTER[what]))
    message = failed(filled)
    assert "line 12\n  statement: ALTER TABLE simple ADD CONSTRAINT nope" in message
    assert 'PostgreSQL: column "missing" does not exist (42703)' in message
    assert "the script caught this error" in message
    [(detail,)] = filled.query("SELECT detail ->> 'error' FROM migrations.ledger")
    assert detail == 'column "missing" does not exist (42703)'


@pytest.mark.few(1)
@pytest.mark.parametrize("what", ["a plain drop of a table", "what does not show what it drops", "nothing"])
def test_the_alembic_command_leaves_it_too(filled: Target, what: str) -> None:
    write(filled, BEGINS.replace("{caught}", AFTER[what]))
    before = tables(filled)
    assert "(42703)" in filled.alembic("upgrade", "head", check=False)
    assert tables(filled) == before


def test_a_savepoint_of_the_scripts_own_is_what_it_goes_back_to(filled: Target) -> None:
    """Changes since the savepoint are undone, changes before it stay, and the revision is applied."""
    write(
        filled,
        """
    op.execute("DROP TABLE old_one")
    try:
        with op.get_bind().begin_nested():
            op.execute("DROP TABLE old_two")
            op.execute("SELECT hidden()")
    except sa.exc.ProgrammingError:
        op.execute("DROP TABLE simple")
""",
    )
    filled.migrate(ONE)
    assert tables(filled) == ["old_two", "stock"]


@pytest.mark.few(1)
@pytest.mark.parametrize("text", ["SELECT hidden(); SAVEPOINT mine", "SELECT hidden(); ROLLBACK TO SAVEPOINT mine"])
def test_savepoints_beside_what_shows_nothing_are_refused(filled: Target, text: str) -> None:
    """Our savepoint around such statements would discard the script's savepoints, or be discarded by them."""
    write(filled, f"    op.execute('SAVEPOINT mine')\n    op.execute({text!r})\n")
    assert "pass each of them to an op.execute() of its own" in failed(filled)


def test_no_savepoint_outlives_its_question(filled: Target) -> None:
    """An open savepoint would turn every later statement of the transaction into one of a subtransaction."""
    body = """
    import psycopg
    for each in ("DROP TABLE old_one", "ALTER TABLE simple DROP COLUMN name", "SELECT hidden()"):
        op.execute(each)
        for name in ("pulumi_alembic_plain", "pulumi_alembic_guard"):
            op.execute("SAVEPOINT probe")
            cursor = op.get_bind().connection.cursor()
            try:
                cursor.execute(f"RELEASE SAVEPOINT {name}")
            except psycopg.errors.InvalidSavepointSpecification:
                cursor.execute("ROLLBACK TO SAVEPOINT probe; RELEASE SAVEPOINT probe")
            else:
                raise AssertionError(name)
"""
    write(filled, body)
    filled.migrate(ONE)


def test_batch_operations_name_the_statement_that_failed(filled: Target, major: int) -> None:
    with connect(filled.url) as connection:
        connection.execute("CREATE TABLE t (id int PRIMARY KEY, twice int GENERATED ALWAYS AS (id * 2) STORED)")
        connection.execute("INSERT INTO t VALUES (1)")
        connection.commit()
    write(
        filled,
        "    with op.batch_alter_table('t', recreate='always') as batch:\n"
        "        batch.add_column(sa.Column('n', sa.Text))",
    )
    message = failed(filled)
    assert "statement: INSERT INTO _alembic_tmp_t" in message
    assert ("428C9" if major >= 14 else "42601") in message


def test_an_error_over_a_cursor_of_its_own_is_named_with_its_statement(filled: Target) -> None:
    write(
        filled,
        """
    try:
        op.get_bind().connection.cursor().execute("SELECT nothing FROM simple WHERE id = %s", [42])
    except Exception:
        raise ValueError("no such thing") from None
""",
    )
    message = failed(filled)
    assert "line 9\n  statement: SELECT nothing FROM simple WHERE id = %s\n  PostgreSQL: column" in message
    assert "continued; then ValueError: no such thing" in message


@pytest.mark.few(1)
@pytest.mark.parametrize("caught", ["pass", "op.execute('DROP TABLE old_two')"])
@pytest.mark.parametrize("statement", ["LOCK TABLE stock", "ALTER TABLE stock ADD x int", "DROP TABLE old_one"])
def test_a_script_that_catches_the_lock_timeout_is_tried_again(filled: Target, statement: str, caught: str) -> None:
    """The lock timeout is ours: plain Alembic would wait."""
    write(
        filled,
        f"    try:\n        op.execute({statement!r})\n    except sa.exc.OperationalError:\n        {caught}\n",
    )
    held = statement.split()[2]
    with blocker(filled, f"SELECT FROM {held}") as other:
        filled.migrate(ONE, policy=Policy(lock_timeout=0.05), on_status=lambda text: other.rollback())


@pytest.mark.parametrize(
    ("statement", "said"),
    [("SELECT '%\"'", "ProgrammingError: only '%s', '%b', '%t' are allowed as placeholders"), ("", "InterfaceError:")],
)
def test_an_error_that_is_not_the_servers_is_no_lost_connection(filled: Target, statement: str, said: str) -> None:
    sends = f"exec_driver_sql({statement!r}, (1,))" if statement else "connection.cursor().fetchone()"
    write(
        filled,
        f"    op.get_bind().{sends}\n"
        if statement
        else "    c = op.get_bind().connection.cursor()\n    c.close()\n    c.execute('SELECT 1')\n",
    )
    told: list[str] = []
    message = failed(filled, on_status=told.append)
    assert said in message
    assert "lost" not in message
    assert told == []


def test_other_databases_are_not_touched(filled: Target, make_database: Callable[[], Database]) -> None:
    """The remembered error belongs to its session."""
    write(filled, BEGINS.format(caught="pass"))
    failed(filled)
    write(filled, "    op.execute('SELECT 1/0')")
    with pytest.raises(RevisionFailed, match="22012") as caught:
        filled.migrate(ONE)
    assert "42703" not in str(caught.value)
