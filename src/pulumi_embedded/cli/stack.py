"""The command `stack` and its subcommands."""

from __future__ import annotations

from typing import Any

import click

from pulumi_embedded.cli.context import CommandContext, pass_context, warn
from pulumi_embedded.cli.flags import AliasedGroup, json_option, output_option, stack_option, wants_json
from pulumi_embedded.cli.history import history
from pulumi_embedded.cli.listing import (
    Details,
    aligned,
    described,
    document,
    moment_ago,
    outputs_table,
    shell_outputs,
    stack_outputs,
    value_text,
)
from pulumi_embedded.cli.prompt import choose
from pulumi_embedded.cli.stack_changes import change_secrets_provider, graph, rename
from pulumi_embedded.cli.state import export, import_
from pulumi_embedded.errors import EngineError, StackNotFound, Unsupported
from pulumi_embedded.printable import json_text
from pulumi_embedded.storage.checkpoint import Snapshot
from pulumi_embedded.storage.session import Session
from pulumi_embedded.storage.workspace import check_stack_name, select_stack, selected_stack

__all__ = ["stack"]


@click.group(cls=AliasedGroup, invoke_without_command=True)
@stack_option
@click.option("-i", "--show-ids", is_flag=True, help="Display each resource's id.")
@click.option("-u", "--show-urns", is_flag=True, help="Display each resource's URN.")
@click.option("--show-secrets", is_flag=True, help="Display secret outputs in plaintext.")
@click.option("--show-name", is_flag=True, help="Display only the stack's name.")
@output_option
@click.pass_context
def stack(  # noqa: PLR0913 - the options of a command
    context: click.Context,
    /,
    stack_name: str | None,
    show_ids: bool,
    show_urns: bool,
    show_secrets: bool,
    show_name: bool,
    output: str,
) -> None:
    """Manage stacks; without a subcommand, show the current one."""
    context.obj = context.obj.within(stack_name)
    if context.invoked_subcommand is not None:
        return
    opened = context.obj.stack()
    details = Details(show_ids, show_urns, show_secrets)
    if show_name:
        click.echo(context.obj.shown_name(opened.session, opened.name))
    elif wants_json(output):
        click.echo(json_text(document(opened, details), indent=2, ascii_only=False))
    else:
        click.echo(described(opened, details))


_secrets_provider_option = click.option(
    "--secrets-provider", default="default", help="Only 'default' and 'passphrase' here."
)


def _check_secrets_provider(name: str) -> None:
    if name not in ("", "default", "passphrase"):
        raise Unsupported(f"the secrets provider {name!r}")


@stack.command()
@click.argument("name", required=False)
@stack_option
@click.option("--no-select", is_flag=True, help="Do not select the new stack.")
@_secrets_provider_option
@click.option("-y", "--yes", is_flag=True, help="Ask nothing; fail where something is missing.")
@pass_context
def init(
    context: CommandContext, name: str | None, stack_name: str | None, no_select: bool, secrets_provider: str, yes: bool
) -> None:
    """Create an empty stack with the given name, ready for updates."""
    chosen = name or stack_name or context.stack_name
    if chosen is None and context.interactive and not yes:
        chosen = click.prompt("stack name", default="dev")
    if chosen is None:
        raise EngineError("missing stack name: pulumi-embedded stack init NAME")
    _check_secrets_provider(secrets_provider)
    _create(context.session(), chosen, select=not no_select)


def _create(session: Session, name: str, *, select: bool) -> None:
    name = session.short_name(name)
    check_stack_name(name)
    if session.backend.exists(session.project.name, name):
        raise EngineError(
            f"stack 'organization/{session.project.name}/{name}' already exists; "
            f"select it: pulumi-embedded stack select {name}"
        )
    session.backend.write(session.project.name, name, {})
    try:
        opened = session.stack(name)
        opened.write(opened.codec(create=True), Snapshot())
    except BaseException:
        session.backend.remove(session.project.name, name)
        raise
    if select:
        select_stack(session.project, session.backend.url, name)
    click.echo(f"Created stack '{name}'", err=True)


@stack.command()
@click.argument("name", required=False)
@stack_option
@click.option("-c", "--create", is_flag=True, help="Create the stack if it does not exist.")
@_secrets_provider_option
@pass_context
def select(
    context: CommandContext, name: str | None, stack_name: str | None, create: bool, secrets_provider: str
) -> None:
    """Switch the current workspace to the given stack."""
    if name and stack_name:
        raise EngineError("only one of --stack or argument stack name may be specified, not both")
    session = context.session()
    chosen = name or stack_name or context.stack_name
    if chosen is None:
        names = session.backend.stacks(session.project.name)
        if not context.interactive or not names:
            raise StackNotFound("no stack selected; specify a stack name with --stack")
        chosen = choose("Please choose a stack", names, names[0])
    if create and not session.backend.exists(session.project.name, session.short_name(chosen)):
        _check_secrets_provider(secrets_provider)
        _create(session, chosen, select=True)
        return
    select_stack(session.project, session.backend.url, session.stack(chosen).name)


@stack.command()
@click.option("-a", "--all", "all_", is_flag=True, help="List the stacks of every project.")
@click.option("-p", "--project", help="List the stacks of this project.")
@click.option("-o", "--organization", help="List the stacks of this organization.")
@json_option
@output_option
@pass_context
def ls(
    context: CommandContext, /, all_: bool, project: str | None, organization: str | None, json_: bool, output: str
) -> None:
    """List the stacks of the project."""
    session = context.session()
    current = selected_stack(session.project, session.backend.url)
    projects = session.backend.projects() if all_ else [project or session.project.name]
    if project:
        projects = [listed for listed in projects if listed == project]
    if organization not in (None, "", "organization"):
        projects = []
    rows = []
    for listed in projects:
        own = listed == session.project.name
        for name in session.backend.stacks(listed):
            shown = name if own and not context.qualify else f"organization/{listed}/{name}"
            rows.append(_listed(session, listed, name, shown, own and name == current))
    rows.sort(key=lambda row: str(row["name"]))
    click.echo(json_text(rows, indent=2) if json_ or wants_json(output) else _stack_table(rows))


def _stack_table(rows: list[dict[str, Any]]) -> str:
    table = [("NAME", "LAST UPDATE", "RESOURCE COUNT")]
    for row in rows:
        age = moment_ago(row["lastUpdate"]) if "lastUpdate" in row else "n/a"
        table.append((row["name"] + ("*" if row["current"] else ""), age, str(row.get("resourceCount", "n/a"))))
    return aligned(table)


def _listed(session: Session, project: str, name: str, shown: str, current: bool) -> dict[str, Any]:
    deployment = session.backend.read(project, name) or {}
    row: dict[str, Any] = {"name": shown, "current": current}
    if (deployment.get("manifest") or {}).get("time"):
        row["lastUpdate"] = deployment["manifest"]["time"][:19] + ".000Z"
        row["resourceCount"] = len(deployment.get("resources") or [])
    return row


@stack.command()
@click.argument("name", required=False)
@stack_option
@json_option
@click.option("--shell", is_flag=True, help="Emit output as a shell script.")
@click.option("--show-secrets", is_flag=True, help="Display secret outputs in plaintext.")
@pass_context
def output(
    context: CommandContext, name: str | None, stack_name: str | None, json_: bool, shell: bool, show_secrets: bool
) -> None:
    """Show a stack's output properties."""
    if json_ and shell:
        raise EngineError("only one of --json and --shell may be set")
    outputs = stack_outputs(context.stack(stack_name), show_secrets=show_secrets)
    if name is not None and name not in outputs:
        raise EngineError(f"current stack does not have output property '{name}'")
    if json_:
        click.echo(json_text(outputs if name is None else outputs[name], indent=2, ascii_only=False))
    elif shell:
        text = shell_outputs(outputs if name is None else {name: outputs[name]})
        click.echo(text, nl=bool(text))
    else:
        click.echo(outputs_table(outputs) if name is None else value_text(outputs[name]))


@stack.command()
@click.argument("name", required=False)
@stack_option
@click.option("-y", "--yes", is_flag=True, help="Skip confirmation prompts.")
@click.option("-f", "--force", is_flag=True, help="Remove the stack even if it still has resources.")
@click.option("--preserve-config", is_flag=True, help="Do not delete the corresponding Pulumi.STACK.yaml.")
@click.option("--remove-backups", is_flag=True, help="Remove the stack's backups, too.")
@pass_context
def rm(  # noqa: PLR0913 - the options of a command
    context: CommandContext,
    /,
    name: str | None,
    stack_name: str | None,
    yes: bool,
    force: bool,
    preserve_config: bool,
    remove_backups: bool,
) -> None:
    """Remove a stack and its configuration."""
    if name and stack_name:
        raise EngineError("only one of --stack or argument stack name may be specified, not both")
    opened = context.stack(name or stack_name)
    context.require_consent(yes, f"This will permanently remove the '{opened.name}' stack!", opened.name)
    backend = opened.session.backend
    if (backend.read(opened.project, opened.name) or {}).get("resources") and not force:
        raise EngineError(
            f"'{opened.name}' still has resources; removal rejected. Possible actions:\n"
            f"- Make sure that '{opened.name}' is the stack that you want to destroy\n"
            "- Run `pulumi-embedded destroy` to delete the resources, then run `pulumi-embedded stack rm`\n"
            "- Run `pulumi-embedded stack rm --force` to override this error"
        )
    with opened.lock(warn):
        backend.remove(opened.project, opened.name, backups=remove_backups)
    if not preserve_config:
        opened.config.path.unlink(missing_ok=True)
    select_stack(opened.session.project, backend.url, None)
    click.echo(f"Stack '{opened.name}' has been removed!")


for command in (export, import_, history, rename, change_secrets_provider, graph):
    stack.add_command(command)
stack.aliases.update(dict.fromkeys(("new", "create", "setup"), "init"))
stack.aliases.update({"list": "ls", "hist": "history", "remove": "rm", "delete": "rm"})
