"""Commands of the engine that runs the program, as people type them."""

from __future__ import annotations

import os

import pulumi

__all__ = ["command", "engine"]


def command(verb: str, arguments: str) -> str:
    """A command on the stack that is being run: `command("config set", "taskdb:revision head")`."""
    return f"{engine()} {verb} {arguments} --stack {pulumi.get_stack()}"


def engine() -> str:
    """The engine's name."""
    return os.environ.get("PULUMI_COMMAND", "pulumi")
