"""A database that plain SQL has built is adopted at the revision that builds it, and at no other. No row is touched."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pulumi.output import Unknown

from pulumi_alembic.review.plan_review import PlanReview
from pulumi_alembic.stack.log import Log
from tests.conftest import Database
from tests.postgres.alembic.conftest import Target
from tests.postgres.alembic.owner import connect
from tests.postgres.alembic.stack import Refused, Stack

ONE, TWO, THREE, FOUR = (f"2025010{number}_00{number}" for number in range(1, 5))

SQL = {
    ONE: "CREATE TABLE users (id serial PRIMARY KEY, email text NOT NULL UNIQUE)",
    TWO: "CREATE TABLE tasks (id serial PRIMARY KEY, user_id int REFERENCES users); CREATE INDEX ON tasks (user_id)",
    THREE: "ALTER TABLE tasks ADD title varchar(50); CREATE TYPE mood AS ENUM ('ok'); ALTER TABLE users ADD m mood",
}
BACK = {
    ONE: "DROP TABLE users",
    TWO: "DROP TABLE tasks",
    THREE: "ALTER TABLE tasks DROP COLUMN title; ALTER TABLE users DROP COLUMN m; DROP TYPE mood",
}


@pytest.fixture
def site(empty_target: Target) -> Target:
    """Write three revisions, and provide a database that knows none of them."""
    down = None
    for id, statement in SQL.items():
        empty_target.write(id, down, f"op.execute({statement!r})", f"op.execute({BACK[id]!r})")
        down = id
    return empty_target


@pytest.fixture
def adopting(database: Database) -> dict[str, Any]:
    """Return the settings of the program."""
    server = database.server
    login = f"{server.username}:{server.password}@{server.host}:{server.port}"
    return {"adopt": "true", "__rehearse_with": f"postgresql://{login}/{database.name}"}


def build(site: Target, *statements: str) -> None:
    """Run the statements of a user's own scripts, as the owner."""
    with connect(site.url) as connection:
        for statement in statements:
            connection.execute(statement.encode())
        connection.commit()


def contents(site: Target) -> list[tuple[object, ...]]:
    """Return every row with its place in the table."""
    return site.query("SELECT ctid::text, xmin::text, users::text FROM users ORDER BY id")


@pytest.mark.few(THREE)
@pytest.mark.parametrize("id", list(SQL))
def test_a_database_at_a_revision_is_taken_for_it(site: Target, adopting: dict[str, Any], id: str) -> None:
    ids = list(SQL)[: list(SQL).index(id) + 1]
    build(site, *(SQL[each] for each in ids), "INSERT INTO users (email) VALUES ('a'), ('b')")
    before = contents(site)
    stack = Stack(site.url)
    stack.up(site.directory, id, **adopting)
    assert stack.outputs["revision"] == id
    assert contents(site) == before
    columns = "revision, event, heads_before, heads_after"
    found = site.query(f"SELECT {columns} FROM migrations.ledger WHERE event <> 'snapshot' ORDER BY id")
    assert found == [(each, "adopted", ids[:n][-1:], [each]) for n, each in enumerate(ids)]
    assert not stack.up(site.directory, id, **adopting)
    assert adopting["__rehearse_with"] not in str([stack.inputs, stack.outputs])


def test_what_is_pending_then_runs_and_the_way_back_is_there(site: Target, adopting: dict[str, Any]) -> None:
    build(site, SQL[ONE], SQL[TWO])
    stack = Stack(site.url)
    planned = stack.preview(site.directory, THREE, **adopting)
    assert planned["plan"] == f"{TWO} → {THREE}, 1 upgrade"
    review = PlanReview.from_json(json.loads(planned["__plan"]))
    # A rehearsal needs a pg_dump for this server.
    assert review.rehearsed or review.not_rehearsed.startswith("no pg_dump")
    assert [each.id for each in review.revisions] == [THREE]
    stack.up(site.directory, THREE, **adopting)
    assert stack.outputs["revision"] == THREE
    stack.up(site.directory, ONE, **adopting)
    assert site.query("SELECT to_regclass('app.tasks')") == [(None,)]


def test_a_preview_changes_nothing(site: Target, adopting: dict[str, Any]) -> None:
    build(site, SQL[ONE])
    Stack(site.url).preview(site.directory, THREE, **adopting)
    assert site.query("SELECT count(*) FROM pg_class WHERE relnamespace = 'migrations'::regnamespace") == [(0,)]


@pytest.mark.few(1)
@pytest.mark.parametrize(
    ("statements", "nearest", "named"),
    [
        ((SQL[ONE], "CREATE TABLE tasks (id serial PRIMARY KEY, user_id int)"), TWO, "index app.tasks_user_id_idx"),
        ((SQL[ONE], SQL[TWO], "CREATE TABLE notes ()"), TWO, "table app.notes"),
        ((SQL[ONE], SQL[TWO], "CREATE TYPE mood AS ENUM ('ok')"), TWO, "type app.mood"),
    ],
    ids=["between two", "extra table", "partly migrated"],
)  # fmt: skip
def test_what_no_revision_builds_is_refused_with_the_nearest(
    site: Target, adopting: dict[str, Any], statements: tuple[str, ...], nearest: str, named: str
) -> None:
    build(site, *statements, "INSERT INTO users (email) VALUES ('a')")
    before = contents(site)
    with pytest.raises(Refused) as refused:
        Stack(site.url).up(site.directory, THREE, **adopting)
    assert f"The nearest is {nearest}" in str(refused.value)
    assert named in str(refused.value)
    assert "The schema was not changed" in str(refused.value)
    assert contents(site) == before
    assert site.query("SELECT count(*) FROM pg_class WHERE relnamespace = 'migrations'::regnamespace") == [(0,)]


def test_what_may_differ_is_adopted_with_it(site: Target, adopting: dict[str, Any]) -> None:
    build(site, SQL[ONE], "CREATE TABLE notes ()")
    stack = Stack(site.url)
    stack.up(site.directory, ONE, **adopting, drift_ignore=["table app.notes"])
    assert stack.outputs["revision"] == ONE


@pytest.mark.full
def test_revisions_that_build_the_same_are_told_apart_by_a_person(site: Target, adopting: dict[str, Any]) -> None:
    site.write(FOUR, THREE, "op.execute('UPDATE app.users SET m = DEFAULT')")
    build(site, *SQL.values())
    stack = Stack(site.url)
    with pytest.raises(Refused, match=f"{THREE}, {FOUR}") as refused:
        stack.up(site.directory, FOUR, **adopting, __configure_adopt="set adopt {revision}")
    assert str(refused.value).splitlines()[-2:] == [f"  set adopt {THREE}", f"  set adopt {FOUR}"]
    stack.up(site.directory, FOUR, **(adopting | {"adopt": THREE}))
    assert site.query("SELECT revision, event FROM migrations.ledger WHERE event IN ('applied', 'adopted')")[-1] == (
        FOUR,
        "applied",
    )


def test_an_alembic_version_in_public_is_moved_over(site: Target, adopting: dict[str, Any], database: Database) -> None:
    owner = f"{database.name}_owner"
    build(site, SQL[ONE], SQL[TWO])
    with database.connect() as admin:
        admin.execute(
            "CREATE TABLE public.alembic_version (version_num varchar(32) PRIMARY KEY);"
            f"INSERT INTO public.alembic_version VALUES ('{TWO}')".encode()
        )
    with pytest.raises(Refused, match=r"ALTER TABLE public\.alembic_version OWNER TO"):
        Stack(site.url).up(site.directory, TWO, **adopting)
    with database.connect() as admin:
        admin.execute(
            f"GRANT ALL ON SCHEMA public TO {owner}; ALTER TABLE public.alembic_version OWNER TO {owner}".encode()
        )
    stack = Stack(site.url)
    stack.up(site.directory, TWO, **adopting)
    assert stack.outputs["revision"] == TWO
    assert site.query("SELECT to_regclass('public.alembic_version')") == [(None,)]
    assert site.query("SELECT version_num FROM migrations.alembic_version") == [(TWO,)]


def test_an_alembic_version_that_is_not_what_is_there_is_not_believed(
    site: Target, adopting: dict[str, Any], database: Database
) -> None:
    owner = f"{database.name}_owner"
    build(site, SQL[ONE])
    with database.connect() as admin:
        admin.execute(
            f"GRANT ALL ON SCHEMA public TO {owner}; SET ROLE {owner};"
            "CREATE TABLE public.alembic_version (version_num varchar(32) PRIMARY KEY);"
            f"INSERT INTO public.alembic_version VALUES ('{TWO}')".encode()
        )
    with pytest.raises(Refused, match=f"The nearest is {TWO}"):
        Stack(site.url).up(site.directory, TWO, **adopting)


def test_a_database_that_changes_meanwhile_is_not_taken(site: Target, adopting: dict[str, Any]) -> None:
    build(site, SQL[ONE])
    with pytest.raises(Exception, match="has changed since it was looked at"):
        Stack(site.url).up(site.directory, ONE, **adopting, between=lambda: build(site, "CREATE TABLE late ()"))
    assert site.query("SELECT to_regclass('migrations.alembic_version')") == [(None,)]


def test_a_first_preview_says_that_it_cannot_look(
    site: Target, adopting: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same update imports or creates the login, and gives it a password."""
    said: list[str] = []
    monkeypatch.setattr(Log, "info", lambda self, text: said.append(text))
    Stack(site.url).preview(site.directory, THREE, **adopting, url=Unknown())
    assert "only the update can find out which revision to adopt" in said[0]


@pytest.fixture
def in_public(site: Target, database: Database) -> Target:
    """Build the first revision, with an `alembic_version` in the schema public that names it."""
    build(site, SQL[ONE])
    owner = f"{database.name}_owner"
    with database.connect() as admin:
        admin.execute(
            f"GRANT ALL ON SCHEMA public TO {owner}; SET ROLE {owner};"
            "CREATE TABLE public.alembic_version (version_num varchar(32) PRIMARY KEY);"
            f"INSERT INTO public.alembic_version VALUES ('{ONE}')".encode()
        )
    return site


def test_an_alembic_version_that_moves_meanwhile_is_not_taken(in_public: Target, adopting: dict[str, Any]) -> None:
    """A revision that changes only rows leaves the same catalog."""

    def moves() -> None:
        build(in_public, f"UPDATE public.alembic_version SET version_num = '{TWO}'")

    with pytest.raises(Exception, match="has changed since it was looked at"):
        Stack(in_public.url).up(in_public.directory, ONE, **adopting, between=moves)
    assert in_public.query("SELECT version_num FROM public.alembic_version") == [(TWO,)]


@pytest.mark.full
def test_a_table_beside_alembic_version_is_none_of_its(in_public: Target, adopting: dict[str, Any]) -> None:
    build(in_public, "CREATE TABLE public.alembic_version_backup (id int)")
    with pytest.raises(Refused, match=r"DROP TABLE public\.alembic_version_backup"):
        Stack(in_public.url).up(in_public.directory, ONE, **adopting)


@pytest.mark.full
def test_revisions_are_built_with_the_settings_that_the_database_gives(
    site: Target, adopting: dict[str, Any], database: Database
) -> None:
    """A statement without a schema uses the schema that the login finds first in this database."""
    with database.connect() as admin:
        admin.execute(
            f"CREATE SCHEMA other AUTHORIZATION {database.name}_owner;"
            f"ALTER ROLE {database.name}_migrator IN DATABASE {database.name} SET search_path = other".encode()
        )
    build(site, SQL[ONE])
    stack = Stack(site.url)
    stack.up(site.directory, ONE, **adopting)
    assert site.query("SELECT to_regclass('other.users') IS NULL") == [(False,)]
    assert site.query("SELECT DISTINCT event FROM migrations.ledger WHERE direction = 'upgrade'") == [("adopted",)]


@pytest.mark.full
def test_an_empty_database_is_built_as_ever(site: Target, adopting: dict[str, Any]) -> None:
    stack = Stack(site.url)
    stack.up(site.directory, TWO, **adopting)
    assert site.query("SELECT DISTINCT event FROM migrations.ledger WHERE direction = 'upgrade'") == [("applied",)]


def test_without_a_login_that_makes_databases_it_says_so(site: Target, adopting: dict[str, Any]) -> None:
    build(site, SQL[ONE])
    with pytest.raises(Refused, match="rehearse_with"):
        Stack(site.url).up(site.directory, ONE, adopt="true")
    with pytest.raises(Refused, match="CREATEDB"):
        Stack(site.url).up(site.directory, ONE, **{**adopting, "__rehearse_with": site.url})
