"""Puts back what earlier downgrades kept, at the end of the upgrade of the same revision and in its transaction."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import psycopg

from pulumi_alembic import server_message
from pulumi_alembic.keeping.entry import Entry, describe, is_ready, read
from pulumi_alembic.keeping.leftover import left_of
from pulumi_alembic.keeping.merging import merge
from pulumi_alembic.keeping.rows import is_taken, put_rows_back
from pulumi_alembic.keeping.session import refusal, unchanging
from pulumi_alembic.keeping.values import put_values_back
from pulumi_alembic.ledger import ledger
from pulumi_alembic.ledger.ledger import Event, Run

if TYPE_CHECKING:
    from pulumi_alembic.database import Connection
    from pulumi_alembic.request import Request
    from pulumi_alembic.running import Running

__all__ = ["put_back"]

_KEYS = """
SELECT conrelid::bigint, confrelid::bigint FROM pg_constraint
WHERE contype = 'f' AND conrelid <> confrelid AND conrelid = ANY (%(tables)s) AND confrelid = ANY (%(tables)s)
"""


def put_back(session: Connection, running: Running, request: Request) -> bool:
    """What the running upgrade's way back had taken away is there again, as far as there is a place for it.

    What is not put back stays kept, says why, and fails nothing: neither are rows written over that are there. False
    where nothing at all was kept, of this revision or another: so it is for the rest of the run, for upgrades keep
    nothing, and nobody else migrates.
    """
    if not (kept := read(session)) or not is_ready(session):
        return bool(kept)
    mine = [each for each in kept if running.name in (each.revision, each.waits)]
    if not mine:
        return True
    # What the script left for the commit to check is checked now: nothing can be altered before.
    session.execute("SET CONSTRAINTS ALL IMMEDIATE")
    with unchanging(session):
        waiting = _waiting(session, mine, kept, running.following)
        for entry, revision in waiting:
            if entry.waits != revision:
                describe(session, replace(entry, waits=revision))
        later = {entry.id for entry, _ in waiting}
        entries = _ordered(session, _merged(session, [each for each in mine if each.id not in later]))
        taken = {each.into for each in entries if not each.columns and is_taken(session, each.into)}
        for entry in entries:
            _put_back(session, entry, entry.into in taken, running, request)
    return True


def _put_back(session: Connection, entry: Entry, taken: bool, running: Running, request: Request) -> None:
    try:
        with session.transaction():
            back, left = (
                put_values_back(session, entry) if entry.columns else put_rows_back(session, entry, taken=taken)
            )
    except psycopg.Error as error:
        back, left = 0, left_of(session, entry, server_message.primary(refusal(error)))
    told = entry.told(back)
    if back or left is None:
        detail = {
            "revision": running.name,
            "what": told,
            "kept": entry.place,
            "left": left.rows if left else 0,
            "why": dict(left.why) if left else {},
            **{name: getattr(entry, name) for name in ("id", "table", "columns")},
            "rows": back,
        }
        ledger.prepare(session)
        ledger.note(session, Event.PUT_BACK, Run(running.before, running.before), request.origin, detail)
        request.on_kept(f"{running.name}: puts back {told}")
    if left:
        reasons = "; ".join(f"{number:,}: {reason}" for reason, number in left.why.items())
        request.on_kept(f"{running.name}: still kept, {left.told(left.rows)} ({reasons}). See: pulumi-alembic kept")


def _waiting(
    session: Connection, mine: Sequence[Entry], kept: Sequence[Entry], following: Sequence[str]
) -> list[tuple[Entry, str]]:
    """The rows that a later revision of this run is to come first for, and that revision.

    It adds a column that no row can be without and that has no default: with rows in the table it would fail. Their
    values are kept as well. What refers to rows that wait waits with them.
    """
    until: dict[str, int] = {}
    for place, revision in enumerate(following):
        for each in kept:
            if each.revision == revision and each.required:
                until[each.into] = place
    if not until:
        return []
    tables = {each.into: oid for each in mine if (oid := _oid(session, each.into))}
    keys = _keys(session, [*tables.values()])
    names = {oid: name for name, oid in tables.items()}
    for _ in tables:
        for child, parent in keys:
            if (place := until.get(names[parent], -1)) > until.get(names[child], -1):
                until[names[child]] = place
    return [(each, following[until[each.into]]) for each in mine if each.into in until]


def _merged(session: Connection, entries: Sequence[Entry]) -> Iterator[Entry]:
    """The entries, rows with the values of those of their columns that were taken away before them."""
    waited = [each for each in entries if each.waits and not each.columns]
    used: set[str] = set()
    for rows in waited:
        values = [each for each in entries if each.columns and each.into == rows.into]
        used |= {each.id for each in values if _is_merged(session, rows, each)}
    return (each for each in read(session) if each.id in {one.id for one in entries} - used)


def _is_merged(session: Connection, rows: Entry, values: Entry) -> bool:
    try:
        with session.transaction():
            return merge(session, rows, values)
    except psycopg.Error as error:
        refusal(error)
    return False


def _ordered(session: Connection, entries: Iterator[Entry]) -> list[Entry]:
    """What others refer to comes first, rows before values, and of the same table the newest."""
    found = list(entries)
    tables = {each.into: oid for each in found if (oid := _oid(session, each.into))}
    keys = _keys(session, [*tables.values()])
    rank = dict.fromkeys(tables.values(), 0)
    for _ in rank:
        for child, parent in keys:
            rank[child] = max(rank[child], min(rank[parent] + 1, len(rank)))
    return sorted(found, key=lambda each: (bool(each.columns), rank.get(tables.get(each.into, 0), 0)))


def _oid(session: Connection, table: str) -> int | None:
    [(oid,)] = session.execute("SELECT to_regclass(%s)::oid::bigint", [table]).fetchall()
    return None if oid is None else int(oid)


def _keys(session: Connection, tables: Collection[int]) -> list[tuple[int, int]]:
    return [(child, parent) for child, parent in session.execute(_KEYS, {"tables": list(tables)}).fetchall()]
