"""Stored state of backfills: declarations and decisions in the ledger, positions in the table `migrations.batches`."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from psycopg import sql

from pulumi_alembic.database.connection import read_heads
from pulumi_alembic.errors import BackfillError
from pulumi_alembic.ledger import ledger
from pulumi_alembic.ledger.ledger import STANDING, Event
from pulumi_alembic.ledger.table import TABLE, ours
from pulumi_alembic.migrate.blocks.walk import POSITIONS

if TYPE_CHECKING:
    from pulumi_alembic.database.connection import Connection
    from pulumi_alembic.scripts.origin import Origin

__all__ = ["OPEN", "Backfill", "State", "choose", "decide", "read", "state_of"]


class State(StrEnum):
    """The state of a backfill. Only pending ones are worked at."""

    PENDING = "pending"
    PAUSED = "paused"
    CANCELLED = "cancelled"
    VERIFIED = "verified"


OPEN = (State.PENDING, State.PAUSED)

# A backfill ends with the downgrade of its revision.
_BACKFILLS = f"""
WITH {STANDING}
SELECT begun.id, begun.revision, begun.detail, coalesce((
    SELECT later.detail ->> 'state' FROM standing later
    WHERE later.event = 'backfill' AND (later.detail ->> 'backfill')::bigint = begun.id ORDER BY later.id DESC LIMIT 1
), 'pending')
FROM standing begun
WHERE begun.event = 'backfill' AND begun.detail ->> 'table' IS NOT NULL AND NOT EXISTS (
    SELECT FROM standing later WHERE later.event = 'applied' AND later.direction = 'downgrade'
        AND later.revision = begun.revision AND later.id > begun.id
)
ORDER BY begun.id
"""  # noqa: S608 - no value is put into it

_PROGRESS = f"""
SELECT intent, sum(walked)::bigint, sum(changed)::bigint, max(moved_at) FROM {POSITIONS} WHERE intent = ANY (%s)
GROUP BY intent
"""  # noqa: S608

_STATE = """
SELECT detail ->> 'state' FROM {table} WHERE event = 'backfill' AND id > %s AND (detail ->> 'backfill')::bigint = %s
ORDER BY id DESC LIMIT 1
"""


@dataclass(frozen=True)
class Backfill:
    """One backfill.

    Attributes:
        id: the id of its row in the ledger.
        table: as SQL, like `set` and `where`.
        walked: rows that were looked at so far.
        changed: rows that were set so far.
        moved_at: when the last batch ended. None before the first.

    """

    id: int
    revision: str
    table: str
    set: str
    where: str
    key: tuple[str, ...]
    state: State
    walked: int = 0
    changed: int = 0
    moved_at: datetime | None = None

    def __str__(self) -> str:
        return f"backfill {self.id} of {self.table} ({self.revision})"

    def to_json(self) -> dict[str, Any]:
        """Return the backfill as JSON values, with times in ISO 8601."""
        document = {
            name: getattr(self, name) for name in ("id", "revision", "table", "set", "where", "walked", "changed")
        }
        moved = self.moved_at.isoformat() if self.moved_at else None
        return {**document, "key": [*self.key], "state": self.state.value, "moved_at": moved}


def read(connection: Connection) -> list[Backfill]:
    """Return the backfills that applied revisions declared, oldest first. Nothing is changed."""
    columns = ledger.columns(connection)
    if "event" not in columns:
        return []
    query = sql.SQL(_BACKFILLS).format(table=TABLE, ours=ours(connection, columns))
    rows = connection.execute(query).fetchall()
    if not rows:
        return []
    done: dict[int, tuple[Any, ...]] = {}
    if connection.execute("SELECT to_regclass(%s)", [POSITIONS]).fetchone() != (None,):
        connection.execute("SET datestyle = ISO")
        done = {id: counts for id, *counts in connection.execute(_PROGRESS.encode(), [[row[0] for row in rows]])}  # type: ignore[misc]
    return [
        Backfill(
            *(id, revision, detail["table"], detail["set"], detail["where"], tuple(detail["key"]), State(state)),
            *done.get(id, ()),
        )
        for id, revision, detail, state in rows
    ]


def state_of(connection: Connection, backfill: Backfill) -> State:
    """Return the state that was decided last."""
    row = connection.execute(sql.SQL(_STATE).format(table=TABLE), [backfill.id, backfill.id]).fetchone()
    return State(row[0]) if row else State.PENDING


def decide(connection: Connection, backfill: Backfill, state: State, origin: Origin, reason: str = "") -> None:
    """Record the state of a backfill in the ledger. Does not commit.

    Args:
        connection: a session of the database.
        backfill: whose state is decided.
        state: the new state.
        origin: who decided it, from where.
        reason: why. Empty if no person decided it.

    """
    heads = read_heads(connection)
    detail = {"backfill": backfill.id, "revision": backfill.revision, "name": backfill.table, "state": state.value}
    detail |= {"changed": backfill.changed} | ({"reason": reason} if reason else {})
    ledger.note(connection, ledger.Row(Event.BACKFILL, ledger.Run(heads, heads), detail), origin)


def choose(backfills: Collection[Backfill], ids: Collection[int]) -> list[Backfill]:
    """Return the backfills with these ids, or all if there are none. Raises BackfillError for an unknown id."""
    if unknown := sorted({*ids} - {backfill.id for backfill in backfills}):
        raise BackfillError(f"there is no backfill {unknown[0]}. List them: pulumi-alembic backfill status")
    return [backfill for backfill in backfills if not ids or backfill.id in ids]
