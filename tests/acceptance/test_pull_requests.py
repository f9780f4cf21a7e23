"""A pull request has its own stack, created from staging's schema, which leaves nothing behind."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import psycopg
import pytest

from tests.acceptance.project import Outcome, Project
from tests.conftest import Database


@pytest.fixture
def administrator(stack: Project) -> Iterator[Any]:
    """An autocommit connection as the admin of the stack's server."""
    with Database(stack.server, "postgres").connect() as connection:
        yield connection


@pytest.fixture
def staging(stack: Project, administrator: Any) -> Project:
    """A deployed stack with every setting that protects data."""
    stack.configure(
        taskdb__revision="20250126_002",
        taskdb__protect="true",
        taskdb__production="true",
        taskdb__backup="always",
        taskdb__backup_folder="backups",
        taskdb__lock_timeout="300ms",
        postgresql__host=stack.environment["PGHOST"],
        postgresql__sslmode="disable",
        postgresql__port=stack.environment["PGPORT"],
        postgresql__username=stack.environment["PGUSER"],
    )
    secret = stack.environment.pop("PGPASSWORD")
    stack.succeed("config", "set", "--secret", "postgresql:password", secret)
    stack.up()
    stack.succeed("config", "set", "taskdb:revision", "head")
    return stack


def command(project: Project, verb: str, number: object, *options: str, **changes: str) -> Outcome:
    return project.run("taskdb", "pull-request", verb, str(number), "--engine", project.engine, *options, **changes)


def remains(admin: Any, name: str) -> list[Any]:
    query = "SELECT datname FROM pg_database UNION ALL SELECT rolname FROM pg_roles"
    return [each for (each,) in admin.execute(query) if each.startswith(name)]


@pytest.mark.full
def test_a_pull_request_has_stagings_schema_and_then_its_own(staging: Project, administrator: Any) -> None:
    number = random.randrange(10**6, 10**9)
    stack = replace(staging, stack=f"pr-{number}")
    try:
        up = command(staging, "up", number, "--from", staging.stack)
        assert up.exit_code == 0, up.text
        assert "base → 20250126_002" in up.text and "20250126_002 → 20250126_003" in up.text
        outputs = stack.outputs()
        assert (outputs["database"], outputs["revision"]) == (f"taskdb_pr-{number}", "20250126_003")
        with psycopg.connect(outputs["app_url"]) as connection:
            connection.execute("SELECT FROM conversations")
        assert staging.outputs()["revision"] == "20250126_002"
        text = (staging.folder / f"Pulumi.pr-{number}.yaml").read_text()
        assert "taskdb:lock_timeout: 300ms" in text and "protect" not in text and "backup" not in text
        assert "secure: v1:" in text

        script = staging.script(4, "op.execute('CREATE TABLE four ()')", "op.execute('DROP TABLE four')")
        again = command(staging, "up", number, "--from", staging.stack)
        assert "20250126_003 → 20260101_004" in again.text and "is made at" not in again.text
        staging.remove(script)
        (staging.folder / f"Pulumi.pr-{number}.yaml").unlink()
        blind = command(staging, "down", number, PULUMI_BACKEND_URL="file:///nowhere")
        assert blind.exit_code == 1 and "stack ls" in blind.text and "There is no stack" not in blind.text
    finally:
        down = command(staging, "down", number)
    assert down.exit_code == 0, down.text
    assert remains(administrator, stack.name) == []
    assert stack.stack not in staging.succeed("stack", "ls").text
    assert not (staging.folder / f"Pulumi.pr-{number}.yaml").exists()
    assert command(staging, "down", number).exit_code == 0
    assert command(staging, "down", number).text.strip() == f"There is no stack pr-{number}"


@pytest.mark.full
def test_a_branch_without_stagings_revision_is_told_to_merge(staging: Project) -> None:
    for path in (staging.folder / "migrations/versions").glob("2025012[6]_00[23]*"):
        path.unlink()
    staging.list_scripts()
    refused = command(staging, "up", 7, "--from", staging.stack)
    assert refused.exit_code == 1
    assert f"{staging.stack} is at 20250126_002, from which pr-7 would be made" in refused.text
    assert "Merge the branch that has it into this one" in refused.text
    assert not (staging.folder / "Pulumi.pr-7.yaml").exists()


def test_where_staging_is_not_up_nothing_is_made(make_project: Callable[[str], Project]) -> None:
    project = make_project("embedded")
    refused = command(project, "up", 8, "--from", project.stack)
    assert refused.exit_code == 1
    assert f"stack output revision --stack {project.stack}: " in refused.text
    assert not (project.folder / "Pulumi.pr-8.yaml").exists()
