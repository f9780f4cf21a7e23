"""What every command starts from: the folder, and whether there is somebody to ask."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import click

from pulumi_embedded.errors import EngineError
from pulumi_embedded.storage.session import Session, Stack

__all__ = ["CommandContext", "pass_context"]


@dataclass(frozen=True)
class CommandContext:
    """The invocation; stacks are opened by it, so that every command finds them in the same way."""

    folder: Path
    interactive: bool

    def session(self) -> Session:
        """The project and its backend."""
        return Session.open(self.folder)

    def stack(self, name: str | None) -> Stack:
        """The named or the selected stack."""
        return self.session().stack(name)

    def require_name(self, warning: str, name: str) -> None:
        """Asks for the stack's name as a confirmation; raises EngineError where another answer is given."""
        click.echo(warning)
        if click.prompt(f"Please confirm that this is what you'd like to do by typing `{name}`") != name:
            raise EngineError("confirmation declined")


pass_context = click.make_pass_decorator(CommandContext)
