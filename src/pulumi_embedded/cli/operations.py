"""`up`, `preview`, `refresh` and `destroy`."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, TypeVar

import click

from pulumi_embedded.cli.context import CommandContext, pass_context
from pulumi_embedded.cli.perform import Request, perform
from pulumi_embedded.display.choice import DisplayOptions
from pulumi_embedded.options import Kind
from pulumi_embedded.storage.session import Stack
from pulumi_embedded.storage.workspace import select_stack

__all__ = ["destroy", "preview", "refresh", "up"]

Command = TypeVar("Command", bound=Callable[..., Any])


def _parallelism() -> int:
    """Four operations per processor, as the CLI (3.260)."""
    return 4 * (os.cpu_count() or 1)


def _shared(command: Command) -> Command:
    """The options of all four."""
    for option in (
        click.option("-s", "--stack", "stack_name", help="The name of the stack to operate on."),
        click.option("-m", "--message", default="", help="Message to associate with the operation."),
        click.option("-j", "--json", "json_", is_flag=True, help="Serialize the operation as JSON."),
        click.option("--diff", is_flag=True, help="Display the operation as a rich diff."),
        click.option("-p", "--parallel", type=click.IntRange(1), help="Run at most this many steps at once."),
        click.option("-t", "--target", multiple=True, help="A resource URN to operate on; may be repeated."),
        click.option("--show-secrets", is_flag=True, help="Show secret outputs."),
        click.option("--show-full-output", is_flag=True, help="Display full length of inputs and outputs."),
        click.option("--expect-no-changes", is_flag=True, help="Return an error if any changes occur."),
    ):
        command = option(command)
    return command


def _updating(command: Command) -> Command:
    """The options of those that change something."""
    for option in (
        click.option("-y", "--yes", is_flag=True, help="Approve and perform the operation after the preview."),
        click.option("-f", "--skip-preview", is_flag=True, help="Do not preview before the operation."),
        click.option("--preview-only", is_flag=True, help="Only show a preview of the operation."),
    ):
        command = option(command)
    return command


_refresh_option = click.option(
    "-r", "--refresh", "refresh_first", is_flag=True, help="Refresh the stack's resources before."
)


@click.command()
@_shared
@_updating
@_refresh_option
@pass_context
def up(context: CommandContext, /, **flags: Any) -> None:
    """Create or update the resources in a stack."""
    _operate(context, Kind.UPDATE, **flags)


@click.command()
@_shared
@_refresh_option
@pass_context
def preview(context: CommandContext, /, **flags: Any) -> None:
    """Show a preview of updates to a stack's resources."""
    _operate(context, Kind.UPDATE, preview_only=True, **flags)


@click.command()
@_shared
@_updating
@click.option("--clear-pending-creates", is_flag=True, help="Forget creates that were interrupted.")
@pass_context
def refresh(context: CommandContext, /, **flags: Any) -> None:
    """Refresh the resources in a stack."""
    _operate(context, Kind.REFRESH, **flags)


@click.command()
@_shared
@_updating
@_refresh_option
@click.option("--remove", is_flag=True, help="Remove the stack and its config file afterwards.")
@pass_context
def destroy(context: CommandContext, /, remove: bool, **flags: Any) -> None:
    """Destroy all existing resources in the stack."""
    opened = _operate(context, Kind.DESTROY, **flags)
    if flags["preview_only"] or flags["json_"] or flags["target"]:
        return
    if remove:
        opened.session.backend.remove(opened.project, opened.name)
        opened.config.path.unlink(missing_ok=True)
        select_stack(opened.session.project, opened.session.backend.url, None)
        click.echo(f"The resources in the stack have been deleted, and the stack '{opened.name}' is removed.")
        return
    click.echo(
        "The resources in the stack have been deleted, but the history and configuration associated with the "
        f"stack are still maintained. \nIf you want to remove the stack completely, run "
        f"`pulumi-embedded stack rm {opened.name}`."
    )


def _operate(context: CommandContext, kind: Kind, **flags: Any) -> Stack:
    opened = context.stack(flags.pop("stack_name"))
    request = _request(context, kind, flags)
    perform(opened, request, lambda: _confirmed(kind))
    return opened


def _request(context: CommandContext, kind: Kind, flags: dict[str, Any]) -> Request:
    shown = DisplayOptions(
        json=flags["json_"],
        diff=flags["diff"],
        live=context.interactive,
        show_secrets=flags["show_secrets"],
        show_full_output=flags["show_full_output"],
    )
    return Request(
        kind,
        shown,
        preview_only=flags.get("preview_only", False),
        yes=flags.get("yes", False) or os.environ.get("PULUMI_SKIP_CONFIRMATIONS", "").lower() in ("1", "true"),
        skip_preview=flags.get("skip_preview", False),
        refresh=flags.get("refresh_first", False),
        expect_no_changes=flags["expect_no_changes"],
        message=flags["message"],
        parallel=flags["parallel"] or _parallelism(),
        targets=flags["target"],
        clear_pending_creates=flags.get("clear_pending_creates", False),
        interactive=context.interactive,
    )


def _confirmed(kind: Kind) -> bool:
    choice = click.Choice(["yes", "no"])
    return bool(click.prompt(f"Do you want to perform this {kind}?", type=choice, default="no") == "yes")
