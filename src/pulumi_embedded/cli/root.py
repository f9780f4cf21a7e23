"""The commands of `pulumi` that the embedded engine has, with the CLI's names, flags, prompts and exit codes."""

from __future__ import annotations

import itertools
import os
import sys
from pathlib import Path

import click

from pulumi_embedded.cli.config import config
from pulumi_embedded.cli.context import CommandContext, pass_context
from pulumi_embedded.cli.operations import destroy, preview, refresh, up
from pulumi_embedded.cli.stack import stack
from pulumi_embedded.errors import EngineError
from pulumi_embedded.storage.checkpoint import ENGINE_VERSION
from pulumi_embedded.storage.locks import break_locks

__all__ = ["main"]

_EPILOG = """
Not here: other languages and backends than Python and file://, other secrets providers than passphrase, stack
references, transforms, hooks, import, remote components, policy packs, update plans, the Pulumi Cloud. Install the
Pulumi CLI for those; it goes on with the same stacks.
"""


@click.group(context_settings={"help_option_names": ["-h", "--help"]}, epilog=_EPILOG)
@click.option("-C", "--cwd", type=click.Path(path_type=Path), help="Run as if started in another directory.")
@click.option("--non-interactive", is_flag=True, help="Disable interactive mode for all commands.")
@click.version_option(ENGINE_VERSION, message="%(version)s (embedded engine)")
@click.pass_context
def cli(context: click.Context, cwd: Path | None, non_interactive: bool) -> None:
    """Run Pulumi Python programs where no Pulumi CLI is installed; stacks stay usable with it."""
    folder = (cwd or Path.cwd()).resolve()
    if not folder.is_dir():
        raise EngineError(f"the directory {folder} does not exist")
    terminal = sys.stdin.isatty() and sys.stdout.isatty()
    context.obj = CommandContext(folder, interactive=terminal and not non_interactive)


@cli.command()
def version() -> None:
    """Print the version of the Pulumi CLI whose behaviour and formats this engine follows."""
    click.echo(f"{ENGINE_VERSION} (embedded engine)")


@cli.command()
@click.argument("name", required=False)
@click.option("-s", "--stack", "stack_name", help="The name of the stack to operate on.")
@click.option("-y", "--yes", is_flag=True, help="Skip the confirmation.")
@pass_context
def cancel(context: CommandContext, name: str | None, stack_name: str | None, yes: bool) -> None:
    """Remove the locks of a stack; a process that still holds one keeps running."""
    opened = context.stack(name or stack_name)
    if not yes and not context.interactive:
        raise EngineError("--yes must be passed in to proceed when running in non-interactive mode")
    if not yes:
        context.require_name(
            f"This will irreversibly cancel the currently running update for '{opened.name}'!", opened.name
        )
    break_locks(opened.session.backend, opened.project, opened.name)
    click.echo(f"The currently running update for '{opened.name}' has been canceled!")


for command in (up, preview, refresh, destroy, stack, config):
    cli.add_command(command)
cli.add_command(up, "update")
cli.add_command(preview, "pre")


def _global_flags_first(arguments: list[str]) -> list[str]:
    """The arguments with the CLI's global flags in front, which it takes anywhere."""
    flags: list[str] = []
    rest: list[str] = []
    remaining = iter(arguments)
    for argument in remaining:
        if argument == "--":
            rest += [argument, *remaining]
        elif argument in ("-C", "--cwd"):
            flags += [argument, *itertools.islice(remaining, 1)]
        elif argument == "--non-interactive" or argument.startswith("--cwd="):
            flags.append(argument)
        else:
            rest.append(argument)
    return flags + rest


def main() -> None:
    """Runs the command line; every error of normal use is one line on standard error and an exit code."""
    # Programs and plugins that tell people what to run next can ask for the engine's name.
    os.environ.setdefault("PULUMI_COMMAND", "pulumi-embedded")
    try:
        cli.main(args=_global_flags_first(sys.argv[1:]), standalone_mode=False)
    except EngineError as error:
        if str(error):
            click.echo(f"error: {error}", err=True)
        sys.exit(error.exit_code)
    except click.UsageError as error:
        click.echo(f"error: {error.format_message()}", err=True)
        sys.exit(2)
    except click.ClickException as error:
        click.echo(f"error: {error.format_message()}", err=True)
        sys.exit(1)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(1)
