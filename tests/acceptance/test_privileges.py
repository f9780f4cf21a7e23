"""The rights of each role, by one literal table against the whole database, and by real logins."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from tests.acceptance.project import Project
from tests.conftest import Database

GROUPS = {"app_a": "rw", "app_b": "rw", "reader": "ro"}
ROLES = ("public", "owner", "migrator", "rw", "ro", *GROUPS)

POSSIBLE = {
    "database": "CREATE CONNECT TEMPORARY",
    "schema": "CREATE USAGE",
    "table": "SELECT INSERT UPDATE DELETE TRUNCATE REFERENCES TRIGGER",
    "sequence": "USAGE SELECT UPDATE",
    "function": "EXECUTE",
}

EVERYTHING = "every privilege there is"
EXPECTED = {
    ("database", "-"): {"owner": "TEMPORARY", "migrator": "CONNECT", "rw": "CONNECT", "ro": "CONNECT"},
    ("schema", "app"): {"owner": EVERYTHING, "rw": "USAGE", "ro": "USAGE"},
    ("schema", "migrations"): {"owner": EVERYTHING},
    ("schema", "kept"): {"owner": EVERYTHING},
    ("schema", "extensions"): {"owner": "USAGE", "rw": "USAGE", "ro": "USAGE"},
    # Before PostgreSQL 15 the schema belongs to a superuser, and is not changed.
    ("schema", "public"): {},
    ("table", "app"): {"owner": EVERYTHING, "rw": "SELECT INSERT UPDATE DELETE", "ro": "SELECT"},
    ("table", "migrations"): {"owner": EVERYTHING},
    ("table", "migrations.ledger"): {"owner": "SELECT INSERT REFERENCES TRIGGER"},
    ("sequence", "app"): {"owner": EVERYTHING, "rw": "USAGE SELECT", "ro": "SELECT"},
    ("sequence", "migrations"): {"owner": EVERYTHING},
    ("function", "app"): {"owner": "EXECUTE", "rw": "EXECUTE"},
    ("function", "migrations"): {"owner": "EXECUTE"},
    # pgcrypto's own grants. Only roles that can use the schema benefit from them.
    ("function", "extensions"): dict.fromkeys(("public", "owner", "migrator", "rw", "ro"), "EXECUTE"),
}

OBJECTS = """
SELECT 'database', '-', oid, datname FROM pg_database WHERE datname = current_database()
UNION ALL
SELECT 'schema', nspname, oid, nspname FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'
UNION ALL
SELECT CASE relkind WHEN 'S' THEN 'sequence' ELSE 'table' END, nspname, c.oid, relname
FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
WHERE relkind IN ('r', 'v', 'm', 'p', 'f', 'S') AND nspname !~ '^pg_' AND nspname <> 'information_schema'
UNION ALL
SELECT 'function', nspname, p.oid, proname FROM pg_proc p JOIN pg_namespace n ON n.oid = pronamespace
WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'
"""

GRANTEES = """
SELECT DISTINCT grantee::regrole::text FROM (
    SELECT nspacl AS acl FROM pg_namespace WHERE nspname IN ('app', 'migrations', 'kept', 'extensions')
    UNION ALL SELECT relacl FROM pg_class
    WHERE relnamespace IN ('app'::regnamespace, 'migrations'::regnamespace)
    UNION ALL SELECT proacl FROM pg_proc WHERE pronamespace = 'app'::regnamespace
    UNION ALL SELECT datacl FROM pg_database WHERE datname = current_database()
) held, aclexplode(acl)
"""


@pytest.fixture(scope="module")
def tomorrow(live: Project) -> Iterator[Project]:
    """The stack with a table, a sequence and a function that did not exist when the rights were granted."""
    with psycopg.connect(live.outputs()["migrator_url"]) as connection:
        connection.execute("CREATE TABLE tomorrow (id int)")
        connection.execute("CREATE SEQUENCE tomorrow_number")
        connection.execute("CREATE FUNCTION tomorrow_is() RETURNS int LANGUAGE sql AS 'SELECT 1'")
    yield live


@pytest.fixture(scope="module")
def urls(tomorrow: Project) -> dict[str, Any]:
    """The stack's outputs, read once."""
    return tomorrow.outputs()


@pytest.fixture
def connection(tomorrow: Project) -> Iterator[psycopg.Connection[Any]]:
    """An admin's connection to the stack's database."""
    with Database(tomorrow.server, tomorrow.name).connect() as opened:
        yield opened


def expected(kind: str, schema: str, label: str, role: str) -> set[str]:
    held = EXPECTED.get((kind, f"{schema}.{label}"), EXPECTED[kind, schema]).get(GROUPS.get(role, role), "")
    return set((POSSIBLE[kind] if held == EVERYTHING else held).split())


def test_every_role_has_exactly_these_privileges_on_everything(
    tomorrow: Project, connection: psycopg.Connection[Any], major: int
) -> None:
    objects = [found for found in connection.execute(OBJECTS).fetchall() if major >= 15 or found[1] != "public"]
    assert {(kind, schema) for kind, schema, _, _ in objects} == {
        key for key in EXPECTED if "." not in key[1] and (major >= 15 or key[1] != "public")
    }
    for role in ROLES:
        name = role if role == "public" else f"{tomorrow.name}_{role}"
        for kind, schema, oid, label in objects:
            held = {
                privilege
                for privilege in POSSIBLE[kind].split()
                if connection.execute(
                    f"SELECT has_{kind}_privilege(%s, %s::oid, %s)", [name, oid, privilege]
                ).fetchone()
                == (True,)
            }
            assert held == expected(kind, schema, label, role), f"{role} on the {kind} {schema}.{label}"


def test_nobody_else_holds_a_privilege(tomorrow: Project, connection: psycopg.Connection[Any]) -> None:
    grantees = {name for (name,) in connection.execute(GRANTEES)}
    assert grantees <= {
        tomorrow.server.username,
        *(f"{tomorrow.name}_{role}" for role in ("owner", "rw", "ro", "migrator")),
    }


def test_memberships_are_these_and_no_others(tomorrow: Project, connection: psycopg.Connection[Any]) -> None:
    rows = connection.execute(
        "SELECT m.rolname, r.rolname FROM pg_auth_members a JOIN pg_roles m ON m.oid = a.member "
        "JOIN pg_roles r ON r.oid = a.roleid WHERE m.rolname LIKE %s",
        [f"{tomorrow.name}\\_%"],
    )
    assert {
        (member.removeprefix(f"{tomorrow.name}_"), of.removeprefix(f"{tomorrow.name}_")) for member, of in rows
    } == {
        ("migrator", "owner"),
        *GROUPS.items(),
    }


def test_no_role_has_an_attribute_beyond_its_login(tomorrow: Project, connection: psycopg.Connection[Any]) -> None:
    rows = connection.execute(
        "SELECT rolname, rolcanlogin FROM pg_roles WHERE rolname LIKE %s "
        "AND NOT (rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication OR rolbypassrls)",
        [f"{tomorrow.name}\\_%"],
    )
    assert {name.removeprefix(f"{tomorrow.name}_"): login for name, login in rows} == {
        "owner": False,
        "rw": False,
        "ro": False,
        "migrator": True,
        "app_a": True,
        "app_b": True,
        "reader": True,
    }


def test_every_object_of_the_application_belongs_to_the_owner(
    tomorrow: Project, connection: psycopg.Connection[Any]
) -> None:
    owners = connection.execute(
        "SELECT relowner::regrole::text FROM pg_class WHERE relnamespace = 'app'::regnamespace UNION "
        "SELECT proowner::regrole::text FROM pg_proc WHERE pronamespace = 'app'::regnamespace UNION "
        "SELECT nspowner::regrole::text FROM pg_namespace WHERE nspname IN ('app', 'migrations')"
    ).fetchall()
    assert owners == [(f"{tomorrow.name}_owner",)]


@pytest.mark.parametrize(
    ("login", "statement"),
    [
        ("app_url", "CREATE TABLE mine (id int)"),
        ("app_url", "ALTER TABLE users ADD COLUMN x int"),
        ("app_url", "DROP TABLE task_tags"),
        ("app_url", "TRUNCATE task_tags"),
        ("app_url", "CREATE TEMPORARY TABLE scratch (id int)"),
        ("app_url", "UPDATE migrations.alembic_version SET version_num = 'x'"),
        ("app_url", "SELECT * FROM migrations.ledger"),
        ("app_url", "CREATE SCHEMA mine"),
        ("app_url", "CREATE TABLE public.mine (id int)"),
        ("reader_url", "INSERT INTO users (username, email, password_hash) VALUES ('a', 'b', 'c')"),
        ("reader_url", "UPDATE users SET username = 'a'"),
        ("reader_url", "DELETE FROM tomorrow"),
        ("reader_url", "SELECT nextval('tomorrow_number')"),
        ("reader_url", "SELECT tomorrow_is()"),
        ("migrator_url", "CREATE SCHEMA mine"),
        ("migrator_url", "RESET ROLE; SET ROLE NONE; SELECT * FROM app.users"),
        ("migrator_url", "SET ROLE NONE; CREATE TABLE app.mine (id int)"),
    ],
)
def test_what_a_login_may_not_do_is_refused(urls: dict[str, Any], login: str, statement: str, major: int) -> None:
    if major < 15 and "public." in statement:
        pytest.skip("before PostgreSQL 15 the schema public is a superuser's")
    with psycopg.connect(urls[login]) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute(statement)


@pytest.mark.parametrize(
    ("login", "statement"),
    [
        ("app_url", "INSERT INTO users (username, email, password_hash) VALUES ('a', 'b', 'c')"),
        (
            "app_url",
            "SELECT tomorrow_is(), nextval('tomorrow_number'), extensions.crypt('x', extensions.gen_salt('bf'))",
        ),
        ("app_url", "DELETE FROM tomorrow"),
        ("reader_url", "SELECT * FROM tomorrow"),
        ("migrator_url", "ALTER TABLE users ADD COLUMN x int"),
    ],
)
def test_what_a_login_is_for_works(urls: dict[str, Any], login: str, statement: str) -> None:
    with psycopg.connect(urls[login]) as connection:
        connection.execute(statement)
        connection.rollback()


def test_public_may_not_even_connect(tomorrow: Project) -> None:
    with Database(tomorrow.server, "postgres").connect() as admin:
        admin.execute(f"CREATE ROLE {tomorrow.name}_stranger LOGIN PASSWORD 'x'")
        try:
            with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
                Database(tomorrow.server, tomorrow.name).connect(user=f"{tomorrow.name}_stranger", password="x")
        finally:
            admin.execute(f"DROP ROLE {tomorrow.name}_stranger")
