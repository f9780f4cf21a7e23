"""Command lines of the engine that runs the program, for messages."""

from __future__ import annotations

import os

import pulumi

__all__ = ["command", "engine"]


def command(verb: str, arguments: str) -> str:
    """Return a command line on the current stack, such as `command("config set", "taskdb:revision head")`."""
    return f"{engine()} {verb} {arguments} --stack {pulumi.get_stack()}"


def engine() -> str:
    """Return the engine's name."""
    return os.environ.get("PULUMI_COMMAND", "pulumi")
