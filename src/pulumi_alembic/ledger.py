"""The ledger: what was done to a revision, one row for each event, in its own database. Rows are only ever added."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from psycopg import sql

from pulumi_alembic.database import VERSION_SCHEMA

if TYPE_CHECKING:
    from pulumi_alembic.database import Connection
    from pulumi_alembic.origin import Origin
    from pulumi_alembic.plan import Direction
    from pulumi_alembic.script import Revision

__all__ = ["STANDING", "Attempt", "Event", "Run", "attempts", "columns", "note", "prepare", "record"]


class Event(StrEnum):
    """What a row stands for.

    `applied`: the revision ran, and was committed with its row. `intent` and `done`: a statement outside a transaction
    is about to run, and has run. `accepted`: somebody took a changed script for the applied one. `failed`: the
    revision ran, and was rolled back; the row was added afterwards. Of no script are `stamped`, which moved the heads
    and ran nothing, `backup`, and `restored`; nor `kept`, what a downgrade set aside, `put back` by a later upgrade or
    `pruned` by somebody; nor `snapshot`, which holds what the catalog defines after an update, `begun` before one, and
    `drift accepted`, where somebody took for expected what was there. `adopted` is a revision that did not run, as the
    database was already what it builds.
    """

    APPLIED = "applied"
    INTENT = "intent"
    DONE = "done"
    ACCEPTED = "accepted"
    FAILED = "failed"
    STAMPED = "stamped"
    BACKUP = "backup"
    RESTORED = "restored"
    KEPT = "kept"
    PUT_BACK = "put back"
    PRUNED = "pruned"
    SNAPSHOT = "snapshot"
    BEGUN = "begun"
    DRIFT_ACCEPTED = "drift accepted"
    ADOPTED = "adopted"


@dataclass(frozen=True)
class Run:
    """What is known of a run beside its script: the heads before and after, how long it took, and how much it sent."""

    before: Sequence[str]
    after: Sequence[str]
    seconds: float | None = None
    statements: int | None = None
    backup: str = ""


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
    ADD COLUMN event text NOT NULL DEFAULT 'applied',
    ADD COLUMN phase int,
    ADD COLUMN statement text,
    ADD COLUMN detail jsonb;
COMMENT ON COLUMN {table}.event IS 'applied: a run was committed; intent, done: a statement outside a transaction';
COMMENT ON COLUMN {table}.phase IS 'which of the revision''s statements outside a transaction, from 1';
COMMENT ON COLUMN {table}.statement IS 'the statement of intent and done';
COMMENT ON COLUMN {table}.detail IS 'what is known of the event: its session, its reason';
"""

# Made before runs were told of, a ledger has only rows with a script, and its owner's usual privileges. The owner keeps
# what an owner has: it can take the trigger off, and grant itself what is revoked here. That it does not by accident.
_ADD_RUNS = """
ALTER TABLE {table}
    ALTER COLUMN direction DROP NOT NULL,
    ALTER COLUMN checksum DROP NOT NULL,
    ALTER COLUMN source DROP NOT NULL,
    ADD COLUMN heads_before text[],
    ADD COLUMN heads_after text[],
    ADD COLUMN stack text,
    ADD COLUMN commit text,
    ADD COLUMN person text,
    ADD COLUMN seconds double precision,
    ADD COLUMN statements int,
    ADD COLUMN backup text,
    DROP CONSTRAINT IF EXISTS ledger_event_check,
    ADD CONSTRAINT ledger_event_check CHECK (event IN (
        'intent', 'done', 'applied', 'accepted', 'failed', 'stamped', 'backup', 'restored'
    ));
COMMENT ON COLUMN {table}.heads_before IS 'the revisions that the database was at';
COMMENT ON COLUMN {table}.heads_after IS 'the revisions that the database was at from then on';
COMMENT ON COLUMN {table}.commit IS 'that of the scripts; with + where they were not as committed';
COMMENT ON COLUMN {table}.person IS 'whose login of the machine it was, or whom CI ran it for';
COMMENT ON COLUMN {table}.statements IS 'how many the revision sent';
COMMENT ON COLUMN {table}.backup IS 'the backup that was made before the run, or restored';
CREATE OR REPLACE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
    RAISE insufficient_privilege USING MESSAGE = 'rows of the ledger are only ever added: ' || TG_OP || ' is refused';
END $$;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} EXECUTE FUNCTION {function}();
ALTER TABLE {table} ENABLE ALWAYS TRIGGER append_only;
REVOKE UPDATE, DELETE, TRUNCATE ON {table} FROM CURRENT_USER;
"""

# What a ledger of an older version may not hold, this one may add.
_ALLOW_EVENTS = f"""
ALTER TABLE {{table}} DROP CONSTRAINT IF EXISTS ledger_event_check, ADD CONSTRAINT ledger_event_check
    CHECK (event IN ({", ".join(f"'{event}'" for event in Event)}))
"""

_COLUMNS = (
    *(
        "revision",
        "direction",
        "down_revisions",
        "checksum",
        "source",
        "tools",
        "event",
        "phase",
        "statement",
        "detail",
    ),
    *("heads_before", "heads_after", "stack", "commit", "person", "seconds", "statements", "backup"),
)

_INSERT = (
    sql.SQL("INSERT INTO {table} ({columns}) VALUES ({values}) RETURNING id")
    .format(
        table=_TABLE,
        columns=sql.SQL(", ").join(map(sql.Identifier, _COLUMNS)),
        values=sql.SQL(", ").join(map(sql.Placeholder, _COLUMNS)),
    )
    .as_bytes()
)

STANDING = """
restored AS MATERIALIZED (
    SELECT id, (detail ->> 'ledger')::bigint AS kept FROM {table} WHERE event = 'restored'
),
standing AS NOT MATERIALIZED (
    SELECT * FROM {table} row WHERE NOT EXISTS (SELECT FROM restored WHERE row.id > kept AND row.id < restored.id)
)
"""
"""For a WITH: `standing` is the ledger without the rows of what a restore took back."""

_ATTEMPTS = f"""
WITH {STANDING}
SELECT intent.id, intent.revision, intent.direction, intent.phase, intent.statement,
    coalesce(intent.detail, '{{{{}}}}'),
    EXISTS (
        SELECT FROM standing done WHERE done.event = 'done' AND (done.detail ->> 'intent')::bigint = intent.id
    )
FROM standing intent
WHERE event = 'intent' AND NOT EXISTS (
    SELECT FROM standing later
    WHERE later.event = 'applied' AND later.revision = intent.revision AND later.id > intent.id
)
ORDER BY intent.id
"""  # noqa: S608 - no value is put into it


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
    origin: Origin | None = None,
    run: Run | None = None,
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
    return _insert(connection, row, origin, run)


def note(
    connection: Connection,
    event: Event,
    run: Run,
    origin: Origin | None,
    detail: Mapping[str, Any] | None = None,
    *,
    checksum: str | None = None,
    source: bytes | None = None,
) -> int:
    """As `record`, of what has no script: the database came from the heads before to those after, by no revision.

    `source` is what the event left to keep, in place of a script, and `checksum` its digest.
    """
    row: dict[str, Any] = {
        "revision": "+".join(sorted(run.after)) or "base",
        "down_revisions": [],
        "tools": "{}",
        "checksum": checksum,
        "source": source,
        "event": event.value,
        "detail": None if detail is None else json.dumps(detail),
    }
    return _insert(connection, row, origin, run)


def _insert(connection: Connection, row: dict[str, Any], origin: Origin | None, run: Run | None) -> int:
    known = dict.fromkeys(_COLUMNS) | row
    if origin:
        known |= {"stack": origin.stack or None, "commit": origin.commit or None, "person": origin.by or None}
    if run:
        known |= {"heads_before": sorted(run.before), "heads_after": sorted(run.after), "backup": run.backup or None}
        known |= {"seconds": run.seconds, "statements": run.statements}
    [id] = connection.execute(_INSERT, known).fetchone() or (0,)
    return int(id)


def attempts(connection: Connection) -> list[Attempt]:
    """What was begun outside a transaction, and whose revision was not applied since; oldest first."""
    if not all(_found(connection)[:2]):
        return []
    return [Attempt(*row) for row in connection.execute(sql.SQL(_ATTEMPTS).format(table=_TABLE))]


def columns(connection: Connection) -> frozenset[str]:
    """The columns that the ledger has: none where there is no ledger, fewer where an older version made it."""
    rows = connection.execute(
        "SELECT attname FROM pg_attribute WHERE attrelid = to_regclass(%s) AND attnum > 0", [_TABLE.as_string(None)]
    )
    return frozenset(name for (name,) in rows)


def prepare(connection: Connection) -> None:
    """There is a ledger with all its columns from here on, or from the commit on that the caller makes."""
    if all(_found(connection)):
        return
    with connection.transaction():
        # Two that create it at once would fail, IF NOT EXISTS or not.
        connection.execute("SELECT pg_advisory_xact_lock(hashtext('pulumi_alembic.ledger'))")
        function = sql.Identifier(VERSION_SCHEMA, "ledger_is_append_only")
        for there, statements in zip(_found(connection), (_CREATE, _ADD_EVENTS, _ADD_RUNS, _ALLOW_EVENTS), strict=True):
            if not there:
                connection.execute(sql.SQL(statements).format(table=_TABLE, function=function))


def _found(connection: Connection) -> tuple[bool, bool, bool, bool]:
    """Whether there is the table, whether it has the columns of events, those of runs, and takes every event."""
    row = connection.execute(
        "SELECT to_regclass(%(table)s) IS NOT NULL, coalesce('event' = ANY (names), false),"
        " coalesce('heads_before' = ANY (names), false),"
        " coalesce((SELECT bool_and(strpos(pg_get_constraintdef(oid), quote_literal(event)) > 0) FROM pg_constraint,"
        " unnest(%(events)s::text[]) AS event WHERE conrelid = to_regclass(%(table)s)"
        " AND conname = 'ledger_event_check'), false) FROM (SELECT array_agg(attname::text) AS names"
        " FROM pg_attribute WHERE attrelid = to_regclass(%(table)s) AND NOT attisdropped) AS columns",
        {"table": _TABLE.as_string(connection), "events": [*map(str, Event)]},
    ).fetchone()
    return row or (False, False, False, False)
