"""The command `state` and its subcommands, which edit the state file without a program or a provider."""

from __future__ import annotations

from collections.abc import Callable

import click

from pulumi_embedded.cli.context import CommandContext, pass_context, skips_confirmations, warn
from pulumi_embedded.cli.flags import AliasedGroup, stack_option
from pulumi_embedded.errors import EngineError, OperationFailed
from pulumi_embedded.model.state import ResourceState
from pulumi_embedded.storage.checkpoint import Snapshot
from pulumi_embedded.storage.editing import delete_resources, rename_resource, resource_of, unknown_resource

__all__ = ["state"]

_yes_option = click.option("-y", "--yes", is_flag=True, help="Skip confirmation prompts.")
_urns_argument = click.argument("urns", nargs=-1, metavar="[URN]...")


@click.group(cls=AliasedGroup)
@stack_option
@click.pass_context
def state(context: click.Context, /, stack_name: str | None) -> None:
    """Edit the current stack's state."""
    context.obj = context.obj.within(stack_name)


def _edit(context: CommandContext, stack_name: str | None, yes: bool, act: Callable[[Snapshot], None]) -> None:
    """Let `act` change the stack's snapshot, and write it. If `act` raises, write nothing."""
    opened = context.stack(stack_name)
    if not yes and not skips_confirmations() and context.interactive:
        click.echo(f"warning: This command will edit the state of the stack '{opened.name}' directly.", err=True)
        if not click.confirm("Confirm?"):
            click.echo("confirmation declined")
            raise OperationFailed("")
    with opened.lock(warn):
        codec = opened.codec()
        snapshot = opened.snapshot(codec)
        act(snapshot)
        opened.write(codec, snapshot)
        opened.session.backend.back_up(opened.project, opened.name)


def _require(urns: tuple[str, ...], what: str) -> None:
    if not urns:
        raise EngineError(f"missing argument: {what} must be given")


@state.command(name="remove")
@_urns_argument
@stack_option
@click.option("--all", "all_", is_flag=True, help="Delete all resources in the stack.")
@click.option("--force", is_flag=True, help="Force deletion of protected resources.")
@click.option("--target-dependents", is_flag=True, help="Delete the URN and all its dependents.")
@_yes_option
@pass_context
def remove(  # noqa: PLR0913 - the options of a command
    context: CommandContext,
    /,
    urns: tuple[str, ...],
    stack_name: str | None,
    all_: bool,
    force: bool,
    target_dependents: bool,
    yes: bool,
) -> None:
    """Delete resources from a stack's state; what they are on the server stays.

    A resource that others depend on, or are children of, is not deleted without them, and a protected one not
    without --force.
    """
    if all_ and urns:
        raise EngineError("cannot specify a resource URN when deleting all resources")
    if not all_:
        _require(urns, "resource URN")

    def allow(resource: ResourceState) -> bool:
        if force:
            warn(f"deleting protected resource {resource.urn} due to presence of --force")
        return force

    def act(snapshot: Snapshot) -> None:
        condemned = list(snapshot.resources) if all_ else [resource_of(snapshot, urn) for urn in dict.fromkeys(urns)]
        delete_resources(snapshot, condemned, dependents=target_dependents, allow=allow)

    _edit(context, stack_name, yes, act)
    count = len(dict.fromkeys(urns))
    click.echo("Resources deleted" if all_ else "Resource deleted" if count == 1 else f"{count} resources deleted")


@state.command()
@_urns_argument
@stack_option
@click.option("--all", "all_", is_flag=True, help="Unprotect all resources in the checkpoint.")
@_yes_option
@pass_context
def unprotect(context: CommandContext, urns: tuple[str, ...], stack_name: str | None, all_: bool, yes: bool) -> None:
    """Clear the protection of resources in a stack's state, so that they can be deleted.

    A program that still protects a resource protects it again at its next update.
    """
    if not all_:
        _require(urns, "resource URN")

    def act(snapshot: Snapshot) -> None:
        present = {resource.urn: resource for resource in snapshot.resources if not resource.delete}
        missing = [str(unknown_resource(urn, present)) for urn in urns if urn not in present and not all_]
        if missing:
            raise EngineError("\n".join(missing))
        for urn in present if all_ else urns:
            present[urn].protect = False

    _edit(context, stack_name, yes, act)
    click.echo("All resources unprotected" if all_ else f"{len(urns)} resources unprotected")


@state.command()
@click.argument("urn")
@click.argument("name")
@stack_option
@_yes_option
@pass_context
def rename(context: CommandContext, urn: str, name: str, stack_name: str | None, yes: bool) -> None:
    """Give a resource another name in a stack's state."""
    _edit(context, stack_name, yes, lambda snapshot: rename_resource(snapshot, urn, name))
    click.echo("Resource renamed")


state.aliases.update({"rm": "remove", "delete": "remove"})
