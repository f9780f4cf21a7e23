"""A stack that lost its state or its server is restored by the commands that its error names."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

import psycopg
import pytest

from tests.acceptance.project import ENGINES, Outcome, Project, initialize
from tests.conftest import ThrowawayCluster


def refused(project: Project) -> Outcome:
    """Return the output of an update that fails and changes nothing."""
    outcome = project.pulumi("up", "--yes")
    assert outcome.exit_code != 0 and "Traceback" not in outcome.text, outcome.text
    return outcome


def commands(outcome: Outcome, engine: str) -> list[list[str]]:
    """Return the engine's commands that stand on their own line, in their order, each once."""
    lines = re.findall(rf"^\s*{re.escape(ENGINES[engine])} (.+)$", outcome.text, re.MULTILINE)
    return [line.split() for line in dict.fromkeys(lines)]


def test_a_lost_state_is_recovered_by_adopting_what_is_there(stack: Project) -> None:
    before = stack.outputs()
    with psycopg.connect(before["app_url"]) as application:
        application.execute("INSERT INTO users (username, email, password_hash) VALUES ('a', 'a@b.c', 'x')")
    stack.state.unlink()
    initialize(stack)

    outcome = refused(stack)
    assert f"has the role {stack.name}_owner already" in outcome.text
    [adopt] = commands(outcome, stack.engine)
    assert adopt[:4] == ["config", "set", "taskdb:adopt", "true"]
    stack.succeed(*adopt[:4])
    stack.up()

    after = stack.outputs()
    assert after["revision"] == before["revision"]
    with psycopg.connect(after["app_url"]) as application:
        assert application.execute("SELECT username FROM users").fetchall() == [("a",)]
    stack.succeed("preview", "--refresh", "--expect-no-changes")


@pytest.mark.full
def test_a_stack_comes_up_on_another_server_after_its_own_is_gone(
    stack: Project, make_cluster: Callable[..., ThrowawayCluster]
) -> None:
    server = make_cluster().server
    moved = replace(stack, environment=stack.environment | {"PGPORT": str(server.port), "PGPASSWORD": server.password})
    outcome = refused(moved)
    old, new = (f"{server.host}:{each}" for each in (stack.environment["PGPORT"], server.port))
    assert f"The stack's database was on the server at {old}, and this server is at {new}" in outcome.text
    for command in commands(outcome, stack.engine):
        done = moved.run(ENGINES[moved.engine], *command)
        assert done.exit_code == 0, done.text
    assert moved.outputs()["port"] == server.port
    moved.succeed("preview", "--refresh", "--expect-no-changes")
    moved.succeed("destroy", "--yes", "--skip-preview")
