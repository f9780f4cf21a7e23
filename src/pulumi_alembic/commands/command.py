"""Build a command of `pulumi-alembic` from a function, its parameters and its help."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click

from pulumi_alembic.commands.project import script_directory
from pulumi_alembic.output.printable import printable
from pulumi_alembic.output.tracing import span

__all__ = ["AS_JSON", "SHARED", "TENANT", "Options", "Run", "argument", "command", "flag", "option", "tell"]

Options = SimpleNamespace
"""The parsed parameters, as attributes."""

Run = Callable[[Options, Path], int | None]
"""A function that runs a command. It returns the exit code, None for 0."""


def option(name: str, help: str, **more: Any) -> click.Option:
    """Return an option with a value."""
    return click.Option([name], help=help, **more)


def flag(name: str, help: str) -> click.Option:
    """Return an option without a value."""
    return click.Option([name], is_flag=True, help=help)


def argument(name: str, **more: Any) -> click.Argument:
    """Return an argument, which its metavar names in the help."""
    return click.Argument([name], **more)


AS_JSON = flag("--json", "Print one JSON object.")

TENANT = option("--schema", "A tenant's schema, instead of the database itself.", metavar="NAME", default="")

SHARED = option("--shared", "With --schema: another schema that scripts find names in.", metavar="NAME", multiple=True)


def command(run: Run, help: str, *parameters: click.Parameter, scripts: bool = True) -> click.Command:
    """Return the command that is named after its function.

    Args:
        run: Runs the command. Its name is that of the command after one underscore.
        help: The help. Its first sentence is the short help.
        parameters: The options and arguments.
        scripts: Whether the command needs the directory of scripts.

    """
    name = run.__name__[1:]

    def callback(**given: Any) -> int | None:
        options = Options(**given)
        # A report of a preview needs no scripts.
        with span(f"pulumi-alembic {name}"):
            return run(options, options.directory or (script_directory() if scripts else Path()))

    directory = option("--directory", "The scripts' folder, which holds env.py and versions/.", type=Path)
    return click.Command(
        name,
        params=[*parameters, directory],
        callback=callback,
        help=help,
        short_help=help.partition(".")[0],
    )


def tell(text: str) -> None:
    """Print progress on standard error, unless --quiet is given."""
    context = click.get_current_context(silent=True)
    if context is None or not context.find_root().params.get("quiet"):
        print(printable(text), file=sys.stderr, flush=True)
