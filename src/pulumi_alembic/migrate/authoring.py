"""Naming of new scripts: apply the rule of `naming` when `alembic revision` or `alembic merge` creates one."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alembic import command, context
from alembic.script import write_hooks
from alembic.util import CommandError, msg

from pulumi_alembic.output.wording import nearby
from pulumi_alembic.scripts import naming
from pulumi_alembic.scripts.history import HEAD, History
from pulumi_alembic.scripts.manifest import WRITE, Manifest
from pulumi_alembic.scripts.revision import Revision

if TYPE_CHECKING:
    from alembic.operations.ops import MigrationScript

__all__ = [
    "MANIFEST_HOOK",
    "list_in_manifest",
    "name_by_the_rule",
    "refuse_unnamed_merge",
    "require_one_head",
    "script_folder",
]

MANIFEST_HOOK = "pulumi_alembic_manifest"
"""The name of the Alembic write hook that lists a new script in the manifest."""


def script_folder() -> Path:
    """Return the directory that contains env.py and versions/."""
    return nearby(context.script.dir)


def refuse_unnamed_merge() -> None:
    """Raise CommandError if `alembic merge` runs without the next revision id.

    Alembic takes the id of a merge from the command line only. Without one it would create a name that breaks the rule.
    """
    options = context.config.cmd_opts
    if options is None or getattr(options, "cmd", (None,))[0] is not command.merge:
        return
    history = History.load(script_folder())
    if history.is_named_by_rule and (options.rev_id is None or not naming.is_revision_id(options.rev_id)):
        raise CommandError(f"a merge needs the next revision id: {history.merge_command(history.heads)}")


def require_one_head() -> None:
    """Raise HistoryError, with the command that merges them, if the command uses `head` and there are several heads."""
    options = context.config.cmd_opts
    command_function = getattr(options, "cmd", (None,))[0]
    heads = {command.upgrade: "revision", command.revision: "head"}
    about_head = command_function is command.check or (
        command_function in heads and getattr(options, heads[command_function]) in (HEAD, None)
    )
    if about_head and len(context.script.get_heads()) > 1:
        History.load(script_folder()).resolve(HEAD)


def list_in_manifest() -> None:
    """Add a hook that lists each script that Alembic writes from now on in the manifest, after the project's own hooks.

    A manifest with a defect is left unchanged. The next run reports how to repair it.
    """
    context.script.hooks = [*context.script.hooks, {"_hook_name": "manifest", "type": MANIFEST_HOOK}]


@write_hooks.register(MANIFEST_HOOK)
def _append(path: str, _: Any) -> None:
    script = Revision.read(Path(path).parent, Path(path).name)
    manifest = Manifest.load(nearby(script.folder.parent))
    if not manifest.exists or manifest.defect:
        for line in (manifest.warning or f"{manifest.path} is not updated: {manifest.defect}. {WRITE}").splitlines():
            msg(line)
    else:
        manifest.write([*manifest.entries, script.entry])


def name_by_the_rule(ctx: Any, revision: Any, directives: list[MigrationScript]) -> None:
    """Give the script of `alembic revision` the next id of the naming rule, if the project uses that rule.

    This is Alembic's `process_revision_directives`.

    Raises:
        CommandError: `--rev-id` is another id, or the message is missing or not ASCII. No script is written.

    """
    options = context.config.cmd_opts
    if options is not None and "message" not in options:
        return  # `alembic check` only compares, and writes no script
    for directive in directives:
        message = directive.message or ""
        if not message.isascii() or not any(character.isalnum() for character in message):
            raise CommandError(
                "a revision needs a message in ASCII, its file is named after it: alembic revision -m 'add reminders'"
            )
        history = History.load(script_folder())
        if not history.is_named_by_rule:
            continue
        expected = naming.next_revision_id(history.revisions, date.today())
        given_id = options.rev_id if options else None
        if given_id not in (None, expected):
            raise CommandError(
                f"revision id {given_id!r} is not the next one by the rule {naming.RULE}: leave --rev-id out"
            )
        directive.rev_id = expected
