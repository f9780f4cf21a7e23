"""A stack takes over a database whose tables somebody's scripts made."""

from __future__ import annotations

import psycopg
import pytest

from tests.acceptance.conftest import Project

HEAD, TWO = "20250126_003", "20250126_002"


@pytest.fixture
def unknown(project: Project) -> Project:
    """The tables are those of the second revision, with rows; nothing says so."""
    project.configure(taskdb__revision=TWO)
    project.up()
    with psycopg.connect(project.outputs()["migrator_url"], autocommit=True) as connection:
        connection.execute(
            f"SET ROLE {project.name}_owner; DROP TABLE migrations.alembic_version, migrations.ledger CASCADE;"
            "INSERT INTO app.users (username, email, password_hash) VALUES ('a', 'a@b.c', 'x')".encode()
        )
    return project


def query(project: Project, statement: str) -> list[tuple[object, ...]]:
    with psycopg.connect(project.outputs()["migrator_url"], autocommit=True) as connection:
        return connection.execute(statement.encode()).fetchall()


def test_it_is_taken_for_what_it_is_and_brought_on_from_there(unknown: Project) -> None:
    unknown.configure(taskdb__adopt="true")
    shown = unknown.succeed("preview", "--refresh")
    assert f"it is what {TWO} builds" in shown.text
    assert f"{TWO} → {HEAD}: upgrade {HEAD}" in shown.text
    rows = query(unknown, "SELECT ctid::text, xmin::text, email FROM app.users")
    done = unknown.up("--refresh")
    assert f"it is what {TWO} builds" in done.text
    assert unknown.outputs()["revision"] == HEAD
    assert query(unknown, "SELECT ctid::text, xmin::text, email FROM app.users") == rows
    unknown.succeed("preview", "--refresh", "--expect-no-changes")


def test_what_no_revision_builds_is_refused_with_the_nearest(unknown: Project) -> None:
    with psycopg.connect(unknown.outputs()["migrator_url"], autocommit=True) as connection:
        connection.execute(f"SET ROLE {unknown.name}_owner; CREATE TABLE app.notes (id int)".encode())
    unknown.configure(taskdb__adopt="true")
    refused = unknown.pulumi("up", "--yes", "--skip-preview", "--refresh")
    assert refused.exit_code != 0
    assert f"Nearest is {TWO}, with 1 difference:" in refused.text
    assert "DROP TABLE app.notes;" in refused.text
    assert query(unknown, "SELECT to_regclass('migrations.alembic_version')") == [(None,)]
