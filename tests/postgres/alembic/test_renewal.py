"""A revision inherits nothing from the one before it, however the two run in one process."""

from collections.abc import Callable

import pytest

from pulumi_alembic.database.fingerprint import read_lines
from tests.postgres.alembic.conftest import Target
from tests.postgres.alembic.owner import connect

ONE, TWO = "20250101_001", "20250102_002"

LEAVES = """
    bind = op.get_bind()
    for statement in (
        "SET DateStyle = 'SQL, DMY'", "SET TimeZone = 'Asia/Tokyo'", "SET my.own = 'set'",
        "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL SERIALIZABLE",
        "CREATE TEMPORARY TABLE scratch ()", "PREPARE p AS SELECT 1", "DECLARE c CURSOR WITH HOLD FOR SELECT 1",
        "LISTEN l", "SELECT pg_advisory_lock(77)", "CREATE SEQUENCE s_{name}", "SELECT nextval('s_{name}')",
        "SELECT set_config('search_path', 'pg_catalog', false)", "SET statement_timeout = '10min'",
        "DROP FUNCTION IF EXISTS app.nothing()",
    ):
        bind.exec_driver_sql(statement)
    for _ in range(7):
        bind.exec_driver_sql("SELECT * FROM app.seven")
    connection = bind.connection.driver_connection
    connection.row_factory = psycopg.rows.dict_row
    connection.prepare_threshold = 1
    bind.execution_options(schema_translate_map={{"app": "nowhere"}})
"""

FINDS = """
    bind = op.get_bind()
    op.execute(sa.text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))
    op.execute("CREATE TABLE p_{name} (d date DEFAULT '03/04/2024')")
    op.execute("ALTER TABLE app.seven ADD COLUMN {name} int")
    bind.exec_driver_sql("SELECT * FROM app.seven")
    bind.execute(sa.text("SELECT id FROM seven"))
    bind.execute(sa.select(sa.table("seven", sa.column("id"), schema="app")))
    op.execute('''
        CREATE TABLE found_{name} AS SELECT current_setting('TimeZone') AS zone,
            coalesce(current_setting('my.own', true), '') AS own, to_regclass('scratch')::text AS temporary,
            (SELECT count(*) FROM pg_prepared_statements WHERE from_sql) AS prepared,
            (SELECT count(*) FROM pg_cursors WHERE is_holdable) AS cursors,
            (SELECT count(*) FROM pg_listening_channels()) AS channels, current_setting('statement_timeout') AS timeout,
            (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 77 AND pid = pg_backend_pid())
    ''')
    try:
        with bind.begin_nested():
            bind.exec_driver_sql("SELECT lastval()")
    except sa.exc.OperationalError:
        pass
    else:
        raise AssertionError("a sequence's value was inherited")
    assert bind.connection.cursor().execute("SELECT 1").fetchone() == (1,)
"""

RUNS: dict[str, Callable[[Target], object]] = {
    "an update": lambda target: target.migrate(TWO),
    "the alembic command": lambda target: target.alembic("upgrade", "head"),
}


def write(target: Target) -> None:
    for id, down, up, back in ((ONE, None, LEAVES, FINDS), (TWO, ONE, FINDS, LEAVES)):
        script = target.write(id, down)
        text = script.read_text().partition("def upgrade")[0] + "import psycopg\nimport sqlalchemy as sa\n"
        script.write_text(f"{text}def upgrade():{up.format(name='up')}\ndef downgrade():{back.format(name='down')}\n")
    with connect(target.url) as connection:
        connection.execute("CREATE TABLE seven (id int)")
        connection.commit()


FRESH = [("", None, 0, 0, 0, "0", 0)]


@pytest.mark.few(1)
@pytest.mark.parametrize("how", RUNS)
def test_a_revision_begins_with_the_session_as_it_was(empty_target: Target, how: str) -> None:
    """This holds for upgrades and downgrades.

    A default that depends on the session's settings is the same in every database.
    """
    write(empty_target)
    [(zone,)] = empty_target.query("SELECT current_setting('TimeZone')")
    RUNS[how](empty_target)
    empty_target.migrate("base")
    for name in ("up", "down"):
        assert empty_target.query(f"TABLE found_{name}") == [(zone, *FRESH[0])]
        with connect(empty_target.url) as connection:
            [default] = [line for line in read_lines(connection) if line.startswith(f"column|app.p_{name}.d|")]
        assert "'2024-03-04'::date" in default


TRIGGER = """
CREATE TABLE t (id int);
CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN UPDATE app.t SET id = length(current_setting('my.own')); RETURN NULL; END $$;
CREATE CONSTRAINT TRIGGER t AFTER INSERT ON t DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION f();
SET my.own = 'set'; INSERT INTO t VALUES (1)
"""


def test_triggers_that_wait_for_the_commit_have_the_scripts_settings(empty_target: Target) -> None:
    empty_target.write(ONE, None, f"op.execute({TRIGGER!r})")
    empty_target.migrate(ONE)
    assert empty_target.query("TABLE t") == [(3,)]


def test_a_first_revision_may_begin_with_a_block(empty_target: Target) -> None:
    """Alembic creates its own table before the block, in a transaction that does not belong to the revision."""
    empty_target.write(ONE, None, "with op.get_context().autocommit_block(): op.execute('ANALYZE')")
    assert empty_target.migrate(ONE) == ONE


def test_a_block_leaves_a_scripts_own_limit_and_locks(empty_target: Target) -> None:
    empty_target.write(ONE, None, "op.execute('CREATE TABLE t (id int)')")
    empty_target.write(
        TWO,
        ONE,
        "op.execute(\"SET statement_timeout = '7min'; SELECT pg_advisory_lock(77)\")\n"
        "    with op.get_context().autocommit_block(): op.execute('VACUUM t')\n"
        "    op.execute(\"CREATE TABLE found AS SELECT current_setting('statement_timeout') AS timeout, "
        "(SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 77 AND pid = pg_backend_pid())\")",
    )
    empty_target.migrate(TWO)
    assert empty_target.query("TABLE found") == [("7min", 1)]
