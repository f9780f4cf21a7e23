"""The ledger: what was done to a revision, one row for each event, in its own database. Rows are only ever added."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from psycopg import sql

from pulumi_alembic.database import VERSION_SCHEMA

if TYPE_CHECKING:
    from pulumi_alembic.database import Connection
    from pulumi_alembic.plan import Direction
    from pulumi_alembic.script import Revision

__all__ = ["Attempt", "Event", "attempts", "prepare", "record"]


class Event(StrEnum):
    """What a row stands for.

    `applied`: the revision ran, and was committed with its row. `intent` and `done`: a statement outside a transaction
    is about to run, and has run. `accepted`: somebody took a changed script for the applied one.
    """

    APPLIED = "applied"
    INTENT = "intent"
    DONE = "done"
    ACCEPTED = "accepted"


@dataclass(frozen=True)
class Attempt:
    """A statement outside a transaction that was begun since its revision last was applied; `id` is its intent's."""

    id: int
    revision: str
    direction: str
    phase: int
    statement: str
    detail: dict[str, Any]
    done: bool


_TABLE = sql.Identifier(VERSION_SCHEMA, "ledger")

_CREATE = """
CREATE TABLE {table} (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    revision text NOT NULL,
    direction text NOT NULL CHECK (direction IN ('upgrade', 'downgrade')),
    down_revisions text[] NOT NULL,
    checksum text NOT NULL,
    source bytea NOT NULL,
    applied_by name NOT NULL DEFAULT session_user,
    applied_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    tools jsonb NOT NULL
);
COMMENT ON TABLE {table} IS 'what was done to each revision, oldest first; a row stands for what was committed';
COMMENT ON COLUMN {table}.down_revisions IS 'the revisions it builds on, as its script said';
COMMENT ON COLUMN {table}.checksum IS 'digest of the script as it ran; the prefix names the formula';
COMMENT ON COLUMN {table}.source IS 'the script as it ran, zlib-compressed UTF-8';
COMMENT ON COLUMN {table}.tools IS 'versions of the tools that ran it';
"""

# Ledgers made before there were events have only rows of revisions that were applied.
_ADD_EVENTS = """
ALTER TABLE {table}
    ADD COLUMN event text NOT NULL DEFAULT 'applied' CHECK (event IN ('intent', 'done', 'applied', 'accepted')),
    ADD COLUMN phase int,
    ADD COLUMN statement text,
    ADD COLUMN detail jsonb;
COMMENT ON COLUMN {table}.event IS 'applied: a run was committed; intent, done: a statement outside a transaction';
COMMENT ON COLUMN {table}.phase IS 'which of the revision''s statements outside a transaction, from 1';
COMMENT ON COLUMN {table}.statement IS 'the statement of intent and done';
COMMENT ON COLUMN {table}.detail IS 'what is known of the event: its session, its reason';
"""

_INSERT = (
    sql.SQL("""
INSERT INTO {table}
    (revision, direction, down_revisions, checksum, source, tools, event, phase, statement, detail)
VALUES (
    %(revision)s, %(direction)s, %(down_revisions)s, %(checksum)s, %(source)s, %(tools)s,
    %(event)s, %(phase)s, %(statement)s, %(detail)s
)
RETURNING id
""")
    .format(table=_TABLE)
    .as_bytes()
)

_ATTEMPTS = """
SELECT intent.id, intent.revision, intent.direction, intent.phase, intent.statement, coalesce(intent.detail, '{{}}'),
    EXISTS (
        SELECT FROM {table} done WHERE done.event = 'done' AND (done.detail ->> 'intent')::bigint = intent.id
    )
FROM {table} intent
WHERE event = 'intent' AND NOT EXISTS (
    SELECT FROM {table} later
    WHERE later.event = 'applied' AND later.revision = intent.revision AND later.id > intent.id
)
ORDER BY intent.id
"""


def record(
    connection: Connection,
    revision: Revision,
    direction: Direction,
    tools: str,
    event: Event = Event.APPLIED,
    *,
    phase: int | None = None,
    statement: str | None = None,
    detail: Mapping[str, Any] | None = None,
) -> int:
    """Add one row, and return its id; `tools` is a JSON object. Does not commit.

    That of a run belongs in the transaction of the run itself, so that both are there or neither. `prepare` has made
    the table.
    """
    row = {
        "revision": revision.id,
        "direction": direction.value,
        "down_revisions": list(revision.down_revisions),
        "checksum": revision.checksum,
        "source": zlib.compress(revision.source.encode(), 9),
        "tools": tools,
        "event": event.value,
        "phase": phase,
        "statement": statement,
        "detail": None if detail is None else json.dumps(detail),
    }
    [id] = connection.execute(_INSERT, row).fetchone() or (0,)
    return int(id)


def attempts(connection: Connection) -> list[Attempt]:
    """What was begun outside a transaction, and whose revision was not applied since; oldest first."""
    if not all(_found(connection)):
        return []
    return [Attempt(*row) for row in connection.execute(sql.SQL(_ATTEMPTS).format(table=_TABLE))]


def prepare(connection: Connection) -> None:
    """There is a ledger with all its columns from here on, or from the commit on that the caller makes."""
    if all(_found(connection)):
        return
    with connection.transaction():
        # Two that create it at once would fail, IF NOT EXISTS or not.
        connection.execute("SELECT pg_advisory_xact_lock(hashtext('pulumi_alembic.ledger'))")
        table, events = _found(connection)
        if not table:
            connection.execute(sql.SQL(_CREATE).format(table=_TABLE))
        if not events:
            connection.execute(sql.SQL(_ADD_EVENTS).format(table=_TABLE))


def _found(connection: Connection) -> tuple[bool, bool]:
    """Whether there is the table, and whether it has the columns of events."""
    row = connection.execute(
        "SELECT to_regclass(%(table)s) IS NOT NULL, EXISTS (SELECT FROM pg_attribute"
        " WHERE attrelid = to_regclass(%(table)s) AND attname = 'event' AND NOT attisdropped)",
        {"table": _TABLE.as_string(connection)},
    ).fetchone()
    return row or (False, False)
