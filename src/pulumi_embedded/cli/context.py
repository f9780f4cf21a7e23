"""The context of every command: the directory, whether it can ask questions, and the form of its output."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import click

from pulumi_embedded.errors import ConfigurationError, EngineError, OperationFailed
from pulumi_embedded.storage.session import Session, Stack

__all__ = ["CommandContext", "pass_context", "skips_confirmations", "warn"]


def warn(text: str) -> None:
    """Print a warning."""
    click.echo(f"warning: {text}", err=True)


def skips_confirmations() -> bool:
    """Return whether the environment answers yes to every question."""
    return os.environ.get("PULUMI_SKIP_CONFIRMATIONS", "").lower() in ("1", "true")


@dataclass(frozen=True)
class CommandContext:
    """One invocation of a command. It opens stacks, so that every command finds them in the same way.

    `stack_name` and `config_file` are options of a group of commands (`config -s dev get …`).
    """

    folder: Path
    interactive: bool
    live: bool = False
    color: bool = False
    qualify: bool = False
    stack_name: str | None = None
    config_file: Path | None = None

    def session(self) -> Session:
        """Return the project and its backend, whose files are made private to this user."""
        session = Session.open(self.folder)
        session.backend.close_to_others(warn)
        return session

    def stack(self, name: str | None = None) -> Stack:
        """Return the named or the selected stack."""
        file = self.folder / self.config_file if self.config_file else None
        return self.session().stack(name or self.stack_name, file)

    def within(self, stack_name: str | None, config_file: Path | None = None) -> CommandContext:
        """Return the context for the commands of a group."""
        return replace(self, stack_name=stack_name, config_file=config_file)

    def shown_name(self, session: Session, name: str) -> str:
        """Return a stack's name, in full with `--fully-qualify-stack-names`."""
        return f"organization/{session.project.name}/{name}" if self.qualify else name

    def require_consent(self, yes: bool, warning: str, name: str) -> None:
        """Ask for the stack's name as a confirmation.

        Raises:
            OperationFailed: The answer is another one.
            ConfigurationError: The command cannot ask questions, and `--yes` is not given.

        """
        if yes or skips_confirmations():
            return
        if not self.interactive:
            raise ConfigurationError("--yes must be passed in to proceed when running in non-interactive mode")
        click.echo(warning)
        if click.prompt(f"Please confirm that this is what you'd like to do by typing `{name}`") != name:
            click.echo("confirmation declined")
            raise OperationFailed("")

    def read_value(self, *, secret: bool, raw: bool) -> str:
        """Return a value from the terminal or from standard input."""
        if sys.stdin.isatty():
            if not self.interactive:
                raise EngineError("config value must be specified in non-interactive mode")
            return str(click.prompt("value", hide_input=secret, default="", show_default=False))
        text = sys.stdin.read()
        return text if raw else text.removesuffix("\n").removesuffix("\r")


pass_context = click.make_pass_decorator(CommandContext)
