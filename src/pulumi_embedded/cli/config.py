"""The command `config` and its subcommands."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from pulumi_embedded.cli.context import CommandContext, pass_context
from pulumi_embedded.cli.flags import AliasedGroup
from pulumi_embedded.cli.listing import aligned
from pulumi_embedded.errors import EngineError
from pulumi_embedded.model.values import ConfigValue
from pulumi_embedded.printable import json_text

__all__ = ["config", "parse_pair"]

_path_option = click.option("--path", is_flag=True, help="The key is a path to a value in a map or list.")


@click.group(cls=AliasedGroup, invoke_without_command=True)
@click.option("-s", "--stack", "stack_name", help="The name of the stack to operate on.")
@click.option("--config-file", type=click.Path(path_type=Path), help="Use this file instead of Pulumi.STACK.yaml.")
@click.option("-j", "--json", "json_", is_flag=True, help="Emit output as JSON.")
@click.option("--show-secrets", is_flag=True, help="Show secret values when listing config.")
@click.pass_context
def config(
    context: click.Context, stack_name: str | None, config_file: Path | None, json_: bool, show_secrets: bool
) -> None:
    """Manage configuration; without a subcommand, list it."""
    context.obj = context.obj.within(stack_name, config_file)
    if context.invoked_subcommand is None:
        _list(context.obj, json_, show_secrets)


def _list(context: CommandContext, json_: bool, show_secrets: bool) -> None:
    opened = context.stack()
    values = opened.config.values()
    if json_:
        shown = {key: _json(value, blind=not show_secrets) for key, value in values.items()}
        click.echo(json_text(shown, indent=2, ascii_only=False))
        return
    rows = [("KEY", "VALUE")]
    own = f"{opened.project}:"
    for key, value in values.items():
        rows.append((key.removeprefix(own), value.text if show_secrets or not value.secret else value.blinded))
    click.echo(aligned(rows))


def _json(value: ConfigValue, *, blind: bool = False) -> dict[str, Any]:
    if value.secret and blind:
        return {"secret": True}
    nested = {"objectValue": json.loads(value.text)} if value.is_object else {}
    return {"value": value.text, **nested, "secret": value.secret}


@config.command()
@click.argument("key")
@click.option("-j", "--json", "json_", is_flag=True, help="Emit output as JSON.")
@_path_option
@pass_context
def get(context: CommandContext, key: str, json_: bool, path: bool) -> None:
    """Get a single configuration value, also a secret one."""
    opened = context.stack()
    value = opened.config.get(key, path=path)
    if value is None:
        shown = key if path else opened.config.key(key).removeprefix(f"{opened.project}:")
        raise EngineError(f"configuration key '{shown}' not found for stack '{opened.name}'")
    click.echo(json_text(_json(value), indent=2, ascii_only=False) if json_ else value.text)


@config.command(name="set")
@click.argument("key")
@click.argument("value", required=False)
@click.option("--secret", is_flag=True, help="Encrypt the value instead of storing it in plaintext.")
@click.option("--plaintext", is_flag=True, help="Save the value as plaintext.")
@click.option("--type", "type_", help="Save the value as a string, bool, int or float.")
@click.option("--raw", is_flag=True, help="Keep the last newline of a value that is read from standard input.")
@_path_option
@pass_context
def set_(  # noqa: PLR0913 - the options of a command
    context: CommandContext,
    /,
    key: str,
    value: str | None,
    secret: bool,
    plaintext: bool,
    type_: str | None,
    raw: bool,
    path: bool,
) -> None:
    """Set a configuration value; without one it is read from standard input."""
    opened = context.stack()
    if secret and plaintext:
        raise EngineError("only one of --secret and --plaintext may be given")
    text = context.read_value(secret=secret, raw=raw) if value is None else value
    opened.config.set(key, text if secret else _typed(text, type_), secret=secret, path=path)


def _typed(text: str, type_: str | None) -> Any:
    """Return the value as YAML stores it. Without a type it is a text."""
    if not type_:
        return text
    if type_ not in ("string", "bool", "int", "float"):
        raise EngineError(f'invalid type "{type_}"; must be one of string, int, bool, or float')
    try:
        if type_ == "bool":
            return text in ("1", "t", "T", "true", "TRUE", "True")
        return {"string": str, "int": int, "float": float}[type_](text)
    except ValueError:
        raise EngineError(f"could not set config: {text!r} is no {type_}") from None


@config.command(name="rm")
@click.argument("key")
@_path_option
@pass_context
def rm(context: CommandContext, key: str, path: bool) -> None:
    """Remove a configuration value."""
    context.stack().config.remove(key, path=path)


@config.command(name="set-all")
@click.option("--plaintext", multiple=True, help="KEY=VALUE, stored in plaintext; may be repeated.")
@click.option("--secret", multiple=True, help="KEY=VALUE, stored encrypted; may be repeated.")
@click.option("--json", "json_", help="Values in the form of `config --json`.")
@_path_option
@pass_context
def set_all(
    context: CommandContext, plaintext: tuple[str, ...], secret: tuple[str, ...], json_: str | None, path: bool
) -> None:
    """Set several configuration values at once, or none of them."""
    opened = context.stack()
    for pairs, is_secret in ((plaintext, False), (secret, True)):
        for pair in pairs:
            key, value = parse_pair(pair)
            opened.config.set(key, value, secret=is_secret, path=path, save=False)
    for key, entry in _entries(json_).items():
        value = entry["value"] if entry.get("secret") else entry.get("objectValue", entry["value"])
        opened.config.set(key, value, secret=bool(entry.get("secret")), save=False)
    opened.config.save()


def parse_pair(pair: str) -> tuple[str, str]:
    """Return the parts of `KEY=VALUE`."""
    key, separator, value = pair.partition("=")
    if not separator:
        raise EngineError("config value must be in the form [key]=[value]")
    return key, value


def _entries(text: str | None) -> dict[str, dict[str, Any]]:
    try:
        entries = json.loads(text or "{}")
    except ValueError as error:
        raise EngineError(f"could not parse --json argument: {error}") from None
    if not isinstance(entries, dict) or not all(isinstance(item, dict) for item in entries.values()):
        raise EngineError("could not parse --json argument: it is an object of objects with a value each")
    for key, entry in entries.items():
        if not isinstance(entry.get("value"), str):
            raise EngineError(f'value for --json object key "{key}" is nil')
    return entries


@config.command(name="rm-all")
@click.argument("keys", nargs=-1, required=True, metavar="KEY...")
@_path_option
@pass_context
def rm_all(context: CommandContext, keys: tuple[str, ...], path: bool) -> None:
    """Remove several configuration values at once."""
    opened = context.stack()
    for key in keys:
        opened.config.remove(key, path=path, save=False)
    opened.config.save()


@config.command(name="copy")
@click.argument("key", required=False)
@click.option("-d", "--dest", required=True, help="The stack to copy the config to.")
@_path_option
@pass_context
def copy(context: CommandContext, key: str | None, dest: str, path: bool) -> None:
    """Copy one value, or the whole configuration, to another stack; secrets are encrypted for that one."""
    opened = context.stack()
    session = opened.session
    if opened.name == session.short_name(dest):
        raise EngineError("current stack and destination stack are the same")
    opened.config.copy_to(session.stack(dest).config, key, path=path)


config.aliases.update({"cp": "copy"})
config.aliases.update({"remove": "rm", "delete": "rm", "remove-all": "rm-all", "delete-all": "rm-all"})
