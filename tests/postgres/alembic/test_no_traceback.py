"""An error that a user can cause ends in a message and an exit code, never in a traceback."""

import subprocess
from collections.abc import Iterator

import psycopg
import pytest
from psycopg import sql

from tests.conftest import ALL, Database, drop_database
from tests.postgres.alembic.conftest import Target, prepare
from tests.postgres.alembic.test_what_is_said import ONE, run

TWO = "20250102_002"


@pytest.fixture
def applied(empty_target: Target) -> Target:
    """One applied script, whose name contains non-ASCII characters."""
    path = empty_target.write(ONE, None, "op.execute('CREATE TABLE t (id int)')", "op.execute('DROP TABLE t')")
    path.write_text(path.read_text().replace(f"script {ONE}", "größer → 日本"))
    empty_target.migrate(ONE)
    return empty_target


COMMANDS = (("history",), ("plan",), ("lint",), ("drift",), ("kept",), ("backups",), ("capsule", ONE), ("manifest",))


def assert_said(done: subprocess.CompletedProcess[str]) -> None:
    assert "Traceback" not in done.stderr, done.stderr
    assert done.returncode in (0, 1, 3)
    assert done.returncode == 0 or done.stderr or done.stdout


@pytest.mark.full
@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-16"])
def test_every_command_prints_in_every_encoding(applied: Target, encoding: str) -> None:
    for command in COMMANDS:
        done = run(applied, *command, LC_ALL="POSIX", PYTHONIOENCODING=f"{encoding}:strict")
        assert_said(done)


ENVS = {
    "missing": ("", "there is no migrations/env.py. Restore it:\n  git checkout -- migrations/env.py"),
    "syntax": ("def (", "migrations/env.py does not run. migrations/env.py, line 1: SyntaxError: invalid syntax"),
    "models": ("import broken_models", "broken_models.py, line 1: NameError: name 'nothing' is not defined"),
    "url": (
        "from pulumi_alembic import environment\nimport sqlalchemy\n\ndef url():\n    return nothing\n"
        "environment.run(sqlalchemy.MetaData(), url)",
        "migrations/env.py does not give the database's URL. migrations/env.py, line 5: NameError",
    ),
}


@pytest.mark.full
@pytest.mark.parametrize("fault", ENVS)
def test_an_env_py_that_does_not_run_is_named(applied: Target, fault: str) -> None:
    env = applied.directory / "env.py"
    source, said = ENVS[fault]
    (applied.directory.parent / "broken_models.py").write_text("nothing + 1")
    env.write_text(source) if source else env.unlink()
    for command in COMMANDS[:4]:
        done = run(applied, *command, DATABASE_URL="")
        assert_said(done)
        if command[0] != "lint":
            assert said in done.stderr, command
    applied.write(TWO, ONE)
    done = run(applied, "upgrade")
    assert_said(done)
    assert fault == "url" or said in done.stderr


@pytest.mark.few("nowhere")
@pytest.mark.parametrize("fault", ["def (", "import nowhere_to_be_found", "raise SystemExit(3)", "1 / 0"])
def test_a_broken_script_is_named_by_alembic_too(applied: Target, fault: str) -> None:
    path = applied.write(TWO, ONE)
    path.write_text(f"{path.read_text()}\n{fault}\n")
    for command in ("history", "current", "upgrade head", "check", "stamp head") if ALL else ("upgrade head",):
        printed = applied.alembic(*command.split(), check=False)
        assert "Traceback" not in printed, printed
        assert f"migrations/versions/{path.name} cannot be imported: " in printed


def test_a_script_that_builds_on_itself_is_no_traceback(applied: Target) -> None:
    applied.write(TWO, TWO)
    printed = applied.alembic("upgrade", "head", check=False)
    assert "the scripts do not form one history: " in printed and TWO in printed
    assert "Traceback" not in printed


@pytest.fixture(params=["SQL_ASCII", "LATIN1"])
def encoded(request: pytest.FixtureRequest, database: Database, applied: Target) -> Iterator[Target]:
    """A database with another encoding than UTF-8."""
    other = Database(database.server, f"{database.name}_{request.param.lower()}")
    with database.connect() as admin:
        admin.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE template0 ENCODING {} LOCALE 'C'").format(
                sql.Identifier(other.name), sql.Literal(request.param)
            )
        )
    yield prepare(other, applied.directory)
    drop_database(other)


@pytest.mark.full
def test_a_database_of_another_encoding_is_migrated(encoded: Target) -> None:
    for command in (("plan",), ("upgrade",), *COMMANDS):
        assert_said(run(encoded, *command))
    assert "upgrade" in run(encoded, "history").stdout
    assert encoded.query("SELECT version_num FROM migrations.alembic_version") == [(ONE,)]
    encoded.query("SELECT set_config('search_path', 'app', false)")
    done = run(encoded, "history")
    assert done.returncode == 0


@pytest.mark.full
def test_text_that_is_in_no_encoding_is_said(encoded: Target) -> None:
    run(encoded, "upgrade")
    with psycopg.connect(encoded.url, client_encoding="latin1") as connection:
        [(owner,)] = connection.execute("SELECT nspowner::regrole::text FROM pg_namespace WHERE nspname = 'app'")
        connection.execute(f"SET ROLE {owner}".encode())
        connection.execute("CREATE TABLE app.größe (é int)")
    encoded.write(TWO, ONE, "op.execute('CREATE TABLE u ()')")
    for command in (("plan",), ("drift",), ("upgrade",)):
        assert_said(run(encoded, *command))
