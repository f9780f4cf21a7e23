"""The project's program on the test bench, with a real server: its resources, its outputs and its schema's revision."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from pulumi_embedded.testing import Engine, Result, Secret
from taskdb.database import Database as Program
from taskdb.local import Server
from tests.conftest import PROJECT, Database

HEAD = "20250126_003"
MIGRATIONS = "pulumi-python:dynamic/alembic:Migrations::schema"
READER = "postgresql:index/role:Role::reader"


def configured(folder: Path, program: Path, server: Server) -> Engine:
    """Configure the program for a new, empty stack of the run's server."""
    engine = Engine(folder, stack=f"b{secrets.token_hex(4)}")
    engine.program = program
    engine.config = {
        "taskdb:revision": "head",
        "postgresql:host": server.host,
        "postgresql:port": server.port,
        "postgresql:username": server.username,
        "postgresql:password": Secret(server.password),
    }
    return engine


@pytest.fixture(scope="module")
def copied(server: Server, tmp_path_factory: pytest.TempPathFactory) -> tuple[Engine, Result]:
    """A stack of a copy of the project, to which tests can add revisions, and its first update."""
    project = tmp_path_factory.mktemp("project")
    for name in ("Pulumi.yaml", "__main__.py"):
        shutil.copy(PROJECT / name, project)
    # The copy has no manifest, because the manifest rejects scripts that these tests add.
    ignored = shutil.ignore_patterns("__pycache__", "manifest")
    shutil.copytree(PROJECT / "migrations", project / "migrations", ignore=ignored)
    engine = configured(tmp_path_factory.mktemp("stack"), project, server)
    return engine, engine.up()


@pytest.fixture
def engine(copied: tuple[Engine, Result]) -> Iterator[Engine]:
    """The stack at its head.

    A test that moves the schema moves it back. This fixture undoes scripts and configuration.
    """
    engine, _ = copied
    config, scripts = dict(engine.config), set(versions(engine).glob("*.py"))
    yield engine
    engine.config = config
    for path in set(versions(engine).glob("*.py")) - scripts:
        path.unlink()


def versions(engine: Engine) -> Path:
    return Path(str(engine.program)) / "migrations" / "versions"


def script(engine: Engine, statement: str) -> Path:
    """Add a revision after the head."""
    path = versions(engine) / "20260101_004_added_by_a_test.py"
    path.write_text(
        f'"""added by a test"""\n\nfrom alembic import op\n\nrevision = "20260101_004"\ndown_revision = "{HEAD}"\n'
        f"\n\ndef upgrade():\n    op.execute({statement!r})\n\n\ndef downgrade():\n    op.execute('DROP TABLE four')\n"
    )
    return path


def test_the_first_update_needs_no_superuser(copied: tuple[Engine, Result], server: Server, resources: int) -> None:
    _, created = copied
    assert created.changes == {"create": resources}
    with Database(server, "postgres").connect() as admin:
        row = admin.execute("SELECT rolsuper FROM pg_roles WHERE rolname = current_user").fetchone()
    assert row == (False,)


def test_a_second_update_changes_nothing_and_neither_does_a_refresh(engine: Engine, resources: int) -> None:
    again = engine.up(refresh=True)
    assert again.changes == {"same": resources}
    assert not again.has_changes


def test_the_urls_are_secret_and_work(engine: Engine) -> None:
    again = engine.preview()
    assert again.secrets == {"app_url", "reader_url", "migrator_url", "proof"}
    for name in again.secrets - {"proof"}:
        with psycopg.connect(again.outputs[name]) as connection:
            assert connection.info.dbname == again.outputs["database"]
    for resource in again.resources:
        assert all(key in resource.secrets for key in ("password", "url") if key in resource.inputs), resource.urn


def test_a_preview_of_a_new_revision_is_one_update(engine: Engine, resources: int) -> None:
    script(engine, "CREATE TABLE four ()")
    preview = engine.preview()
    assert preview.changes == {"same": resources - 1, "update": 1}
    step = preview.step(MIGRATIONS)
    assert set(step.diff) == {"digest", "plan", "statements", "target"}
    assert step.new is not None and step.new.inputs["plan"] == f"{HEAD} → 20260101_004, 1 upgrade"
    assert step.new.inputs["statements"] == {
        "upgrade 20260101_004": ["-- locks app.four: ACCESS EXCLUSIVE", "CREATE TABLE four ()"]
    }
    assert preview.resource(MIGRATIONS).outputs["revision"] == HEAD


@pytest.mark.full
def test_where_an_approval_is_required_an_update_runs_what_was_approved(engine: Engine) -> None:
    script(engine, "CREATE TABLE four ()")
    engine.config["taskdb:require_approval"] = "true"
    preview = engine.preview().step(MIGRATIONS)
    assert preview.new is not None
    refused = engine.up(expect_failure=True)
    assert any(f"PULUMI_ALEMBIC_APPROVE={preview.new.inputs['digest']}" in each.message for each in refused.diagnostics)
    assert refused.resource(MIGRATIONS).outputs["revision"] == HEAD
    engine.config["taskdb:approved"] = preview.new.inputs["digest"]
    assert engine.up().outputs["revision"] == "20260101_004"
    engine.config |= {"taskdb:revision": HEAD, "taskdb:require_approval": "false"}
    assert engine.up().outputs["revision"] == HEAD


def test_a_failing_revision_leaves_the_database_s_revision_in_the_state(
    engine: Engine,
) -> None:
    broken = script(engine, "ALTER TABLE nowhere ADD x int")
    failed = engine.up(expect_failure=True)
    [told] = [each for each in failed.diagnostics if each.urn.endswith(MIGRATIONS) and each.severity == "error"]
    for part in ("20260101_004", broken.name, "ALTER TABLE nowhere ADD x int", f"the database is at {HEAD}"):
        assert part in told.message
    assert failed.resource(MIGRATIONS).outputs["revision"] == HEAD
    assert len(failed.resources) == len(engine.resources)
    broken.unlink()
    assert engine.up().outputs["revision"] == HEAD


@pytest.mark.full
def test_a_pinned_stack_goes_to_an_older_revision_and_back(engine: Engine, resources: int) -> None:
    engine.config["taskdb:revision"] = "20250126_002"
    older = engine.up()
    assert older.changes == {"same": resources - 1, "update": 1}
    assert older.outputs["revision"] == "20250126_002"
    engine.config["taskdb:revision"] = "head"
    assert engine.up().outputs["revision"] == HEAD


@pytest.mark.full
def test_a_program_of_before_there_was_a_schema_for_it_leaves_what_is_kept(
    engine: Engine, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An older commit's program does not have the schema `kept`. Its update deletes resources that it does not have."""
    url = str(engine.up().outputs["app_url"])
    with psycopg.connect(url) as application:
        application.execute("INSERT INTO users (username, email, password_hash) VALUES ('a', 'a', 'x')")
        application.execute("INSERT INTO conversations (user_id) SELECT id FROM users")
    engine.config["taskdb:revision"] = "20250126_002"
    engine.up()
    make = Program._schema
    with monkeypatch.context() as older:
        older.setattr(Program, "_schema", lambda self, name, *more: name == "kept" or make(self, name, *more))
        assert engine.up().changes["delete"] == 1
    with Database(server, f"taskdb_{engine.stack}").connect() as admin:
        assert admin.execute("SELECT count(*) FROM pg_namespace WHERE nspname = 'kept'").fetchone() == (1,)
    engine.config["taskdb:revision"] = "head"
    assert engine.up().changes["create"] == 1
    with psycopg.connect(url) as application:
        assert application.execute("SELECT count(*) FROM conversations").fetchone() == (1,)
        application.execute("DELETE FROM users")


@pytest.mark.full
def test_a_refresh_finds_drift_and_the_next_update_repairs_it(engine: Engine, server: Server) -> None:
    reader = engine.preview().resource(READER).outputs["name"]
    with Database(server, "postgres").connect() as admin:
        admin.execute(f"ALTER ROLE {reader} SET statement_timeout = 1")
    refreshed = engine.refresh()
    # The schema's resource reports drift of the roles too.
    assert refreshed.changes == {"same": 40, "update": 2}
    assert refreshed.resource(READER).outputs["statementTimeout"] == 1
    healed = engine.up()
    assert healed.step(READER).diff == {"statementTimeout": "update"}
    assert not engine.preview(refresh=True).has_changes


def test_an_unknown_revision_is_refused_before_anything_is_registered(server: Server, tmp_path: Path) -> None:
    engine = configured(tmp_path, PROJECT, server)
    engine.config["taskdb:revision"] = "20990101_009"
    refused = engine.up(expect_failure=True)
    assert "there is no revision '20990101_009' in the scripts" in refused.errors[0]
    assert "git log --all --oneline -- '*20990101_009*'" in refused.errors[0]
    assert "config set taskdb:revision head --stack " in refused.errors[0]
    assert [each.type for each in refused.resources] == ["pulumi:pulumi:Stack"]


@pytest.mark.full
def test_destroy_deletes_dependents_first_and_leaves_nothing(server: Server, tmp_path: Path, resources: int) -> None:
    engine = configured(tmp_path, PROJECT, server)
    engine.up()
    destroyed = engine.destroy()
    assert destroyed.changes == {"delete": resources}
    gone: set[str] = set()
    for step in destroyed.steps:
        assert step.old is not None and not step.old.state.all_dependencies() & gone, f"{step.urn} came too late"
        gone.add(step.urn)
    with Database(server, "postgres").connect() as admin:
        prefix = f"taskdb_{engine.stack}%"
        query = "SELECT datname FROM pg_database WHERE datname LIKE %(p)s UNION SELECT rolname FROM pg_roles "
        left = admin.execute(query + "WHERE rolname LIKE %(p)s", {"p": prefix}).fetchall()
    assert left == [] and destroyed.resources == []
