"""Snapshots in the ledger. A snapshot is found by its digest, and ignored if it does not match that."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from psycopg import sql

from pulumi_alembic.drift.difference.snapshot import Snapshot
from pulumi_alembic.ledger import ledger
from pulumi_alembic.ledger.ledger import Event, Row, Run
from pulumi_alembic.ledger.table import TABLE, ours

if TYPE_CHECKING:
    from pulumi_alembic.database.connection import Connection
    from pulumi_alembic.scripts.origin import Origin

__all__ = ["Accepted", "Kept", "begin", "current", "find", "interrupted", "keep", "newest"]

_ROWS = """
SELECT event, checksum, source, detail, coalesce(person, applied_by::text), applied_at::timestamptz(0)::text
FROM {table} WHERE {ours} AND event = ANY (%s) AND (%s::text IS NULL OR checksum = %s)
    AND (%s::text IS NULL OR event = 'drift accepted' AND detail ->> 'expected' = %s)
ORDER BY id DESC LIMIT 1
"""


@dataclass(frozen=True)
class Accepted:
    """Who accepted drift as expected, when and why."""

    who: str
    when: str
    reason: str

    def __str__(self) -> str:
        return f"{self.who} accepted drift on {self.when}: {self.reason}"


@dataclass(frozen=True)
class Kept:
    """The row of the ledger with this digest, if there is one."""

    digest: str
    when: str = ""
    row: Any = None

    @cached_property
    def snapshot(self) -> Snapshot | None:
        """The row's snapshot. None if there is no row, or the snapshot does not match its digest."""
        with suppress(ValueError, TypeError):
            snapshot = Snapshot.unpack(bytes(self.row[2])) if self.row else None
            return snapshot if snapshot and snapshot.digest == self.row[1] else None
        return None

    @property
    def roles(self) -> list[str]:
        """The roles of the row's snapshot, without verifying its digest."""
        with suppress(ValueError, TypeError):
            return Snapshot.unpack_roles(bytes(self.row[2])) if self.row else []
        return []


def keep(
    connection: Connection, snapshot: Snapshot, origin: Origin, detail: Mapping[str, Any], event: Event = Event.SNAPSHOT
) -> None:
    """Add a row with the snapshot, unless the newest row has the same one. Does not commit.

    Args:
        connection: a session of the database.
        snapshot: what the row contains.
        origin: who caused it, from where.
        detail: the detail of the row.
        event: SNAPSHOT, BEGUN or DRIFT_ACCEPTED.

    """
    # Pack it before the transaction begins, because that takes seconds for a large catalog.
    digest, packed = snapshot.digest, snapshot.packed()
    row = _row(connection, [Event.SNAPSHOT, Event.BEGUN, Event.DRIFT_ACCEPTED])
    if event is Event.SNAPSHOT and row and row[0] != Event.BEGUN and row[1] == digest:
        return
    ledger.prepare(connection)
    heads = snapshot.heads
    ledger.note(connection, Row(event, Run(heads, heads), detail), origin, digest, packed)


def begin(connection: Connection, before: Snapshot, expected: str, origin: Origin) -> None:
    """Record that an update begins from `before`, in case it does not complete. Does not commit.

    Args:
        connection: a session of the database.
        before: the snapshot before the update.
        expected: the digest in the stack's state.
        origin: who updates, from where.

    """
    keep(connection, before, origin, {"expected": expected}, Event.BEGUN)


def interrupted(connection: Connection, expected: str) -> Kept:
    """Return the snapshot from the beginning of an update that expected this digest and did not complete."""
    row = _row(connection, [Event.SNAPSHOT, Event.BEGUN, Event.DRIFT_ACCEPTED])
    if row is None or row[0] != Event.BEGUN or (row[3] or {}).get("expected") != expected:
        return Kept("")
    return Kept(str(row[1]), row=row)


def newest(connection: Connection) -> str:
    """Return the digest of the newest expected snapshot in the ledger. Empty if there is none."""
    row = _row(connection, [Event.SNAPSHOT, Event.DRIFT_ACCEPTED])
    return str(row[1]) if row else ""


def find(connection: Connection, digest: str) -> Kept:
    """Return the row with this digest."""
    row = _row(connection, [Event.SNAPSHOT, Event.DRIFT_ACCEPTED], checksum=digest)
    return Kept(digest, str(row[5]) if row else "", row)


def current(connection: Connection, digest: str) -> tuple[str, list[Accepted]]:
    """Return the digest that replaces this one since drift was accepted, and who accepted it, the newest last."""
    seen, accepted = {digest}, []
    while (row := _row(connection, [Event.DRIFT_ACCEPTED], base=digest)) and row[1] not in seen:
        digest = str(row[1])
        seen.add(digest)
        accepted.append(Accepted(row[4], row[5], (row[3] or {}).get("reason", "")))
    return digest, accepted


def _row(connection: Connection, events: list[Event], *, checksum: str | None = None, base: str | None = None) -> Any:
    columns = ledger.columns(connection)
    if "heads_before" not in columns:
        return None
    query = sql.SQL(_ROWS).format(table=TABLE, ours=ours(connection, columns))
    return connection.execute(query, [[*map(str, events)], checksum, checksum, base, base]).fetchone()
