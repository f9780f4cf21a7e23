"""`config` and its subcommands."""

from __future__ import annotations

import json
import sys
from typing import Any

import click

from pulumi_embedded.cli.context import CommandContext, pass_context
from pulumi_embedded.cli.listing import aligned
from pulumi_embedded.errors import EngineError

__all__ = ["config"]

_stack_option = click.option("-s", "--stack", "stack_name", help="The name of the stack to operate on.")


@click.group(invoke_without_command=True)
@_stack_option
@click.option("-j", "--json", "json_", is_flag=True, help="Emit output as JSON.")
@click.option("--show-secrets", is_flag=True, help="Show secret values when listing config.")
@click.pass_context
def config(context: click.Context, stack_name: str | None, json_: bool, show_secrets: bool) -> None:
    """Manage configuration; without a subcommand, list it."""
    if context.invoked_subcommand is None:
        _list(context.obj, stack_name, json_, show_secrets)


def _list(context: CommandContext, stack_name: str | None, json_: bool, show_secrets: bool) -> None:
    opened = context.stack(stack_name)
    values = opened.config.values()
    if json_:
        shown: dict[str, dict[str, Any]] = {}
        for key, value in values.items():
            shown[key] = {"secret": value.secret}
            if show_secrets or not value.secret:
                shown[key] = {"value": value.text, "secret": value.secret}
                if value.is_object:
                    shown[key] = {
                        "value": value.text,
                        "objectValue": json.loads(value.text),
                        "secret": value.secret,
                    }
        click.echo(json.dumps(shown, indent=2))
        return
    rows = [("KEY", "VALUE")]
    own = f"{opened.project}:"
    named = {key.removeprefix(own): value for key, value in values.items()}
    for key, value in sorted(named.items()):
        rows.append((key, value.text if show_secrets or not value.secret else "[secret]"))
    click.echo(aligned(rows))


@config.command()
@click.argument("key")
@_stack_option
@click.option("-j", "--json", "json_", is_flag=True, help="Emit output as JSON.")
@pass_context
def get(context: CommandContext, key: str, stack_name: str | None, json_: bool) -> None:
    """Get a single configuration value, also a secret one."""
    opened = context.stack(stack_name)
    value = opened.config.values().get(opened.config.key(key))
    if value is None:
        raise EngineError(f"configuration key '{key}' not found for stack '{opened.name}'")
    document = {"value": value.text, "secret": value.secret}
    click.echo(json.dumps(document, indent=2) if json_ else value.text)


@config.command(name="set")
@click.argument("key")
@click.argument("value", required=False)
@_stack_option
@click.option("--secret", is_flag=True, help="Encrypt the value instead of storing it in plaintext.")
@click.option("--plaintext", is_flag=True, help="Save the value as plaintext.")
@pass_context
def set_(
    context: CommandContext, key: str, value: str | None, stack_name: str | None, secret: bool, plaintext: bool
) -> None:
    """Set a configuration value; without one it is read from standard input."""
    opened = context.stack(stack_name)
    if secret and plaintext:
        raise EngineError("only one of --secret and --plaintext may be given")
    if value is None:
        asked = context.interactive
        value = click.prompt("value", hide_input=secret) if asked else sys.stdin.read().removesuffix("\n")
    opened.config.set(key, str(value), secret=secret)


@config.command()
@click.argument("key")
@_stack_option
@pass_context
def rm(context: CommandContext, key: str, stack_name: str | None) -> None:
    """Remove a configuration value."""
    context.stack(stack_name).config.remove(key)
