"""A copy of a deployed stack is complete: tests that begin with it begin with the result of `up`."""

from __future__ import annotations

import json

import psycopg

from tests.acceptance.project import Project
from tests.acceptance.template import Template


def test_a_copy_is_a_stack_in_which_nothing_differs(stack: Project, resources: int) -> None:
    [first] = stack.printed
    assert "base → 20250126_003, 3 upgrades" in first.text
    assert f"{resources} created" in first.text
    outputs = stack.outputs()
    assert outputs == json.loads(stack.succeed("stack", "output", "--json", "--show-secrets").stdout)
    assert (outputs["port"], outputs["database"]) == (stack.server.port, stack.name)
    for name in ("app_url", "reader_url", "migrator_url"):
        with psycopg.connect(outputs[name]) as connection:
            assert connection.execute("SELECT current_database()").fetchone() == (stack.name,)
    assert f"{resources} unchanged" in stack.succeed("preview", "--refresh", "--expect-no-changes").text


def test_copies_are_apart(template: Template) -> None:
    with template.copied() as one, template.copied() as other:
        with psycopg.connect(one.outputs()["migrator_url"]) as connection:
            connection.execute("CREATE TABLE apart ()")
        with psycopg.connect(other.outputs()["migrator_url"]) as connection:
            assert connection.execute("SELECT to_regclass('apart')").fetchone() == (None,)
