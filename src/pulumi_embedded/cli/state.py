"""`stack export`, `stack import` and `stack history`."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from pulumi_embedded.cli.context import CommandContext, pass_context
from pulumi_embedded.cli.listing import moment_ago
from pulumi_embedded.errors import EngineError
from pulumi_embedded.storage.checkpoint import parse_deployment

__all__ = ["export", "history", "import_"]

_stack_option = click.option("-s", "--stack", "stack_name", help="The name of the stack to operate on.")


@click.command()
@_stack_option
@click.option("--file", type=click.Path(path_type=Path), help="A file to write to instead of standard output.")
@click.option("--show-secrets", is_flag=True, help="Emit secrets in plaintext.")
@pass_context
def export(context: CommandContext, stack_name: str | None, file: Path | None, show_secrets: bool) -> None:
    """Export a stack's deployment to standard out."""
    if show_secrets:
        raise EngineError("export --show-secrets is not here; the Pulumi CLI has it")
    opened = context.stack(stack_name)
    deployment = opened.session.backend.read(opened.project, opened.name)
    text = json.dumps({"version": 3, "deployment": deployment}, indent=4, ensure_ascii=False)
    if file is None:
        click.echo(text)
    else:
        file.write_text(text + "\n", encoding="utf-8")


@click.command(name="import")
@_stack_option
@click.option("--file", type=click.Path(path_type=Path), help="A file to read instead of standard input.")
@pass_context
def import_(context: CommandContext, stack_name: str | None, file: Path | None) -> None:
    """Import a deployment from standard in into an existing stack."""
    opened = context.stack(stack_name)
    deployment = parse_deployment(file.read_text(encoding="utf-8") if file else sys.stdin.read())
    codec = opened.codec()
    snapshot = codec.snapshot(deployment)
    prefix = f"urn:pulumi:{opened.name}::{opened.project}::"
    strangers = [each.urn for each in snapshot.resources if not each.urn.startswith(prefix)]
    if strangers:
        raise EngineError(
            f"resource '{strangers[0]}' belongs to another stack than '{opened.name}' of {opened.project}"
        )
    with opened.lock():
        opened.write(codec, snapshot)
        opened.session.backend.back_up(opened.project, opened.name)
    click.echo("Import complete.")


@click.command()
@_stack_option
@click.option("-j", "--json", "json_", is_flag=True, help="Emit output as JSON.")
@pass_context
def history(context: CommandContext, stack_name: str | None, json_: bool) -> None:
    """Display history for a stack, newest first."""
    opened = context.stack(stack_name)
    entries = opened.session.backend.history(opened.project, opened.name)
    if json_:
        click.echo(json.dumps([_history_json(each) for each in entries], indent=2))
        return
    for number, entry in enumerate(entries):
        click.echo(("" if number == 0 else "\n") + _history_text(entry, len(entries) - number))


def _history_json(entry: dict[str, Any]) -> dict[str, Any]:
    times = {
        key: datetime.fromtimestamp(entry[key], UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
        for key in ("startTime", "endTime")
    }
    config = {
        key: {"secret": True} if isinstance(value, dict) else {"value": value, "secret": False}
        for key, value in (entry.get("config") or {}).items()
    }
    return {
        "kind": entry["kind"],
        "startTime": times["startTime"],
        "message": entry["message"],
        "environment": entry["environment"],
        "config": config,
        "result": entry["result"],
        "endTime": times["endTime"],
        "resourceChanges": entry.get("resourceChanges") or {},
    }


def _history_text(entry: dict[str, Any], version: int) -> str:
    changes = entry.get("resourceChanges") or {}
    counted = "".join(f"{sign}{changes.get(op, 0)}" for sign, op in (("+", "create"), ("-", "delete"), ("~", "update")))
    moment = datetime.fromtimestamp(entry["startTime"], UTC).isoformat().replace("+00:00", "Z")
    seconds = entry["endTime"] - entry["startTime"]
    lines = [
        f"Version: {version}",
        f"UpdateKind: {entry['kind']}",
        f"Status: {entry['result']}",
        f"Message: {entry['message']}",
        f"{counted} {changes.get('same', 0)} Updated {moment_ago(moment)} took {seconds}s",
    ]
    lines += [f"    {key}: {value}" for key, value in sorted(entry["environment"].items())]
    return "\n".join(lines)
