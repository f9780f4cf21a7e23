"""The commands of `pulumi` that this engine has, with the CLI's names, flags, prompts and exit codes."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

import click

from pulumi_embedded.cli.about import about, plugin, whoami
from pulumi_embedded.cli.arguments import arranged
from pulumi_embedded.cli.config import config
from pulumi_embedded.cli.context import CommandContext, pass_context
from pulumi_embedded.cli.elsewhere import ELSEWHERE_HELP
from pulumi_embedded.cli.flags import AliasedGroup
from pulumi_embedded.cli.operations import destroy, preview, refresh, up
from pulumi_embedded.cli.stack import stack
from pulumi_embedded.cli.state_edit import state
from pulumi_embedded.errors import EngineError, Unsupported
from pulumi_embedded.printable import guarded_output
from pulumi_embedded.storage.checkpoint import ENGINE_VERSION
from pulumi_embedded.storage.locks import break_locks

__all__ = ["main"]


_COLORS = ("auto", "always", "never", "raw")


@click.group(
    cls=AliasedGroup, context_settings={"help_option_names": ["-h", "--help"]}, epilog=ELSEWHERE_HELP, name="pulumi"
)
@click.option("-C", "--cwd", type=click.Path(path_type=Path), help="Run as if started in another directory.")
@click.option("--non-interactive", is_flag=True, help="Disable interactive mode for all commands.")
@click.option("--color", default="auto", help="Colorize output: always, never or auto.")
@click.option("-Q", "--fully-qualify-stack-names", "qualify", is_flag=True, help="Show fully-qualified stack names.")
@click.option("-e", "--emoji", is_flag=True, hidden=True)
@click.option("-v", "--verbose", type=int, default=0, hidden=True)
@click.option("--logtostderr", is_flag=True, hidden=True)
@click.option("--logflow", is_flag=True, hidden=True)
@click.option("--disable-integrity-checking", is_flag=True, hidden=True)
@click.version_option(ENGINE_VERSION, message="%(version)s+embedded")
@click.pass_context
def cli(
    context: click.Context, /, cwd: Path | None, non_interactive: bool, color: str, qualify: bool, **_logging: Any
) -> None:
    """Run Pulumi programs in Python without the Pulumi CLI, on stacks that the CLI can use too.

    Flags can be anywhere on the line. A command or flag that only the Pulumi CLI has is rejected by name.
    """
    folder = (cwd or Path.cwd()).resolve()
    if not folder.is_dir():
        raise EngineError(f"chdir {folder}: no such file or directory")
    if color not in _COLORS:
        raise EngineError(f"unsupported color option: '{color}'. Supported values are: {', '.join(_COLORS)}")
    if color == "raw":
        raise Unsupported("--color raw")
    terminal = sys.stdin.isatty() and sys.stdout.isatty() and not non_interactive
    live = terminal and os.environ.get("TERM", "dumb") != "dumb"
    coloured = color == "always" or (color == "auto" and live and not os.environ.get("NO_COLOR"))
    context.obj = CommandContext(folder, interactive=terminal, live=live, color=coloured, qualify=qualify)


@cli.command()
def version() -> None:
    """Print the version of the Pulumi CLI whose behaviour and formats this engine follows."""
    click.echo(f"{ENGINE_VERSION}+embedded")


@cli.command()
@click.argument("name", required=False)
@click.option("-s", "--stack", "stack_name", help="The name of the stack to operate on.")
@click.option("-y", "--yes", is_flag=True, help="Skip the confirmation.")
@pass_context
def cancel(context: CommandContext, name: str | None, stack_name: str | None, yes: bool) -> None:
    """Remove the locks of a stack; a process that still holds one keeps running."""
    opened = context.stack(name or stack_name)
    warning = f"This will irreversibly cancel the currently running update for '{opened.name}'!"
    context.require_consent(yes, warning, opened.name)
    break_locks(opened.session.backend, opened.project, opened.name)
    click.echo(f"The currently running update for '{opened.name}' has been canceled!")


for command in (up, preview, refresh, destroy, stack, config, state, about, whoami, plugin):
    cli.add_command(command)
cli.aliases.update({"update": "up", "pre": "preview", "down": "destroy", "dn": "destroy"})


def main() -> None:
    """Run the command line. An error of normal use is one line on standard error and an exit code."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with guarded_output():
            status = _status()
    except KeyboardInterrupt:
        status = 1
    except OSError as error:
        os.write(2, f"error: standard output cannot be written: {error.strerror}\n".encode())
        status = 1
    # Nothing is left to do, so Ctrl-C can end the process at once.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    sys.exit(status)


def _status() -> int:
    try:
        cli.main(args=arranged(cli, sys.argv[1:]), prog_name="pulumi-embedded", standalone_mode=False)
    except EngineError as error:
        if str(error):
            click.echo(f"error: {error}", err=True)
        return error.exit_code
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
    except click.ClickException as error:
        click.echo(f"error: {error.format_message()}", err=True)
        return 1
    except click.Abort:
        return 1
    return 0
