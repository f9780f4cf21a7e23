"""`stack` and its subcommands."""

from __future__ import annotations

import json
from typing import Any

import click

from pulumi_embedded.cli.context import CommandContext, pass_context
from pulumi_embedded.cli.listing import aligned, described, moment_ago, outputs_table, stack_outputs, value_text
from pulumi_embedded.cli.state import export, history, import_
from pulumi_embedded.errors import EngineError
from pulumi_embedded.storage.checkpoint import Snapshot
from pulumi_embedded.storage.session import Session
from pulumi_embedded.storage.workspace import check_stack_name, select_stack, selected_stack
from pulumi_embedded.values import plain

__all__ = ["stack"]

_stack_option = click.option("-s", "--stack", "stack_name", help="The name of the stack to operate on.")


@click.group(invoke_without_command=True)
@_stack_option
@click.pass_context
def stack(context: click.Context, stack_name: str | None) -> None:
    """Manage stacks; without a subcommand, show the current one."""
    if context.invoked_subcommand is None:
        click.echo(described(context.obj.stack(stack_name)))


@stack.command()
@click.argument("name", required=False)
@_stack_option
@click.option("--no-select", is_flag=True, help="Do not select the new stack.")
@click.option("--secrets-provider", default="default", help="Only 'default' and 'passphrase' here.")
@pass_context
def init(
    context: CommandContext, name: str | None, stack_name: str | None, no_select: bool, secrets_provider: str
) -> None:
    """Create an empty stack with the given name, ready for updates."""
    chosen = name or stack_name
    if chosen is None:
        raise EngineError("missing stack name: pulumi-embedded stack init NAME")
    if secrets_provider not in ("default", "passphrase"):
        raise EngineError(f"the secrets provider {secrets_provider!r} is not here; the Pulumi CLI has it")
    _create(context.session(), chosen, select=not no_select)


def _create(session: Session, name: str, *, select: bool) -> None:
    name = session.short_name(name)
    check_stack_name(name)
    if session.backend.exists(session.project.name, name):
        raise EngineError(f"stack '{name}' already exists; select it: pulumi-embedded stack select {name}")
    session.backend.write(session.project.name, name, {})
    try:
        opened = session.stack(name)
        opened.write(opened.codec(create=True), Snapshot())
    except BaseException:
        session.backend.remove(session.project.name, name)
        raise
    if select:
        select_stack(session.project, session.backend.url, name)
    click.echo(f"Created stack '{name}'")


@stack.command()
@click.argument("name", required=False)
@_stack_option
@click.option("-c", "--create", is_flag=True, help="Create the stack if it does not exist.")
@pass_context
def select(context: CommandContext, name: str | None, stack_name: str | None, create: bool) -> None:
    """Switch the current workspace to the given stack."""
    session = context.session()
    chosen = name or stack_name
    if chosen is None:
        names = session.backend.stacks(session.project.name)
        if not context.interactive or not names:
            raise EngineError("no stack name was given: pulumi-embedded stack select NAME")
        chosen = click.prompt("Please choose a stack", type=click.Choice(names))
    assert chosen is not None  # noqa: S101 - given or chosen
    if create and not session.backend.exists(session.project.name, session.short_name(chosen)):
        _create(session, chosen, select=True)
        return
    select_stack(session.project, session.backend.url, session.stack(chosen).name)


@stack.command()
@click.option("-j", "--json", "json_", is_flag=True, help="Emit output as JSON.")
@pass_context
def ls(context: CommandContext, json_: bool) -> None:
    """List the stacks of the project."""
    session = context.session()
    current = selected_stack(session.project, session.backend.url)
    rows = [_listed(session, name, name == current) for name in session.backend.stacks(session.project.name)]
    if json_:
        click.echo(json.dumps(rows, indent=2))
        return
    table = [("NAME", "LAST UPDATE", "RESOURCE COUNT")]
    for row in rows:
        age = moment_ago(row["lastUpdate"]) if "lastUpdate" in row else "n/a"
        table.append((row["name"] + ("*" if row["current"] else ""), age, str(row.get("resourceCount", "n/a"))))
    click.echo(aligned(table))


def _listed(session: Session, name: str, current: bool) -> dict[str, Any]:
    deployment = session.backend.read(session.project.name, name) or {}
    row: dict[str, Any] = {"name": name, "current": current}
    if (deployment.get("manifest") or {}).get("time"):
        row["lastUpdate"] = deployment["manifest"]["time"]
    row["resourceCount"] = len(deployment.get("resources") or [])
    return row


@stack.command()
@click.argument("name", required=False)
@_stack_option
@click.option("-j", "--json", "json_", is_flag=True, help="Emit output as JSON.")
@click.option("--show-secrets", is_flag=True, help="Display outputs which are marked as secret in plaintext.")
@pass_context
def output(context: CommandContext, name: str | None, stack_name: str | None, json_: bool, show_secrets: bool) -> None:
    """Show a stack's output properties."""
    outputs = stack_outputs(context.stack(stack_name))
    shown = {key: plain(value, show_secrets=show_secrets) for key, value in sorted(outputs.items())}
    if name is not None:
        if name not in shown:
            raise EngineError(f"current stack does not have output property '{name}'")
        click.echo(json.dumps(shown[name], indent=2) if json_ else value_text(shown[name]))
    elif json_:
        click.echo(json.dumps(shown, indent=2))
    else:
        click.echo(outputs_table(shown))


@stack.command()
@click.argument("name", required=False)
@_stack_option
@click.option("-y", "--yes", is_flag=True, help="Skip confirmation prompts.")
@click.option("-f", "--force", is_flag=True, help="Remove the stack even if it still has resources.")
@click.option("--preserve-config", is_flag=True, help="Do not delete the corresponding Pulumi.STACK.yaml.")
@pass_context
def rm(
    context: CommandContext,
    name: str | None,
    stack_name: str | None,
    yes: bool,
    force: bool,
    preserve_config: bool,
) -> None:
    """Remove a stack and its configuration."""
    opened = context.stack(name or stack_name)
    if not yes and not context.interactive:
        raise EngineError("--yes must be passed in to proceed when running in non-interactive mode")
    if not yes:
        context.require_name(f"This will permanently remove the '{opened.name}' stack!", opened.name)
    backend = opened.session.backend
    if (backend.read(opened.project, opened.name) or {}).get("resources") and not force:
        raise EngineError(
            f"'{opened.name}' still has resources; removal rejected. Possible actions:\n"
            f"- Make sure that '{opened.name}' is the stack that you want to destroy\n"
            "- Run `pulumi-embedded destroy` to delete the resources, then run `pulumi-embedded stack rm`\n"
            "- Run `pulumi-embedded stack rm --force` to override this error"
        )
    with opened.lock():
        backend.remove(opened.project, opened.name)
    if not preserve_config:
        opened.config.path.unlink(missing_ok=True)
    if selected_stack(opened.session.project, backend.url) == opened.name:
        select_stack(opened.session.project, backend.url, None)
    click.echo(f"Stack '{opened.name}' has been removed!")


for command in (export, import_, history):
    stack.add_command(command)
