"""An empty database that starts from a baseline equals what its scripts build, and later runs accept it."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from pulumi_alembic.baselines import writing
from pulumi_alembic.baselines.content import dump, portable
from pulumi_alembic.database.fingerprint import read_lines
from pulumi_alembic.database.pg_programs import find_client
from pulumi_alembic.errors import BaselineError, HistoryError, NotApproved
from pulumi_alembic.migrate import planner
from pulumi_alembic.review.rehearsal.source import client_for
from pulumi_alembic.scripts.history import History
from taskdb.local import Server
from tests.conftest import Database
from tests.postgres.alembic.conftest import Target
from tests.postgres.alembic.owner import connect
from tests.postgres.alembic.stack import Stack, older

ONE, TWO, THREE = (f"20250101_00{number}" for number in range(1, 4))

SCRIPTS = {
    ONE: """
CREATE TABLE users (id serial PRIMARY KEY, email text NOT NULL UNIQUE, joined date DEFAULT '2025-01-01');
COMMENT ON TABLE users IS 'who; logs in';
INSERT INTO users (email) VALUES ('it''s'), (E'a\\nb'), ('-- ;');
CREATE TABLE tasks (id bigint GENERATED ALWAYS AS IDENTITY, owner int REFERENCES users, title varchar(50));
GRANT SELECT (email) ON users TO PUBLIC;
REVOKE DELETE ON tasks FROM CURRENT_USER
""",
    TWO: """
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.title := ';'; RETURN NEW; END $$;
REVOKE EXECUTE ON FUNCTION touch() FROM PUBLIC;
CREATE TRIGGER touch BEFORE INSERT ON tasks FOR EACH ROW EXECUTE FUNCTION touch();
ALTER TABLE tasks ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON tasks TO CURRENT_USER USING (owner = 1);
CREATE VIEW titles AS SELECT title FROM tasks;
CREATE MATERIALIZED VIEW counts AS SELECT count(*) FROM users;
CREATE TABLE notes (note text)
""",
    THREE: """
CREATE TYPE mood AS ENUM ('ok', 'bad');
ALTER TABLE users ADD m mood DEFAULT 'ok';
UPDATE users SET m = 'bad'
""",
}
BACK = {
    ONE: "DROP TABLE tasks, users",
    TWO: "DROP TABLE notes; DROP MATERIALIZED VIEW counts; DROP VIEW titles; DROP FUNCTION touch CASCADE; "
    "DROP POLICY own ON tasks",
}
FILE = Path(__file__).parents[2] / "fixtures" / "baseline.sql"
GRANT_BY_DEFAULT = "ALTER DEFAULT PRIVILEGES IN SCHEMA app GRANT SELECT ON TABLES TO pg_monitor"


@pytest.fixture(autouse=True)
def _needs_pg_dump(request: pytest.FixtureRequest, server: Server) -> None:
    if "admin" not in request.fixturenames:
        return
    with Database(server, "postgres").connect() as admin:
        if find_client(admin.info.server_version // 10000) is None:
            pytest.skip("no pg_dump for this server")


@pytest.fixture
def scripts(empty_target: Target) -> Target:
    """Write three revisions with a manifest. By default, others can read the tables of the database."""
    write(empty_target, SCRIPTS)
    execute(empty_target, GRANT_BY_DEFAULT)
    return empty_target


@pytest.fixture
def admin(database: Database) -> str:
    """Return the URL of a login that can create databases."""
    server = database.server
    return f"postgresql://{server.username}:{server.password}@{server.host}:{server.port}/postgres"


def write(target: Target, statements: dict[str, str]) -> None:
    down = None
    for id, statement in statements.items():
        target.write(id, down, f"op.execute({statement!r})", f"op.execute({BACK.get(id, 'SELECT 1')!r})")
        down = id
    History.load(target.directory).write_manifest()


def execute(target: Target, *statements: str) -> None:
    """Run statements as the owner."""
    with connect(target.url) as session:
        for statement in statements:
            session.execute(statement.encode())
        session.commit()


_written: dict[tuple[str, ...], str] = {}
"""Baselines by their scripts and revision. A baseline names no database."""


def baseline(target: Target, admin: str, revision: str) -> Path:
    """Write a baseline and the manifest. Only the first one of these scripts needs the server."""
    directory = target.directory / "baselines"
    path = directory / f"{revision}.sql"
    scripts = (*(script.read_text() for script in sorted(target.directory.glob("versions/*.py"))), revision)
    if scripts in _written:
        directory.mkdir(exist_ok=True)
        path.write_text(_written[scripts])
        History.load(target.directory).write_manifest()
    else:
        assert writing.write(target.url, admin, target.directory, revision, lambda text: None).path == path
        _written[scripts] = path.read_text()
    return path


def content(target: Target) -> Counter[str]:
    """Return the statements that build the database, with rows and rights, without the database's name."""
    name = urlsplit(target.url).path[1:]
    with connect(target.url) as connection:
        client = client_for(connection.info.server_version // 10000)
    dumped = dump(client, target.url, f"{name}_owner")
    return Counter(portable(dumped, (f"{name}_owner", f"{name}_migrator"), ()).replace(name, "").split(";\n"))


def events(target: Target) -> list[tuple[object, ...]]:
    return target.query("SELECT revision, event FROM migrations.ledger ORDER BY id")


def test_the_result_is_that_of_the_scripts(scripts: Target, admin: str, make_target: Callable[[Path], Target]) -> None:
    path = baseline(scripts, admin, TWO)
    assert urlsplit(scripts.url).path[1:] not in path.read_text()
    replayed = make_target(scripts.directory)
    execute(replayed, GRANT_BY_DEFAULT)
    plan = planner.plan_from_database(scripts.job(THREE))
    assert str(plan) == f"base → {THREE}, starts from the baseline of {TWO} (2 revisions), then 1 revision"
    assert scripts.migrate(THREE) == THREE
    assert replayed.migrate(THREE, baselines=False) == THREE
    assert events(scripts) == [(ONE, "adopted"), (TWO, "adopted"), (THREE, "applied")]
    assert content(scripts) == content(replayed)


def test_downgrades_run_afterwards(scripts: Target, admin: str) -> None:
    baseline(scripts, admin, TWO)
    scripts.migrate(TWO)
    assert scripts.migrate("base", allow_data_loss=frozenset([ONE])) == "base"
    # The revisions restore rows that a downgrade preserved. A baseline cannot.
    assert planner.plan_from_database(scripts.job(TWO)).baseline is None


@pytest.mark.parametrize(
    "statement", ["CREATE TABLE other ()", "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'"]
)
def test_only_an_empty_database_starts_from_a_baseline(scripts: Target, admin: str, statement: str) -> None:
    baseline(scripts, admin, TWO)
    assert planner.plan_from_database(scripts.job(TWO)).baseline
    assert not planner.plan_from_database(scripts.job(ONE)).baseline
    assert not planner.plan_from_database(scripts.job(TWO, baselines=False)).baseline
    execute(scripts, statement)
    assert not planner.plan_from_database(scripts.job(TWO)).baseline


RANDOM = {
    "time": "CREATE TABLE seeds (at timestamptz DEFAULT now(), a int); INSERT INTO seeds (a) VALUES (1), (2)",
    "chance": "CREATE TABLE seeds (r float); INSERT INTO seeds VALUES (random()), (random())",
    "a sequence": "CREATE TABLE seeds (a int); CREATE SEQUENCE s; SELECT setval('s', (random() * 1000000)::int)",
}


@pytest.mark.few(1)
@pytest.mark.parametrize("kind", RANDOM)
def test_rows_that_are_others_each_time_are_named_and_refused(scripts: Target, admin: str, kind: str) -> None:
    write(scripts, {**SCRIPTS, "20250101_004": RANDOM[kind]})
    name = "app.s: 1 row of 1 differ" if kind == "a sequence" else "app.seeds: 2 rows of 2 differ"
    with pytest.raises(BaselineError, match=name):
        baseline(scripts, admin, "head")
    assert not (scripts.directory / "baselines").exists()


def test_rows_with_carriage_returns_are_refused(scripts: Target, admin: str) -> None:
    write(scripts, {**SCRIPTS, "20250101_004": "INSERT INTO notes VALUES (E'a\\r\\nb')"})
    with pytest.raises(BaselineError, match="carriage returns"):
        baseline(scripts, admin, "head")
    assert not (scripts.directory / "baselines").exists()


def test_rights_that_default_privileges_gave_and_a_script_took_are_refused(scripts: Target, admin: str) -> None:
    write(scripts, {**SCRIPTS, "20250101_004": "REVOKE SELECT ON notes FROM pg_monitor"})
    with pytest.raises(BaselineError, match="privileges"):
        baseline(scripts, admin, "head")


def test_a_script_that_was_edited_makes_its_baseline_stale(scripts: Target, admin: str) -> None:
    baseline(scripts, admin, TWO)
    write(scripts, {**SCRIPTS, ONE: SCRIPTS[ONE] + "; SELECT 1"})
    with pytest.raises(HistoryError, match=rf"written for other scripts.*\n  pulumi-alembic baseline {TWO}"):
        scripts.migrate(THREE)
    baseline(scripts, admin, TWO)
    assert scripts.migrate(THREE) == THREE


def test_a_baseline_that_was_edited_is_noticed(scripts: Target, admin: str) -> None:
    path = baseline(scripts, admin, TWO)
    path.write_text(path.read_text().replace("it''s", "its"))
    with pytest.raises(HistoryError, match=f"baselines/{TWO}.sql was edited"):
        scripts.migrate(THREE)
    History.load(scripts.directory).write_manifest()
    with pytest.raises(BaselineError, match=r"app\.users: 1 row of 3 differ"):
        writing.check(scripts.url, admin, scripts.directory, TWO, lambda text: None)


def test_a_statement_that_the_server_refuses_changes_nothing(scripts: Target, admin: str) -> None:
    path = baseline(scripts, admin, TWO)
    path.write_text(path.read_text() + "INSERT INTO app.users VALUES (1, 'secret');\n")
    History.load(scripts.directory).write_manifest()
    with pytest.raises(BaselineError, match="duplicate key") as refused:
        scripts.migrate(THREE)
    assert "secret" not in str(refused.value)
    assert scripts.query("SELECT to_regclass('app.users'), to_regclass('migrations.ledger')") == [(None, None)]
    assert planner.plan_from_database(scripts.job(THREE)).baseline


def test_an_approval_is_for_this_file_and_stored_scripts_lead_back(scripts: Target, admin: str) -> None:
    path = baseline(scripts, admin, TWO)
    stack = Stack(scripts.url)
    planned = stack.preview(scripts.directory, THREE)
    assert planned["plan"] == f"base → {THREE}, starts from the baseline of {TWO} (2 revisions), then 1 revision"
    assert [*planned["statements"]] == [f"baseline {TWO}", f"upgrade {THREE}"]
    path.write_text(path.read_text() + "-- another\n")
    History.load(scripts.directory).write_manifest()
    with pytest.raises(NotApproved, match="scripts changed since"):
        stack.up(scripts.directory, THREE, require_approval=True, __approved=planned["digest"])
    planned = stack.preview(scripts.directory, THREE)
    stack.up(scripts.directory, THREE, require_approval=True, __approved=planned["digest"])
    assert stack.outputs["revision"] == THREE
    assert not stack.up(scripts.directory, THREE)
    # A commit before the baseline.
    path.unlink()
    History.load(scripts.directory).write_manifest()
    stack.up(older(scripts, TWO, THREE), ONE)
    assert stack.outputs["revision"] == ONE


def test_a_stack_can_run_all_revisions(scripts: Target, admin: str) -> None:
    baseline(scripts, admin, TWO)
    stack = Stack(scripts.url)
    stack.up(scripts.directory, THREE, baselines=False)
    assert [event for event in events(scripts) if event[1] in ("applied", "adopted")] == [
        (id, "applied") for id in SCRIPTS
    ]


def test_a_file_loads_on_any_version(scripts: Target, make_target: Callable[[Path], Target]) -> None:
    """The file of the fixture was written on PostgreSQL 15."""
    (scripts.directory / "baselines").mkdir()
    shutil.copy(FILE, scripts.directory / "baselines" / f"{THREE}.sql")
    History.load(scripts.directory).write_manifest()
    replayed = make_target(scripts.directory)
    execute(replayed, GRANT_BY_DEFAULT)
    assert scripts.migrate(THREE) == THREE
    assert replayed.migrate(THREE, baselines=False) == THREE
    assert events(scripts) == [(id, "adopted") for id in SCRIPTS]
    assert objects(scripts) == objects(replayed)
    for rows in ("TABLE users", "TABLE tasks", "TABLE counts", "SELECT last_value, is_called FROM users_id_seq"):
        assert scripts.query(rows) == replayed.query(rows)


def objects(target: Target) -> list[str]:
    """Return the objects that the catalog defines, without the database's name and the tables of migrations."""
    with connect(target.url) as session:
        lines = read_lines(session)
    return sorted(line.replace(urlsplit(target.url).path[1:], "") for line in lines if " migrations." not in line)
