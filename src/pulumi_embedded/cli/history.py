"""The command `stack history`."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import click

from pulumi_embedded.cli.context import CommandContext, pass_context
from pulumi_embedded.cli.flags import json_option, output_option, stack_option, wants_json
from pulumi_embedded.cli.listing import moment_ago
from pulumi_embedded.model.values import ConfigValue
from pulumi_embedded.printable import json_text
from pulumi_embedded.storage.config import ConfigFile

__all__ = ["history"]


@click.command()
@stack_option
@json_option
@output_option
@click.option("--show-secrets", is_flag=True, help="Show secret values of the configuration.")
@click.option("--full-dates", is_flag=True, help="Show full dates instead of relative ones.")
@click.option("--page", type=int, default=1, help="Which page to show, from 1 on.")
@click.option("--page-size", type=int, default=10, help="How many updates are on a page.")
@pass_context
def history(  # noqa: PLR0913 - the options of a command
    context: CommandContext,
    /,
    stack_name: str | None,
    json_: bool,
    output: str,
    show_secrets: bool,
    full_dates: bool,
    page: int,
    page_size: int,
) -> None:
    """Display history for a stack, newest first."""
    opened = context.stack(stack_name)
    entries = opened.session.backend.history(opened.project, opened.name)
    numbered = [(entry, len(entries) - index) for index, entry in enumerate(entries)]
    if page_size > 0:
        start = (max(page, 1) - 1) * page_size
        numbered = numbered[start : start + page_size]
    if json_ or wants_json(output):
        shown = [_json(entry, opened.config, show_secrets) for entry, _ in numbered]
        click.echo(json_text(shown, indent=2, ascii_only=False))
    elif not numbered:
        click.echo(f"No stack updates found on page '{page}'" if page > 1 else "Stack has never been updated")
    else:
        click.echo("\n".join(_text(entry, version, full_dates) for entry, version in numbered))


def _json(entry: dict[str, Any], config: ConfigFile, show_secrets: bool) -> dict[str, Any]:
    times = {
        key: datetime.fromtimestamp(entry[key], UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
        for key in ("startTime", "endTime")
    }
    values = {key: config.read(value) for key, value in sorted((entry.get("config") or {}).items())}
    return {
        "version": 0,
        "kind": entry["kind"],
        "startTime": times["startTime"],
        "message": entry["message"],
        "environment": dict(sorted(entry["environment"].items())),
        "config": {key: _config_json(value, show_secrets) for key, value in values.items()},
        "result": entry["result"],
        "endTime": times["endTime"],
        "resourceChanges": dict(sorted((entry.get("resourceChanges") or {}).items())),
    }


def _config_json(value: ConfigValue, show_secrets: bool) -> dict[str, Any]:
    if value.secret and not show_secrets:
        return {"secret": True}
    nested = {"objectValue": json.loads(value.text)} if value.is_object else {}
    return {"value": value.text, **nested, "secret": value.secret}


def _text(entry: dict[str, Any], version: int, full_dates: bool) -> str:
    changes = entry.get("resourceChanges") or {}
    signs = (("+", "create"), ("-", "delete"), ("~", "update"), (" ", "same"))
    counted = "".join(f"{sign}{changes.get(op, 0)}" for sign, op in signs)
    begun = datetime.fromtimestamp(entry["startTime"], UTC)
    when = f"{begun.astimezone():%Y-%m-%d %H:%M:%S %z %Z}" if full_dates else moment_ago(begun.isoformat())
    lines = [
        f"Version: {version}",
        f"UpdateKind: {entry['kind']}",
        f"Status: {entry['result']}",
        f"Message: {entry['message']}",
        f"{counted} Updated {when} took {_duration(entry['endTime'] - entry['startTime'])}",
    ]
    lines += [f"    {key}: {value}" for key, value in sorted(entry["environment"].items()) if str(value).strip()]
    return "\n".join(lines) + "\n"


def _duration(seconds: int) -> str:
    hours, minutes, rest = seconds // 3600, seconds // 60 % 60, seconds % 60
    if hours:
        return f"{hours}h{minutes}m{rest}s"
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"
