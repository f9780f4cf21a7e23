"""The stack that proves the revisions of this one: `taskdb:promote_from`."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path

import pulumi
import yaml

from pulumi_alembic import PromoteFrom, proof_of
from taskdb.commands import command, engine
from taskdb.errors import TaskdbError

__all__ = ["PROMOTE_FROM", "lower_of", "promoted_from"]

PROMOTE_FROM = "taskdb:promote_from"


def lower_of(values: Mapping[str, str], command: Callable[[str, str], str], project: Path) -> str:
    """The name of the stack that runs revisions before this one, empty where none has to.

    `command` writes a command of the engine, and `project` is the folder of Pulumi.yaml. Raises TaskdbError, with the
    command that mends it, for what is no name of a stack, and where a stack in the end would prove itself.
    """
    lower = values.get(PROMOTE_FROM, "")
    if lower and not re.fullmatch(r"[\w.-]{1,100}", lower):
        raise TaskdbError(
            f"{PROMOTE_FROM} is {lower!r}: it is the name of a stack of this project, letters, digits, "
            f"'_', '-' and '.'. Set it: {command('config set', f'{PROMOTE_FROM} STACK')}"
        )
    stack = pulumi.get_stack()
    if lower == stack:
        raise TaskdbError(
            f"{PROMOTE_FROM} is {lower!r}, this stack itself: it is the one that runs revisions before this. "
            f"Take it out: {command('config rm', PROMOTE_FROM)}; "
            f"or name that stack: {command('config set', f'{PROMOTE_FROM} STACK')}"
        )
    way = [stack]
    while lower and lower not in way:
        way.append(lower)
        lower = _configured(project / f"Pulumi.{lower}.yaml")
    if lower:
        raise TaskdbError(
            f"{PROMOTE_FROM} goes in a ring, {' ← '.join([*way, lower])}: no stack would ever be the first to run a "
            f"revision. Take it out of one of them: {command('config rm', PROMOTE_FROM)}"
        )
    return values.get(PROMOTE_FROM, "")


def promoted_from(lower: str) -> PromoteFrom:
    """The stack `lower` and its proof. Raises TaskdbError, with the engine's reason, where that stack cannot be read.

    It is read here once more than for the proof: what a reference cannot read ends the program without a word of ours.
    """
    name = f"organization/{pulumi.get_project()}/{lower}"
    try:
        pulumi.runtime.invoke("pulumi:pulumi:readStackOutputs", {"name": name})
    except Exception as error:
        # The SDK raises no class of its own here.
        reason = str(error).rpartition("returned an error: ")[2]
        raise TaskdbError(
            f"{PROMOTE_FROM} is {lower!r}, and that stack cannot be read: {reason}. Bring it up first: {engine()} up "
            f"--stack {lower}; or name another one: {command('config set', f'{PROMOTE_FROM} STACK')}"
        ) from None
    return PromoteFrom(lower, proof_of(pulumi.StackReference(name)))


def _configured(file: Path) -> str:
    """What a stack's own file says; nothing where there is none, which its own update would complain of."""
    try:
        read = yaml.safe_load(file.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return ""
    config = read.get("config") if isinstance(read, dict) else None
    return str(config.get(PROMOTE_FROM) or "") if isinstance(config, dict) else ""
