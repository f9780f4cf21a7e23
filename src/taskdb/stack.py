"""Read the configuration and outputs of a stack with the installed engine."""

from __future__ import annotations

import os
import re
import sys
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

import yaml

from pulumi_alembic import DatabaseError
from pulumi_alembic.policy import Policy
from taskdb import local
from taskdb.engine import DEVELOPMENT, Engine
from taskdb.errors import TaskdbError
from taskdb.policy import policy_of

__all__ = ["configuration_of", "current_stack", "migration_policy", "migrator_url", "output", "project_folder"]

_PART = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}"
_NAME = re.compile(f"(?:{_PART}/){{0,2}}{_PART}")


def current_stack(named: str | None = None) -> str:
    """Return the stack of a command: `named`, otherwise PULUMI_STACK, the selected one, or `dev`.

    The selection does not change.

    Raises:
        TaskdbError: The name is not valid.

    """
    name = named or os.environ.get("PULUMI_STACK") or _selected(Path.cwd()) or DEVELOPMENT
    if not _NAME.fullmatch(name):
        raise TaskdbError(f"{name!r} cannot be the name of a stack: it has letters, digits, - _ and .")
    return name


def configuration_of(stack: str, folder: Path) -> Path:
    """Return the stack's file, which is named after the last part of `organization/project/stack`."""
    return folder / f"Pulumi.{stack.rpartition('/')[2]}.yaml"


@cache
def _selected(_: Path) -> str:
    """Return the selected stack of the current project. Empty if none is selected."""
    answer = Engine.find().run("stack", "--show-name")
    return answer.stdout.strip() if answer.returncode == 0 else ""


def project_folder() -> Path:
    """Return the nearest directory with Pulumi.yaml, from the current one upwards. Raises TaskdbError without one."""
    directory = Path.cwd()
    for folder in (directory, *directory.parents):
        if (folder / "Pulumi.yaml").exists():
            return folder
    raise TaskdbError(f"No Pulumi.yaml in {directory} or above it: run this command inside the project")


def migrator_url() -> str:
    """Return DATABASE_URL or otherwise the migrator's URL of the current stack, for the `alembic` command.

    Raises:
        DatabaseError: The stack has no such output. A URL that cannot be used raises the same.

    """
    if url := os.environ.get("DATABASE_URL"):
        return url
    try:
        stack = current_stack()
        print(f"Stack: {stack}", file=sys.stderr, flush=True)
        return output("migrator_url", stack)
    except TaskdbError as error:
        raise DatabaseError(f"{error}; or set DATABASE_URL") from None


def migration_policy() -> Policy:
    """Return how long the `alembic` command waits: as the stack of `migrator_url` configures, otherwise the defaults.

    Raises:
        PolicyError: A setting is not valid.

    """
    if os.environ.get("DATABASE_URL"):
        return Policy()
    configuration = configuration_of(current_stack(), project_folder())
    if not configuration.exists():
        return Policy()
    read = yaml.safe_load(configuration.read_text()) or {}
    return policy_of(read.get("config") or {})


def output(name: str, stack: str) -> str:
    """Return an output of the stack in plain text.

    Raises:
        TaskdbError: The stack has no such output, the engine cannot read it, or the development server of its URL
            is stopped.

    """
    answer = Engine.find().run("stack", "output", name, "--show-secrets", stack=stack)
    if answer.returncode != 0:
        reason = answer.stderr.strip().removeprefix("error: ")
        if "does not have output property" in reason:
            raise TaskdbError(f"the stack {stack} has no output {name}. Bring it up: make up STACK={stack}")
        raise TaskdbError(f"cannot read the outputs of the stack {stack}: {reason}")
    value = answer.stdout.strip()
    if name.endswith("_url"):
        _require_running(value)
    return value


def _require_running(url: str) -> None:
    """Raise TaskdbError if the URL is on the stopped development server."""
    server, address = local.status(project_folder()), urlsplit(url)
    if server and not server.running and (server.host, server.port) == (address.hostname, address.port):
        raise TaskdbError("the development server is stopped. Start it: taskdb server start")
