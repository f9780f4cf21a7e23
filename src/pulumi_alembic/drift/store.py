"""Snapshots in the ledger: found by their digest, and proven by it, so that one that was forged is none."""

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
from pulumi_alembic.ledger.table import TABLE

if TYPE_CHECKING:
    from pulumi_alembic.database.connection import Connection
    from pulumi_alembic.scripts.origin import Origin

__all__ = ["Accepted", "Kept", "begin", "current", "find", "interrupted", "keep", "newest"]

_ROWS = """
SELECT event, checksum, source, detail, coalesce(person, applied_by::text), applied_at::timestamptz(0)::text
FROM {table} WHERE event = ANY (%s) AND (%s::text IS NULL OR checksum = %s)
    AND (%s::text IS NULL OR event = 'drift accepted' AND detail ->> 'expected' = %s)
ORDER BY id DESC LIMIT 1
"""


@dataclass(frozen=True)
class Accepted:
    """Who took what was there for what is expected, when and why."""

    who: str
    when: str
    reason: str

    def __str__(self) -> str:
        return f"{self.who} accepted drift on {self.when}: {self.reason}"


@dataclass(frozen=True)
class Kept:
    """A row of the ledger with this digest, if there is one."""

    digest: str
    when: str = ""
    row: Any = None

    @cached_property
    def snapshot(self) -> Snapshot | None:
        """The row's snapshot; None if there is no row, or its snapshot is not what its digest says."""
        with suppress(ValueError, TypeError):
            snapshot = Snapshot.unpack(bytes(self.row[2])) if self.row else None
            return snapshot if snapshot and snapshot.digest == self.row[1] else None
        return None

    @property
    def roles(self) -> list[str]:
        """The roles of the row's snapshot, which need not be what its digest says."""
        with suppress(ValueError, TypeError):
            return Snapshot.unpack_roles(bytes(self.row[2])) if self.row else []
        return []


def keep(
    connection: Connection, snapshot: Snapshot, origin: Origin, detail: Mapping[str, Any], event: Event = Event.SNAPSHOT
) -> None:
    """Add it, unless the newest row already is this one. Begins a transaction, and does not commit."""
    # Before the transaction: the snapshot of a large catalog takes seconds.
    digest, packed = snapshot.digest, snapshot.packed()
    row = _row(connection, [Event.SNAPSHOT, Event.BEGUN, Event.DRIFT_ACCEPTED])
    if event is Event.SNAPSHOT and row and row[0] != Event.BEGUN and row[1] == digest:
        return
    ledger.prepare(connection)
    heads = snapshot.heads
    ledger.note(connection, Row(event, Run(heads, heads), detail), origin, digest, packed)


def begin(connection: Connection, before: Snapshot, expected: str, origin: Origin) -> None:
    """From here on an update that does not come to its end is known to have begun from `before`. Does not commit."""
    keep(connection, before, origin, {"expected": expected}, Event.BEGUN)


def interrupted(connection: Connection, expected: str) -> Kept:
    """The snapshot from which an update began that expected this digest, and did not come to its end."""
    row = _row(connection, [Event.SNAPSHOT, Event.BEGUN, Event.DRIFT_ACCEPTED])
    if row is None or row[0] != Event.BEGUN or (row[3] or {}).get("expected") != expected:
        return Kept("")
    return Kept(str(row[1]), row=row)


def newest(connection: Connection) -> str:
    """The digest of what the ledger says is expected; empty where it holds no snapshot."""
    row = _row(connection, [Event.SNAPSHOT, Event.DRIFT_ACCEPTED])
    return str(row[1]) if row else ""


def find(connection: Connection, digest: str) -> Kept:
    """The snapshot with this digest."""
    row = _row(connection, [Event.SNAPSHOT, Event.DRIFT_ACCEPTED], checksum=digest)
    return Kept(digest, str(row[5]) if row else "", row)


def current(connection: Connection, digest: str) -> tuple[str, list[Accepted]]:
    """The digest that stands for this one since somebody accepted drift, and who did, the newest last."""
    seen, accepted = {digest}, []
    while (row := _row(connection, [Event.DRIFT_ACCEPTED], base=digest)) and row[1] not in seen:
        digest = str(row[1])
        seen.add(digest)
        accepted.append(Accepted(row[4], row[5], (row[3] or {}).get("reason", "")))
    return digest, accepted


def _row(connection: Connection, events: list[Event], *, checksum: str | None = None, base: str | None = None) -> Any:
    if "heads_before" not in ledger.columns(connection):
        return None
    query = sql.SQL(_ROWS).format(table=TABLE)
    return connection.execute(query, [[*map(str, events)], checksum, checksum, base, base]).fetchone()
