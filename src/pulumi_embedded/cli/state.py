"""The commands `stack export` and `stack import`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from pulumi_embedded.cli.context import CommandContext, pass_context, warn
from pulumi_embedded.cli.flags import stack_option
from pulumi_embedded.errors import EngineError
from pulumi_embedded.model.values import SECRET_SIGNATURE, SIGNATURE
from pulumi_embedded.printable import json_text
from pulumi_embedded.storage.checkpoint import exported, parse_deployment
from pulumi_embedded.storage.files import write_private
from pulumi_embedded.storage.integrity import DamagedState
from pulumi_embedded.storage.session import Stack

__all__ = ["export", "import_", "in_plaintext"]

_file = click.Path(path_type=Path)


@click.command()
@stack_option
@click.option("--file", type=_file, help="A file to write to instead of standard output.")
@click.option("--show-secrets", is_flag=True, help="Emit secrets in plaintext.")
@pass_context
def export(context: CommandContext, stack_name: str | None, file: Path | None, show_secrets: bool) -> None:
    """Export a stack's deployment to standard out."""
    opened = context.stack(stack_name)
    deployment: Any = opened.session.backend.read(opened.project, opened.name)
    if show_secrets:
        deployment = in_plaintext(deployment, opened)
    text = json_text(exported(deployment), indent=4, ascii_only=False)
    if file is None:
        click.echo(text)
    elif write_private(context.folder / file, text + "\n"):
        warn(f"other users of this machine could read {file}; corrected its mode")


def in_plaintext(value: Any, opened: Stack) -> Any:
    """Return a document whose secret property values are in plain text."""
    if isinstance(value, list):
        return [in_plaintext(element, opened) for element in value]
    if not isinstance(value, dict):
        return value
    if value.get(SIGNATURE) == SECRET_SIGNATURE and "ciphertext" in value:
        crypter = opened.config.crypter()
        if crypter is None:
            raise EngineError("the state holds secrets and this stack has no encryption salt in its configuration")
        return {SIGNATURE: SECRET_SIGNATURE, "plaintext": crypter.decrypt(value["ciphertext"])}
    return {key: in_plaintext(element, opened) for key, element in value.items()}


@click.command(name="import")
@stack_option
@click.option("--file", type=_file, help="A file to read instead of standard input.")
@click.option("-f", "--force", is_flag=True, help="Import also resources of another stack.")
@pass_context
def import_(context: CommandContext, stack_name: str | None, file: Path | None, force: bool) -> None:
    """Import a deployment from standard in into an existing stack."""
    opened = context.stack(stack_name)
    codec = opened.codec()
    try:
        snapshot = codec.snapshot(parse_deployment(_text(context.folder / file) if file else sys.stdin.read()))
    except DamagedState as error:
        where = file or "standard input"
        raise EngineError(f"{where} is no exported deployment: {error.what}; the state was not changed") from None
    prefix = f"urn:pulumi:{opened.name}::{opened.project}::"
    strangers = [resource.urn for resource in snapshot.resources if not resource.urn.startswith(prefix)]
    if strangers and not force:
        raise EngineError(
            f"resource '{strangers[0]}' belongs to another stack than '{opened.name}' of {opened.project}; "
            "importing this file could be dangerous; rerun the command with `--force` to proceed anyway"
        )
    for operation in snapshot.pending_operations:
        warn(f"removing pending operation '{operation.type}' on '{operation.resource.urn}' from snapshot")
    snapshot.pending_operations = []
    with opened.lock(warn):
        opened.write(codec, snapshot)
        opened.session.backend.back_up(opened.project, opened.name)
    click.echo("Import complete.")


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise EngineError(f"could not open file: {error}") from None
