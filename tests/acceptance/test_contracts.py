"""Contracts wait for their time or for a person, on each engine, while the stack stays up to date."""

from __future__ import annotations

from collections.abc import Callable

import psycopg
import pytest

from tests.acceptance.project import Project

pytestmark = pytest.mark.full

EXPAND, CONTRACT = "20260101_001", "20260101_002"
HELD = f"{CONTRACT} waits"


def write(project: Project) -> None:
    """Add an expand, and a contract behind it that drops a column."""
    add, drop = "ALTER TABLE tasks ADD COLUMN name text", "ALTER TABLE tasks DROP COLUMN name"
    project.script(1, f'op.execute("{add}")', f'op.execute("{drop}")')
    drop, add = "ALTER TABLE tasks DROP COLUMN description", "ALTER TABLE tasks ADD COLUMN description text"
    script = project.script(2, f'op.execute("{drop}")', f'op.execute("{add}")')
    script.write_text(script.read_text().replace("\n\n\ndef upgrade", '\nphase = "contract"\n\n\ndef upgrade', 1))
    project.list_scripts()


def columns(project: Project) -> set[str]:
    with psycopg.connect(project.outputs()["migrator_url"]) as connection:
        query = "SELECT attname FROM pg_attribute WHERE attrelid = 'app.tasks'::regclass AND attnum > 0"
        return {name for (name,) in connection.execute(query)} & {"name", "description"}


def test_a_held_contract_runs_when_a_person_says_so(stack: Project) -> None:
    write(stack)
    stack.configure(taskdb__contract="hold")
    assert CONTRACT in stack.succeed("preview").text
    stack.up()
    assert (stack.outputs()["revision"], columns(stack)) == (EXPAND, {"name", "description"})
    again = stack.succeed("up", "--yes", "--expect-no-changes")
    assert again.exit_code == 0
    by_hand = stack.run("alembic", "upgrade", "head", PULUMI_STACK=stack.stack)
    assert by_hand.exit_code == 0 and f"{CONTRACT} waits until pulumi-alembic contract" in by_hand.text
    assert columns(stack) == {"name", "description"}
    stack.succeed("up", "--yes", "--skip-preview", PULUMI_ALEMBIC_CONTRACT="now: no old code runs")
    assert (stack.outputs()["revision"], columns(stack)) == (CONTRACT, {"name"})
    history = stack.run("pulumi-alembic", "history", PULUMI_STACK=stack.stack)
    assert history.exit_code == 0, history.text


def test_a_contract_runs_by_command_and_the_stack_follows(stack: Project) -> None:
    write(stack)
    stack.configure(taskdb__contract="24h")
    stack.up()
    assert stack.outputs()["revision"] == EXPAND
    done = stack.run("pulumi-alembic", "contract", "--reason", "no old code runs", PULUMI_STACK=stack.stack)
    assert done.exit_code == 0, done.text
    assert columns(stack) == {"name"}
    stack.succeed("refresh", "--yes")
    stack.up()
    assert stack.outputs()["revision"] == CONTRACT


def test_a_downgrade_over_a_held_contract_and_back(stack: Project) -> None:
    write(stack)
    stack.configure(taskdb__contract="hold")
    stack.up()
    stack.configure(taskdb__contract="hold", taskdb__revision="20250126_003")
    stack.up()
    assert (stack.outputs()["revision"], columns(stack)) == ("20250126_003", {"description"})
    stack.configure(taskdb__contract="with-deploy")
    stack.up()
    assert (stack.outputs()["revision"], columns(stack)) == (CONTRACT, {"name"})


def test_two_stacks_of_one_commit_are_at_different_phases(
    make_project: Callable[[str], Project], engine: str, project: Project
) -> None:
    other = make_project(engine)
    for each, contract in ((project, "hold"), (other, "with-deploy")):
        each.up()
        write(each)
        each.configure(taskdb__contract=contract)
        each.up()
    assert [each.outputs()["revision"] for each in (project, other)] == [EXPAND, CONTRACT]
    assert [columns(each) for each in (project, other)] == [{"name", "description"}, {"name"}]
    for each in (project, other):
        each.succeed("up", "--yes", "--expect-no-changes")
        each.succeed("destroy", "--yes")


def test_an_older_checkout_takes_the_expand_back_over_a_held_contract(stack: Project) -> None:
    write(stack)
    stack.configure(taskdb__contract="hold")
    stack.up()
    for script in (stack.folder / "migrations" / "versions").glob("20260101_*.py"):
        script.unlink()
    stack.list_scripts()
    stack.up()
    assert (stack.outputs()["revision"], columns(stack)) == ("20250126_003", {"description"})
