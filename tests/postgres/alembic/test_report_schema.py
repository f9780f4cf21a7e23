"""`pulumi-alembic report --schema`: a report with a rehearsal, from a file and on a server that is not the target's."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from pulumi_alembic.database.pg_programs import find_client
from pulumi_alembic.errors import MigrationError
from pulumi_alembic.migrate.job import Job
from pulumi_alembic.review.build import review_from_artifact, review_from_database
from pulumi_alembic.review.lint.settings import Settings
from pulumi_alembic.review.rehearsal.artifact import Artifact, _without_options
from taskdb.local import Server
from tests import formats, loaded
from tests.conftest import Database, ThrowawayCluster
from tests.postgres.alembic.conftest import Target

ONE, TWO, THREE, FOUR = "20260101_001", "20260101_002", "20260101_003", "20260101_004"
SECRETS = ("a secret name", "the-other-password")


def admin_url(server: Server, database: str = "postgres") -> str:
    return f"postgresql://{server.username}:{server.password}@{server.host}:{server.port}/{database}"


@pytest.fixture
def other(make_cluster: Callable[..., ThrowawayCluster]) -> Server:
    """Another server, as in a job: it has none of the target's roles."""
    return make_cluster().server


@pytest.fixture
def applied(empty_target: Target, database: Database, server: Server) -> Iterator[Target]:
    """A database at the first of four revisions. Its table has rows, and another role has rights."""
    with database.connect() as admin:
        if find_client(admin.info.server_version // 10000) is None:
            pytest.skip("no pg_dump for this server")
        names = {each: sql.Identifier(f"{database.name}_{each}") for each in ("owner", "migrator", "app")}
        for statement in (
            "CREATE ROLE {app} LOGIN PASSWORD 'the-other-password'",
            f"GRANT CONNECT ON DATABASE {database.name} TO {{app}}",
            "SET ROLE {owner}",
            "GRANT USAGE ON SCHEMA app TO {app}",
            "ALTER DEFAULT PRIVILEGES IN SCHEMA app GRANT SELECT ON TABLES TO {app}",
        ):
            admin.execute(sql.SQL(statement).format(**names))
    empty_target.write(
        ONE,
        None,
        "op.execute('CREATE TABLE app.people (id int PRIMARY KEY, name text, password text)')\n"
        "    op.execute(\"INSERT INTO app.people VALUES (1, 'a secret name')\")\n"
        "    op.execute('CREATE VIEW app.names AS SELECT name FROM app.people WHERE password = name')",
    )
    empty_target.write(
        TWO, ONE, "op.execute('ALTER TABLE people ADD COLUMN age int')", "op.drop_column('people', 'age')"
    )
    empty_target.write(THREE, TWO, "op.get_bind().exec_driver_sql('ALTER TABLE people ALTER COLUMN id TYPE bigint')")
    empty_target.write(FOUR, THREE, "op.execute('ALTER TABLE people DROP COLUMN password CASCADE')")
    empty_target.migrate(ONE)
    # With these statistics, a report knows as much as one that reads the rows.
    with database.connect() as admin:
        admin.execute("ANALYZE app.people")
    yield empty_target
    with database.connect() as admin:
        for statement in ("GRANT {app} TO CURRENT_USER", "DROP OWNED BY {app}", "DROP ROLE {app}"):
            admin.execute(sql.SQL(statement).format(**names))


def run(target: Target, *arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).with_name("pulumi-alembic")
    known = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
    return loaded.run(
        [program, *arguments, "--directory", target.directory],
        env=known | environment,
    )


@pytest.fixture
def written(applied: Target, tmp_path: Path) -> Path:
    """The file of the target's schema, written as a deployment writes it."""
    path = tmp_path / "schema.json"
    done = run(applied, "schema", "--output", path, DATABASE_URL=applied.url)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", f"wrote {path}\n")
    return path


def read(path: Path) -> Artifact:
    return Artifact.from_json(json.loads(path.read_text()))


def told(plan: Any) -> Any:
    """Return a plan of a report without the time and the sizes that only the database knows."""
    return {**plan, "as_of": "", "revisions": [{**each, "losses": []} for each in plan["revisions"]]}


@pytest.mark.full
def test_the_report_of_another_server_is_that_of_the_preview(
    applied: Target, written: Path, server: Server, other: Server
) -> None:
    _, preview = review_from_database(Job(applied.url, applied.directory, "head"), Settings(), admin=admin_url(server))
    assert preview.rehearsed and [bool(each.rehearsed) for each in preview.revisions] == [True] * 3
    done = run(
        applied, "report", "--format", "json", "--schema", written, "--rehearse-with", admin_url(other, "nothing")
    )
    assert done.returncode == 0, done.stderr
    assert "created for the rehearsal, and dropped after it: test_" in done.stderr
    [planned] = formats.read("report", done.stdout)["plans"]
    assert planned["digest"] == preview.digest
    assert told(planned["plan"]) == told(preview.to_json())
    assert planned["plan"]["as_of"].endswith(" UTC")
    with Database(other, "postgres").connect() as admin:
        assert admin.execute("SELECT rolname FROM pg_roles WHERE rolname LIKE 'test%'").fetchall() == []
        assert admin.execute("SELECT datname FROM pg_database WHERE datname LIKE 'rehearsal%'").fetchall() == []


def test_the_file_holds_no_row_and_no_password_and_is_for_its_user_only(written: Path) -> None:
    text = written.read_text()
    assert [each for each in SECRETS if each in text] == []
    assert "CREATE TABLE app.people" in text
    assert stat.S_IMODE(written.stat().st_mode) == 0o600


@pytest.mark.parametrize("login", ["me", '"my; ""own"" login"', "PUBLIC"])
def test_the_options_of_user_mappings_are_not_in_the_definitions(login: str) -> None:
    """The texts are those of pg_dump. Other users of the database cannot read the options either."""
    before = "-- Name: USER MAPPING me SERVER there; Type: USER MAPPING\n\n"
    mapping = f"CREATE USER MAPPING FOR {login} SERVER there"
    options = " OPTIONS (\n    password 'it''s; secret',\n    \"user\" 'me'\n)"
    after = ";\n\nCREATE VIEW v AS\n SELECT 'CREATE USER MAPPING FOR you SERVER there OPTIONS (a ''b'')';\n"
    assert _without_options(before + mapping + options + after) == before + mapping + after


@pytest.mark.full
def test_without_a_server_the_report_reads_nothing_but_the_file(applied: Target, written: Path) -> None:
    done = run(applied, "report", "--schema", written)
    assert done.returncode == 0, done.stderr
    assert "as it was on " in done.stdout and "static analysis, not rehearsed" in done.stdout
    assert "Deletes about 1 value of app.people.password" in done.stdout


@pytest.mark.full
def test_a_script_that_was_edited_since_it_ran_is_named_without_its_lines(applied: Target, written: Path) -> None:
    applied.write(ONE, None, "op.execute('CREATE TABLE app.people (id bigint PRIMARY KEY)')")
    done = run(applied, "report", "--schema", written)
    assert done.returncode == 1
    assert f"{ONE}_script.py is applied, and was edited since" in done.stderr
    assert "(the file of the schema holds no scripts)" in done.stderr


def test_a_server_that_has_the_owner_already_is_not_touched(applied: Target, written: Path, server: Server) -> None:
    """An example is the target's own server. The replaying role must be able to become only a role of its own."""
    review = review_from_artifact(read(written), applied.directory, "head", admin_url(server))
    assert not review.rehearsed
    assert "_owner exists on the server to rehearse on, and this program did not create it" in review.not_rehearsed


@pytest.mark.full
def test_roles_that_a_killed_report_left_are_used_again_and_dropped(
    applied: Target, written: Path, other: Server
) -> None:
    artifact = read(written)
    assert artifact.copy is not None
    login = sql.Identifier(artifact.copy.roles.login)
    with Database(other, "postgres").connect() as admin:
        admin.execute(sql.SQL("CREATE ROLE {}").format(login))
        mark = "created for a rehearsal by pulumi-alembic report --schema, and dropped after it"
        admin.execute(sql.SQL("COMMENT ON ROLE {} IS {}").format(login, mark))
    review = review_from_artifact(artifact, applied.directory, "head", admin_url(other))
    assert review.rehearsed, review.not_rehearsed
    with Database(other, "postgres").connect() as admin:
        assert admin.execute("SELECT rolname FROM pg_roles WHERE rolname LIKE 'test%'").fetchall() == []


@pytest.mark.full
def test_what_replays_the_definitions_can_become_the_owner_and_nothing_else(
    applied: Target, written: Path, other: Server
) -> None:
    """This holds for a file of an attacker: its definitions and grants reach no role of the server."""
    document = json.loads(written.read_text())
    copy, me = document["copy"], document["copy"]["owners"][1]
    copy["roles"][other.username] = True
    copy["members"] += [[other.username, me], ["pg_read_all_data", me]]
    definitions = copy["definitions"]
    for escape in (f"SET ROLE {other.username};", "SET ROLE pg_read_all_data;", "RESET ROLE; CREATE ROLE escaped;"):
        copy["definitions"] = definitions.replace("CREATE TABLE", f"{escape} CREATE TABLE", 1)
        review = review_from_artifact(Artifact.from_json(document), applied.directory, "head", admin_url(other))
        assert not review.rehearsed and "permission denied" in review.not_rehearsed, review.not_rehearsed
    with Database(other, "postgres").connect() as admin:
        assert admin.execute("SELECT FROM pg_roles WHERE rolname = 'escaped'").fetchall() == []


FORGED: list[tuple[tuple[str, ...], Any]] = [
    (("version",), 2),
    (("heads",), "base"),
    (("catalog",), {"search_path": []}),
    (("copy", "access"), [["CONNECT", "x; DROP DATABASE postgres"]]),
    (("copy", "access"), [["ALL; --", "x"]]),
    (("copy", "schemas"), {"app": ["o", [["USAGE", 'x"', ""]]]}),
    (("copy", "schemas"), {"app": ["o", [["USAGE", "x", "; SELECT 1"]]]}),
    (("copy", "locale"), ["UTF8"]),
    (("copy", "ledger"), [{"id": "1"}]),
]


@pytest.mark.full
def test_a_file_with_anything_else_is_refused_in_one_line(applied: Target, written: Path) -> None:
    """The admin sends no SQL that is made from the file's content."""
    said = []
    for place, value in FORGED:
        document = part = json.loads(written.read_text())
        for key in place[:-1]:
            part = part[key]
        assert place[-1] in part
        part[place[-1]] = value
        with pytest.raises(MigrationError) as raised:
            review_from_artifact(Artifact.from_json(document), applied.directory, "head")
        said.append(str(raised.value))
    assert len(said) == len(FORGED) and not any("\n" in each for each in said)
    done = run(applied, "report", "--schema", applied.directory / "env.py")
    assert done.returncode == 1 and done.stderr.endswith("env.py: not a file of pulumi-alembic schema\n")


@pytest.mark.full
def test_a_schema_that_cannot_be_copied_has_no_definitions(applied: Target, database: Database, tmp_path: Path) -> None:
    with database.connect() as admin:
        admin.execute("CREATE TABLE app.foreign_object ()")
    done = run(applied, "schema", "--output", tmp_path / "schema", DATABASE_URL=applied.url)
    assert done.returncode == 0
    assert (
        "the file has no definitions, so its reports are not rehearsed: table app.foreign_object belongs to"
        in done.stderr
    )
    shown = run(applied, "report", "--schema", tmp_path / "schema", "--rehearse-with", "postgresql://nowhere.test/x")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "not rehearsed (table app" in shown.stdout and "belongs to" in shown.stdout
    with psycopg.connect(**database.parameters) as admin:
        admin.execute("DROP TABLE app.foreign_object")
