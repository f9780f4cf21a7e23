"""A stack takes over a database whose tables a user's scripts have created."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from taskdb.local import Server
from tests.acceptance.project import Project
from tests.conftest import Database
from tests.postgres.alembic.specification import INITIAL

# Adoption with migrations alone, and of a stack's roles with a lost state, have their own tests.
pytestmark = pytest.mark.full

HEAD, TWO, ONE = "20250126_003", "20250126_002", "20250126_001"


@pytest.fixture
def unknown(stack: Project) -> Project:
    """A stack whose tables are those of the second revision, with rows. No record names the revision."""
    stack.configure(taskdb__revision=TWO)
    stack.up()
    with psycopg.connect(stack.outputs()["migrator_url"], autocommit=True) as connection:
        connection.execute(
            f"SET ROLE {stack.name}_owner; DROP TABLE migrations.alembic_version, migrations.ledger CASCADE;"
            "INSERT INTO app.users (username, email, password_hash) VALUES ('a', 'a@b.c', 'x')".encode()
        )
    return stack


@pytest.fixture
def by_scripts(project: Project, admin: Any, server: Server) -> Iterator[Project]:
    """A database without a stack, with two of its roles and the tables of the first revision, all created by hand."""
    name = project.name
    for statement in (
        f"CREATE ROLE {name}_owner",
        f"CREATE ROLE {name}_rw",
        f"GRANT {name}_owner TO CURRENT_USER",
        f"CREATE DATABASE {name} TEMPLATE template0",
    ):
        admin.execute(statement)
    with Database(server, name).connect() as connection:
        connection.execute(f"CREATE SCHEMA app AUTHORIZATION {name}_owner".encode())
        connection.execute(f"SET ROLE {name}_owner; SET search_path = app; {INITIAL}".encode())
        connection.execute(b"INSERT INTO users (username, email, password_hash) VALUES ('a', 'a@b.c', 'x')")
        # One table is the admin's, who then loses every other right to it with its owner.
        connection.execute(b"GRANT ALL ON SCHEMA app TO SESSION_USER; RESET ROLE")
        connection.execute(b"ALTER TABLE app.tags OWNER TO CURRENT_USER")
        connection.execute(f"SET ROLE {name}_owner; REVOKE ALL ON SCHEMA app FROM SESSION_USER".encode())
    project.configure(taskdb__adopt="true")
    yield project
    project.pulumi("destroy", "--yes", "--skip-preview")


def query(project: Project, statement: str) -> list[tuple[object, ...]]:
    with psycopg.connect(project.outputs()["migrator_url"], autocommit=True) as connection:
        return connection.execute(statement.encode()).fetchall()


def test_it_is_taken_for_what_it_is_and_brought_on_from_there(unknown: Project) -> None:
    unknown.configure(taskdb__adopt="true")
    shown = unknown.succeed("preview", "--refresh")
    assert f"adopting the database at {TWO}" in shown.text
    assert f"{TWO} → {HEAD}, 1 upgrade" in shown.text
    rows = query(unknown, "SELECT ctid::text, xmin::text, email FROM app.users")
    done = unknown.up("--refresh")
    assert f"adopting the database at {TWO}" in done.text
    assert unknown.outputs()["revision"] == HEAD
    assert query(unknown, "SELECT ctid::text, xmin::text, email FROM app.users") == rows
    unknown.succeed("preview", "--refresh", "--expect-no-changes")


def test_what_no_revision_builds_is_refused_with_the_nearest(unknown: Project) -> None:
    with psycopg.connect(unknown.outputs()["migrator_url"], autocommit=True) as connection:
        connection.execute(f"SET ROLE {unknown.name}_owner; CREATE TABLE app.notes (id int)".encode())
    unknown.configure(taskdb__adopt="true")
    refused = unknown.pulumi("up", "--yes", "--skip-preview", "--refresh")
    assert refused.exit_code != 0
    assert f"The nearest is {TWO}, with 1 difference:" in refused.text
    assert "DROP TABLE app.notes;" in refused.text
    assert query(unknown, "SELECT to_regclass('migrations.alembic_version')") == [(None,)]


def test_a_database_and_roles_made_by_hand_become_the_stack_s(by_scripts: Project, server: Server) -> None:
    """They are imported. The message of the refusal has a script, which changes the rest to what it has to be."""
    refused = by_scripts.pulumi("up", "--yes", "--skip-preview")
    assert refused.exit_code != 0
    assert f"The nearest is {ONE}" in refused.text
    [script] = re.findall(r"^ *BEGIN;\n.*?^ *COMMIT;\n", refused.text, re.S | re.M)
    assert f"ALTER TABLE app.tags OWNER TO {by_scripts.name}_owner;" in script
    assert f"GRANT DELETE, INSERT, SELECT, UPDATE ON TABLE app.users TO {by_scripts.name}_rw;" in script
    with Database(server, by_scripts.name).connect() as admin:
        admin.execute(script.encode())
    done = by_scripts.up()
    assert f"adopting the database at {ONE}" in done.text
    assert by_scripts.outputs()["revision"] == HEAD
    assert query(by_scripts, "SELECT username FROM app.users") == [("a",)]
    by_scripts.succeed("preview", "--refresh", "--expect-no-changes")
    by_scripts.configure()
    by_scripts.succeed("preview")
