"""What a stack says of itself, asked of the engine that is installed."""

from __future__ import annotations

import os
from pathlib import Path

import yaml

from pulumi_alembic import DatabaseError
from pulumi_alembic.policy import Policy
from taskdb.engine import DEVELOPMENT, Engine
from taskdb.errors import TaskdbError
from taskdb.policy import policy_of

__all__ = ["current_stack", "migration_policy", "migrator_url", "output"]


def current_stack() -> str:
    """The stack that commands without `--stack` mean: PULUMI_STACK's, else `dev`."""
    return os.environ.get("PULUMI_STACK") or DEVELOPMENT


def migrator_url() -> str:
    """Where the `alembic` command works: DATABASE_URL, else the current stack as its migrator.

    Raises DatabaseError, as an address that leads nowhere would, where the stack does not tell.
    """
    if url := os.environ.get("DATABASE_URL"):
        return url
    try:
        return output("migrator_url", current_stack())
    except TaskdbError as error:
        raise DatabaseError(f"{error}; or set DATABASE_URL") from None


def migration_policy() -> Policy:
    """How long the `alembic` command waits, and for what: as `migrator_url`'s stack does, else as by default.

    Raises PolicyError for a setting that makes no sense.
    """
    configuration = Path(f"Pulumi.{current_stack()}.yaml")
    if os.environ.get("DATABASE_URL") or not configuration.exists():
        return Policy()
    read = yaml.safe_load(configuration.read_text()) or {}
    return policy_of(read.get("config") or {})


def output(name: str, stack: str) -> str:
    """An output of the stack, in plain text. Raises TaskdbError, with the engine's words, where it does not tell."""
    answer = Engine.find().run("stack", "output", name, "--show-secrets", stack=stack)
    if answer.returncode != 0:
        reason = answer.stderr.strip().removeprefix("error: ")
        raise TaskdbError(f"the stack {stack} does not tell its {name}: {reason}. Bring it up: make up STACK={stack}")
    return answer.stdout.strip()
