"""A stack's life: created, unchanged, refreshed, and destroyed without a trace."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import psycopg
import pytest

from tests.acceptance.project import Project, has_engine
from tests.conftest import ALL, NO_CLI, Database


def remains(admin: Any, project: Project) -> list[str]:
    """Return the stack's databases and roles that remain on the server."""
    rows = admin.execute(
        "SELECT datname FROM pg_database WHERE datname = %(name)s "
        "UNION ALL SELECT rolname FROM pg_roles WHERE rolname LIKE %(name)s || '\\_%%'",
        {"name": project.name},
    )
    return [name for (name,) in rows]


@pytest.mark.full
def test_a_stack_from_nothing_to_nothing(project: Project, admin: Any, resources: int) -> None:
    up = project.succeed("up", "--yes")
    assert "base → 20250126_003, 3 upgrades" in up.text
    assert f"{resources} created" in up.text

    outputs = project.outputs()
    assert outputs["database"] == project.name
    assert outputs["revision"] == "20250126_003"
    for output in ("app_url", "reader_url", "migrator_url"):
        with psycopg.connect(outputs[output]) as connection:
            assert connection.execute("SELECT current_database()").fetchone() == (project.name,)

    assert f"{resources} unchanged" in project.succeed("up", "--yes", "--expect-no-changes").text
    assert f"{resources} unchanged" in project.succeed("refresh", "--yes", "--expect-no-changes").text
    assert f"{resources} unchanged" in project.succeed("preview", "--refresh", "--expect-no-changes").text

    project.succeed("destroy", "--yes")
    assert remains(admin, project) == []


def test_the_resources_of_the_server_are_one_chain(stack: Project, resources: int) -> None:
    """PostgreSQL refuses concurrent changes of one access control list, and drops a role only after its grants."""
    links = [each for each in stack.resources() if each["type"].startswith("postgresql:index")]
    assert len(links) == resources - 8
    for before, link in pairwise(links):
        assert before["urn"] in link["dependencies"]
    [database] = [each["urn"] for each in links if each["type"].endswith(":Database")]
    behind = links[1 + [each["urn"] for each in links].index(database) :]
    assert {each.get("deletedWith") for each in behind} == {database}
    assert stack.resource("Migrations")["inputs"]["target"] == "20250126_003", "head is resolved when the program runs"


def test_destroy_ends_the_sessions_of_clients(stack: Project) -> None:
    outputs = stack.outputs()
    clients = [psycopg.connect(outputs[output]) for output in ("app_url", "reader_url", "migrator_url")]
    stack.succeed("destroy", "--yes", "--skip-preview")
    with Database(stack.server, "postgres").connect() as admin:
        assert remains(admin, stack) == []
    for client in clients:
        with pytest.raises(psycopg.OperationalError):
            client.execute("SELECT 1")


@pytest.mark.full
def test_up_and_destroy_leave_nothing_however_often(project: Project, admin: Any, resources: int) -> None:
    for _ in range(10 if ALL else 2):
        assert f"{resources} created" in project.up().text
        project.succeed("destroy", "--yes", "--skip-preview")
        assert remains(admin, project) == []


@pytest.mark.few("embedded-pulumi")
@pytest.mark.skipif(not has_engine("pulumi"), reason=NO_CLI)
@pytest.mark.parametrize(("first", "second"), [("embedded", "pulumi"), ("pulumi", "embedded")])
def test_either_engine_continues_the_others_stack(
    make_project: Callable[[str], Project], admin: Any, first: str, second: str, resources: int
) -> None:
    project = make_project(first)
    project.up()
    outputs = project.outputs()

    other = project.on(second)
    assert f"{resources} unchanged" in other.succeed("preview", "--refresh", "--expect-no-changes").text
    assert f"{resources} unchanged" in other.up("--expect-no-changes").text
    assert other.outputs() == outputs

    other.configure(taskdb__revision="20250126_002")
    other.up()
    assert project.outputs()["revision"] == "20250126_002"
    assert f"{resources} unchanged" in project.succeed("preview", "--refresh", "--expect-no-changes").text
    project.succeed("destroy", "--yes", "--skip-preview")
    assert remains(admin, project) == []
