"""How a stack's configuration judges the findings of its revisions: `taskdb:lint` and its companions."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import pulumi

from pulumi_alembic.errors import PolicyError
from pulumi_alembic.review.lint import Settings as Lint
from taskdb.errors import TaskdbError

__all__ = ["LINT_KEYS", "configure_command", "lint_of"]

LINT_KEYS = frozenset({"taskdb:lint", "taskdb:production"})
"""The keys of a stack's configuration that `lint_of` reads."""

PRODUCTION = {"prod", "production"}
"""Stacks of these names are production ones unless they say otherwise."""


def lint_of(values: Mapping[str, str], command: Callable[[str, str], str]) -> tuple[dict[str, Any], bool]:
    """The rules' severities, and whether the stack is a production one.

    `command` writes a command of the engine. Raises TaskdbError, with the command that mends it, for what is invalid.
    """
    return _severities(values, command), _production(values, command)


def configure_command(engine: str) -> str:
    """The command that judges a rule otherwise, with `{rule}` in it."""
    return f"{engine} config set --path taskdb:lint.{{rule}} warning --stack {pulumi.get_stack()}"


def _severities(values: Mapping[str, str], command: Callable[[str, str], str]) -> dict[str, Any]:
    example = command("config set --path", "taskdb:lint.truncate warning")
    try:
        configured = json.loads(values.get("taskdb:lint", "{}"))
        Lint.parse(configured)
    except PolicyError as error:
        wrong = command("config rm --path", "taskdb:lint.NAME")
        raise TaskdbError(f"taskdb:{error}. Set it as in: {example}; take one out: {wrong}") from None
    except ValueError:
        raise TaskdbError(
            f"taskdb:lint is {values['taskdb:lint'][:80]!r}: it is an object of rules and their severities. Take it "
            f"out: {command('config rm', 'taskdb:lint')}; and set it as in: {example}"
        ) from None
    return {str(name): value if isinstance(value, str) else json.dumps(value) for name, value in configured.items()}


def _production(values: Mapping[str, str], command: Callable[[str, str], str]) -> bool:
    value = values.get("taskdb:production", str(pulumi.get_stack() in PRODUCTION).lower())
    if value not in ("true", "false"):
        mend = command("config set", "taskdb:production true")
        raise TaskdbError(f"taskdb:production is {value!r}: it is true or false. Set it: {mend}")
    return value == "true"
