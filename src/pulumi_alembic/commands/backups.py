"""The commands `backups` and `restore` of `pulumi-alembic`."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pulumi_alembic.commands.command import AS_JSON, Options, argument, command, flag, option, tell
from pulumi_alembic.commands.formats import print_document
from pulumi_alembic.commands.project import database_and_policy, database_url
from pulumi_alembic.errors import BackupError, DatabaseError
from pulumi_alembic.output.wording import table
from pulumi_alembic.policy import Policy
from pulumi_alembic.scripts.plan import revision_text

if TYPE_CHECKING:
    from pulumi_alembic.backups.folder import Backup

__all__ = ["COMMANDS"]

_KNOWN = """
SELECT backup, detail ->> 'folder', detail ->> 'checksum' FROM migrations.ledger WHERE event = 'backup'
ORDER BY id DESC
"""


def _backups(options: Options, directory: Path) -> int:
    listed = list(_listed(options, directory))
    if options.json:
        print_document(backups=listed)
    elif listed:
        _print_table(listed)
    else:
        print("no backups")
    return 3 if options.verify and any(backup["state"] != "verified" for backup in listed) else 0


def _print_table(listed: list[dict[str, Any]]) -> None:
    from pulumi_alembic.backups.folder import size_text

    rows = [("id", "when", "database", "revision", "size", "folder", "state")]
    rows += [
        (
            backup["id"],
            f"{datetime.fromisoformat(backup['when']).astimezone():%Y-%m-%d %H:%M:%S}" if backup["when"] else "-",
            backup["database"] or "-",
            revision_text(backup["heads"]) if backup["when"] else "-",
            size_text(backup["size"]) if backup["when"] else "-",
            backup["folder"],
            backup["state"],
        )
        for backup in listed
    ]
    print("\n".join(table(rows)))


def _listed(options: Options, directory: Path) -> Iterator[dict[str, Any]]:
    """Return a row for each backup in --folder or, by default, in the ledger."""
    from pulumi_alembic.backups.folder import Backup, in_folder

    if options.folder:
        checksums = {}
        listed = [(options.folder, archived) for archived in in_folder(options.folder)]
    else:
        recorded = _known(database_url(directory))
        checksums = {id: checksum for id, _, checksum in recorded}
        listed = [(Path(folder), _loaded(Path(folder), id)) for id, folder, _ in recorded]
    for folder, backup in listed:
        if isinstance(backup, Backup):
            state = _state(backup, folder, checksums.get(backup.id), verify=options.verify)
            row = {name: value for name, value in asdict(backup).items() if name != "files"}
        else:
            state = str(backup)
            row = {"id": "-", "when": "", "database": "", "heads": [], "size": 0}
        yield {**row, "folder": str(folder), "state": state}


def _loaded(folder: Path, id: str) -> Backup | BackupError:
    from pulumi_alembic.backups.folder import load

    try:
        return load(folder, id)
    except BackupError as error:
        return error


def _state(backup: Backup, folder: Path, checksum: str | None, *, verify: bool) -> str:
    if checksum and checksum != backup.checksum:
        return "its manifest is not the one in the ledger"
    if not verify:
        return "complete"
    try:
        backup.verify(folder)
    except BackupError as error:
        return str(error)
    return "verified"


def _known(url: str) -> list[tuple[str, str, str]]:
    from pulumi_alembic.database.connection import connect

    with connect(url) as connection:
        rows = connection.execute(
            "SELECT FROM pg_attribute WHERE attrelid = to_regclass('migrations.ledger') AND attname = 'backup'"
        ).fetchone()
        return list(connection.execute(_KNOWN).fetchall()) if rows is not None else []


def _restore(options: Options, directory: Path) -> None:
    from pulumi_alembic.backups.folder import load
    from pulumi_alembic.backups.restore import Restore
    from pulumi_alembic.migrate.job import Job
    from pulumi_alembic.scripts.origin import Origin

    if options.into:
        _refuse_password(options.into)
    # Read once, because a stack's engine has to start for it.
    url, policy = ("", Policy()) if options.folder and options.into else database_and_policy(directory)
    folder, checksum = _found(options, url)
    backup = load(folder, options.id)
    if checksum and checksum != backup.checksum:
        raise BackupError(
            f"backup {backup.id} in {folder}: its manifest is not the one in the ledger, so somebody changed it. "
            "Nothing was restored"
        )
    command = " ".join(["pulumi-alembic", *sys.argv[1:]])
    job = Job(options.into or url, directory, command=command, policy=policy, origin=Origin.of(directory))
    restore = Restore(backup, folder, job, options.replace, options.another_fingerprint, tell)
    content = restore.look()
    if not content.empty and not options.yes:
        _ask(
            f"This replaces database {content.name}, at {revision_text(content.heads)}, with its backup of "
            f"{_second(backup)}, at {revision_text(backup.heads)}. Everything written since then is lost."
        )
    revision = restore()
    print(f"restored {backup.id}: database {content.name} is at {revision}, as on {_second(backup)}")


def _found(options: Options, url: str) -> tuple[Path, str]:
    """Return the backup directory, and the checksum if the ledger has it."""
    if options.folder:
        return options.folder, ""
    for id, folder, checksum in _known(url):
        if id == options.id:
            return Path(folder), checksum
    raise BackupError(
        f"the ledger has no backup {options.id}. List them: pulumi-alembic backups. If it is of another database, "
        f"name its backup directory: pulumi-alembic restore {options.id} --folder FOLDER"
    )


def _refuse_password(url: str) -> None:
    from pulumi_alembic.database.pg_programs import environment

    if environment(url).get("PGPASSWORD") != os.environ.get("PGPASSWORD"):
        raise DatabaseError(
            "--into contains a password, which every user of this machine can read: remove it, and set PGPASSWORD "
            "or use ~/.pgpass"
        )


def _ask(what: str) -> None:
    if not sys.stdin.isatty():
        raise BackupError(f"{what} stdin is not a terminal: pass --yes")
    if input(f"{what} Continue? [y/N] ").strip().lower() not in ("y", "yes"):
        raise BackupError("cancelled: nothing was changed")


def _second(backup: Backup) -> str:
    return datetime.fromisoformat(backup.when).isoformat(timespec="seconds")


_FOLDER = option("--folder", "The backup directory; by default the one in the ledger.", type=Path)

COMMANDS = (
    command(
        _backups,
        "List the backups of this database, newest first.",
        AS_JSON,
        flag("--verify", "Read every file; exit with 3 if one is damaged."),
        _FOLDER,
    ),
    command(
        _restore,
        "Restore a database from a backup.",
        argument("id", metavar="ID"),
        option(
            "--into",
            "Restore into another database; its password is read from PGPASSWORD or ~/.pgpass.",
            metavar="URL",
        ),
        flag("--replace", "Replace a database that is neither empty nor the one that was backed up."),
        flag(
            "--another-fingerprint",
            "Restore even if the schema's fingerprint is not the one of the backup.",
        ),
        flag("--yes", "Do not ask."),
        _FOLDER,
    ),
)
