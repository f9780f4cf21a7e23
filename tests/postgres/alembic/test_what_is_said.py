"""No error prints a value of a row, and no text from the database, a script or the environment commands a terminal."""

import os
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from pulumi_alembic.errors import MigrationError
from pulumi_alembic.stack import log
from tests import formats, loaded
from tests.conftest import Database
from tests.postgres.alembic.conftest import Target
from tests.postgres.alembic.stack import Stack
from tests.unit.test_printable import assert_harmless

ONE, TWO = "20250101_001", "20250102_002"
VALUE = "s3cret7431"
NUMBER = "7654321"

TABLES = f"""
CREATE TYPE app.mood AS ENUM ('sad');
CREATE EXTENSION IF NOT EXISTS btree_gist SCHEMA app;
CREATE TABLE app.t (id int PRIMARY KEY, s text, n bigint, small numeric(9, 2));
INSERT INTO app.t VALUES (1, '{VALUE}', {NUMBER}), (2, '{VALUE}', {NUMBER});
CREATE TABLE app.parts (s text) PARTITION BY LIST (s);
CREATE VIEW app.v AS SELECT * FROM app.t WHERE n < 5 WITH CHECK OPTION;
"""
# Statements whose errors quote rows, in the message or after it, by their SQLSTATE.
QUOTES_ROWS = (
    ("22P02", "UPDATE app.t SET n = s::int"),
    ("22P02", "DROP VIEW app.v; ALTER TABLE app.t ALTER s TYPE uuid USING s::uuid"),
    ("22P02", "UPDATE app.t SET s = s::app.mood::text"),
    ("22P02", "UPDATE app.t SET s = ('{' || s)::text[]::text"),
    ("22P02", "UPDATE app.t SET s = s::json::text"),
    ("22007", "UPDATE app.t SET s = s::date::text"),
    ("22003", "UPDATE app.t SET small = (n::text || '0000')::int"),
    ("22008", "UPDATE app.t SET s = (n::text || '-99-99')::date::text"),
    ("22023", "UPDATE app.t SET s = set_config('DateStyle', s, true)"),
    ("23505", "CREATE TABLE app.u (s text UNIQUE); INSERT INTO app.u SELECT s FROM app.t"),
    ("23505", "CREATE UNIQUE INDEX same ON app.t (s)"),
    ("23502", "INSERT INTO app.t SELECT NULL, s, n FROM app.t"),
    ("23514", "INSERT INTO app.parts SELECT s FROM app.t"),
    ("23514", "ALTER TABLE app.t ADD CHECK (n < 5)"),
    ("23514", "ALTER TABLE app.t ADD CHECK (n < 5) NOT VALID; UPDATE app.t SET small = 1"),
    ("23503", "CREATE TABLE app.c (s text PRIMARY KEY); ALTER TABLE app.t ADD FOREIGN KEY (s) REFERENCES app.c"),
    ("23P01", "ALTER TABLE app.t ADD EXCLUDE USING gist (s WITH =)"),
    ("44000", "INSERT INTO app.v SELECT 3, s, n FROM app.t"),
    ("23505", "DO $$ BEGIN RAISE 'it is %', (SELECT max(s) FROM app.t) USING ERRCODE = '23505'; END $$"),
    ("22000", "DO $$ BEGIN RAISE 'it is: %', (SELECT max(s) FROM app.t) USING ERRCODE = '22000'; END $$"),
)


def run(target: Target, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    (target.directory.parent / "pyproject.toml").write_text('[tool.alembic]\nscript_location = "%(here)s/migrations"\n')
    return loaded.run(
        [Path(sys.executable).with_name("pulumi-alembic"), *arguments],
        cwd=target.directory.parent,
        env={**os.environ, "DATABASE_URL": target.url, **environment},
    )


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Collect the messages that the provider sends to the engine."""
    said: list[str] = []
    engine = type("Engine", (), {"Log": lambda _, request: said.append(request.message)})()
    monkeypatch.setattr(log, "_engine", lambda: engine)
    return said


def test_no_error_prints_a_value_of_a_row(empty_target: Target, database: Database, logged: list[str]) -> None:
    with database.connect() as admin:
        admin.execute(f"GRANT CREATE ON DATABASE {database.name} TO {database.name}_owner")
    owner = f"SET ROLE {database.name}_owner; "
    with database.connect() as admin:
        admin.execute((owner + TABLES).encode())
    empty_target.write(ONE, None)
    empty_target.migrate(ONE)
    for state, statement in QUOTES_ROWS:
        with database.connect(autocommit=False) as admin, pytest.raises(psycopg.Error) as raised:
            admin.execute((owner + statement).encode())
        quoted = str(raised.value) + str(raised.value.diag.context)
        assert (raised.value.sqlstate, statement) == (state, statement)
        assert VALUE in quoted or NUMBER in quoted or statement.endswith("ADD CHECK (n < 5)"), statement
        empty_target.write(TWO, ONE, f"op.execute({statement!r})")
        with pytest.raises(MigrationError) as failed:
            empty_target.migrate("head")
        logged.append(str(failed.value))
        assert f"({state})" in logged[-1]
    (empty_target.directory / "manifest").unlink(missing_ok=True)
    logged += [empty_target.alembic("upgrade", "head", check=False)]
    done = run(empty_target, "upgrade")
    assert done.returncode == 1
    told = run(empty_target, "history")
    assert told.stdout.count("failed: ") == len(QUOTES_ROWS) + 2
    logged += [done.stdout, done.stderr, told.stdout, run(empty_target, "history", "--json").stdout]
    assert not [text for text in logged if VALUE in text or NUMBER in text]


def test_a_value_that_a_script_puts_into_a_statement_is_not_printed(empty_target: Target) -> None:
    lines = [
        "op.execute('CREATE TABLE t AS SELECT 7654320 + 1 AS n, $$s3cret$$ || 7431 AS s')",
        "[(n, s)] = op.get_bind().exec_driver_sql('SELECT n, s FROM t').fetchall()",
        "op.execute(f\"INSERT INTO nowhere VALUES ('own text', 12, '{s}', {n})\")",
    ]
    empty_target.write(ONE, None, "; ".join(lines))
    with pytest.raises(MigrationError) as failed:
        empty_target.migrate("head")
    assert "INSERT INTO nowhere VALUES ('own text', 12, '…', …)" in str(failed.value)


HOSTILE = "\x1b]0;owned\x07\r\n::error::\u202e##[x]"


def test_what_comes_from_the_database_commands_nothing(
    empty_target: Target, database: Database, logged: list[str], tmp_path: Path
) -> None:
    empty_target.write(ONE, None, f"op.execute({'CREATE TABLE t (id int)'!r})")
    stack = Stack(empty_target.url)
    stack.up(empty_target.directory, ONE)
    owner = f"SET ROLE {database.name}_owner; SET search_path = app; "
    body = f"SELECT $x${HOSTILE}$x$"
    with database.connect() as admin:
        for statement in (
            f'CREATE TABLE "{HOSTILE}" ("{HOSTILE}" int)',
            f"COMMENT ON TABLE t IS '{HOSTILE}'",
            f"ALTER TABLE t ADD COLUMN \"{HOSTILE}\" text DEFAULT '{HOSTILE}'",
            f"ALTER TABLE t ADD CONSTRAINT \"c{HOSTILE}\" CHECK (id <> length('{HOSTILE}'))",
            f"CREATE FUNCTION f() RETURNS text LANGUAGE sql AS '{body}'",
        ):
            admin.execute((owner + statement).encode())
        admin.execute(f'RESET ROLE; ALTER ROLE {database.name}_migrator SET search_path = app, "{HOSTILE}"'.encode())
    stack.refresh()
    assert [text for text in logged if "drift" in text]
    assert stack.outputs["drift"]
    printed = [*logged, *(text for each in stack.outputs["drift"].items() for text in (each[0], *each[1]))]
    text, as_json, script = (run(empty_target, "drift", *more) for more in ((), ("--json",), ("--sql",)))
    assert [text.returncode, as_json.returncode, script.returncode] == [3, 3, 0]
    assert len(formats.read("drift", as_json.stdout)["drift"]) >= 5
    accepted = run(empty_target, "drift", "--accept", "--reason", HOSTILE, GITHUB_ACTOR=HOSTILE)
    records = [run(empty_target, "history", *more) for more in ((), ("--json",))]
    assert formats.read("history", records[1].stdout)["records"][0]["person"] == HOSTILE
    for done in (text, as_json, script, accepted, *records):
        printed += [done.stdout, done.stderr]
    for each in printed:
        assert_harmless(each)


def test_the_script_that_brings_back_what_was_does_so_with_any_text(empty_target: Target, database: Database) -> None:
    made = f"CREATE TABLE \"{HOSTILE}\" (a text DEFAULT '{HOSTILE}'); COMMENT ON TABLE \"{HOSTILE}\" IS '{HOSTILE}'"
    empty_target.write(ONE, None, f"op.get_bind().exec_driver_sql({made!r})", "op.execute('DROP SCHEMA app CASCADE')")
    stack = Stack(empty_target.url)
    stack.up(empty_target.directory, ONE)
    with database.connect() as admin:
        admin.execute(f'SET ROLE {database.name}_owner; DROP TABLE app."{HOSTILE}"'.encode())
        script = run(empty_target, "drift", "--sql").stdout
        assert_harmless(script)
        admin.execute(script.encode())
    assert "no drift" in run(empty_target, "drift").stdout


def test_what_comes_from_scripts_and_arguments_commands_nothing(empty_target: Target) -> None:
    path = empty_target.write(ONE, None, f"op.execute({f'SELECT $x${HOSTILE}$x$ FROM nowhere'!r})")
    path.write_text(
        path.read_text().replace(f'"""script {ONE}"""', f'"""{HOSTILE.encode("unicode_escape").decode()}"""')
    )
    printed = []
    for arguments in (
        ("plan",),
        ("plan", "--json"),
        ("plan", HOSTILE),
        ("lint",),
        ("lint", "--json"),
        ("lint", HOSTILE),
        ("upgrade",),
        ("accept", HOSTILE, "--reason", HOSTILE),
        ("capsule", HOSTILE),
        ("history", "--limit", HOSTILE),
        (HOSTILE,),
        ("plan", "--directory", HOSTILE),
        ("drift", "--ignore", HOSTILE),
        ("report", HOSTILE),
        ("restore", HOSTILE),
    ):
        done = run(empty_target, *arguments)
        printed += [done.stdout, done.stderr]
        assert "Traceback" not in done.stderr, done.stderr
    printed += [run(empty_target, "plan", DATABASE_URL=f"postgresql://{HOSTILE}@127.0.0.1:1/{HOSTILE}").stderr]
    for each in printed:
        assert_harmless(each)
