"""The commands `kept` and `prune` of `pulumi-alembic`."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pulumi_alembic.commands.command import AS_JSON, TENANT, Options, argument, command, flag, option
from pulumi_alembic.commands.formats import print_document
from pulumi_alembic.commands.project import database_url
from pulumi_alembic.errors import KeptError
from pulumi_alembic.output.wording import lasted, table
from pulumi_alembic.scripts.plan import Direction

if TYPE_CHECKING:
    from pulumi_alembic.database.connection import Connection
    from pulumi_alembic.migrate.data_loss.preserved_table import Entry

__all__ = ["COMMANDS"]

_UNITS = {"d": 1, "w": 7}
_DROP_PATIENCE = "2s"
_SIZES = """
SELECT relname, pg_table_size(oid), pg_size_pretty(pg_table_size(oid)) FROM pg_class
WHERE relname = ANY (%s) AND relnamespace = to_regnamespace('kept')
"""


def _kept(options: Options, directory: Path) -> None:
    from pulumi_alembic.database.connection import connect
    from pulumi_alembic.migrate.data_loss.preserved_table import read

    with connect(database_url(directory, options.schema)) as connection:
        entries = read(connection)
        sizes = {
            name: (size, text) for name, size, text in connection.execute(_SIZES, [[entry.name for entry in entries]])
        }
    if options.json:
        listed = [{**entry.to_json(), "bytes": sizes[entry.name][0], "place": entry.place} for entry in entries]
        print_document(kept=listed)
    elif entries:
        _print_table(entries, {name: text for name, (_, text) in sizes.items()})
    else:
        print("no preserved rows")


def _print_table(entries: Sequence[Entry], sizes: dict[str, str]) -> None:
    rows = [("id", "revision", "what", "rows", "size", "age", "kept until")]
    rows += [
        (
            entry.id,
            entry.revision,
            entry.what,
            "?" if entry.rows is None else f"{entry.rows:,}",
            sizes[entry.name],
            _age_of(entry),
            _why(entry),
        )
        for entry in entries
    ]
    print("\n".join(table(rows)))


def _why(entry: Entry) -> str:
    if entry.why:
        return "; ".join(f"{number:,}: {reason}" for reason, number in entry.why.items())
    restored_by = "" if entry.restored_by == Direction.UPGRADE else f"the {entry.restored_by} of "
    return f"restored by {restored_by}{entry.waits or entry.revision}"


def _age_of(entry: Entry) -> str:
    return lasted((datetime.now(UTC) - datetime.fromisoformat(entry.when)).total_seconds())


def _prune(options: Options, directory: Path) -> None:
    from pulumi_alembic.database.connection import connect
    from pulumi_alembic.migrate.data_loss.preserved_table import read

    url = database_url(directory, options.schema)
    with connect(url) as connection:
        going = _chosen(options, read(connection))
    if not going:
        print("no preserved rows are that old" if options.older_than else "no preserved rows")
        return
    if not options.yes:
        listing = "\n".join(f"  {entry.id}  {entry.described(entry.rows)}, of {entry.revision}" for entry in going)
        _ask(f"This deletes for good:\n{listing}\n")
    with connect(url) as connection:
        for entry in going:
            _remove(connection, entry, directory)
        connection.commit()
    print("\n".join(f"deleted {entry.id}: {entry.described(entry.rows)}" for entry in going))


def _chosen(options: Options, entries: Sequence[Entry]) -> list[Entry]:
    if sum(map(bool, (options.ids, options.older_than, options.all))) != 1:
        raise KeptError(
            "name what to delete: pulumi-alembic prune ID, pulumi-alembic prune --older-than 30d, or "
            "pulumi-alembic prune --all. List preserved rows: pulumi-alembic kept"
        )
    if unknown := sorted({*options.ids} - {entry.id for entry in entries}):
        raise KeptError(f"there are no preserved rows {unknown[0]}. List them: pulumi-alembic kept")
    if options.older_than:
        latest = datetime.now(UTC) - options.older_than
        return [entry for entry in entries if datetime.fromisoformat(entry.when) <= latest]
    return [entry for entry in entries if options.all or entry.id in options.ids]


def _remove(connection: Connection, entry: Entry, directory: Path) -> None:
    from pulumi_alembic.database.connection import read_heads
    from pulumi_alembic.ledger import ledger
    from pulumi_alembic.scripts.origin import Origin

    ledger.prepare(connection)
    connection.execute(f"SET LOCAL lock_timeout = '{_DROP_PATIENCE}'; DROP TABLE {entry.place}".encode())
    heads = read_heads(connection)
    detail = {"what": entry.described(entry.rows), "kept": entry.place, "revision": entry.revision}
    detail |= {name: getattr(entry, name) for name in ("id", "table", "columns", "rows")}
    row = ledger.Row(ledger.Event.PRUNED, ledger.Run(heads, heads), detail)
    ledger.note(connection, row, Origin.of(directory))


def _ask(what: str) -> None:
    if not sys.stdin.isatty():
        raise KeptError(f"{what}stdin is not a terminal: pass --yes")
    if input(f"{what}Continue? [y/N] ").strip().lower() not in ("y", "yes"):
        raise KeptError("cancelled: nothing was deleted")


def _age(_: click.Context, __: click.Parameter, text: str | None) -> timedelta | None:
    if text is None:
        return None
    if not (match := re.fullmatch(r"(\d{1,5})([dw])", text)):
        raise click.BadParameter(f"{text!r} is not an age such as 30d or 4w")
    return timedelta(days=int(match[1]) * _UNITS[match[2]])


COMMANDS = (
    command(_kept, "List the rows that downgrades and contracts preserved, newest first.", AS_JSON, TENANT),
    command(
        _prune,
        "Delete preserved rows for good.",
        argument("ids", metavar="[ID]...", nargs=-1),
        option(
            "--older-than",
            "Delete what was preserved longer ago than this, such as 30d.",
            metavar="AGE",
            callback=_age,
        ),
        flag("--all", "Delete all preserved rows."),
        flag("--yes", "Do not ask."),
        TENANT,
    ),
)
