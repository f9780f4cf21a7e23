"""The table of the ledger: its columns, what its rows stand for, and how one of an older version becomes this one."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from psycopg import sql

from pulumi_alembic.database.connection import VERSION_SCHEMA

if TYPE_CHECKING:
    from pulumi_alembic.database.connection import Connection

__all__ = ["LEDGER", "REPORTED_COLUMNS", "SKIPPED", "TABLE", "Event", "columns", "prepare"]


class Event(StrEnum):
    """What a row stands for.

    `applied`: the revision ran, and was committed with its row. `intent` and `done`: a statement outside a transaction
    is about to run, and has run. `accepted`: somebody took a changed script for the applied one. `failed`: the
    revision ran, and was rolled back; the row was added afterwards. Of no script are `stamped`, which moved the heads
    and ran nothing, `backup`, and `restored`; nor `kept`, what a downgrade preserved, `put back` by a later upgrade or
    `pruned` by somebody; nor `snapshot`, which holds what the catalog defines after an update, `begun` before one, and
    `drift accepted`, where somebody took for expected what was there. `adopted` is a revision that did not run, as the
    database was already what it builds. `backfill` is one that a revision asked for, and what was decided of it later.
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
    BACKFILL = "backfill"


LEDGER = "ledger"
TABLE = sql.Identifier(VERSION_SCHEMA, LEDGER)

REPORTED_COLUMNS = (
    "id", "revision", "direction", "down_revisions", "checksum", "applied_by", "applied_at", "tools", "event",
    "phase", "statement", "detail", "heads_before", "heads_after", "stack", "commit", "person", "seconds",
    "statements", "backup",
)  # fmt: skip
"""The columns that a report needs: all but the scripts that ran."""

SKIPPED = "rehearsal_skipped"
"""The key of the reason in the ledger's detail of each revision that ran in spite of its rehearsal."""

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


def columns(connection: Connection) -> frozenset[str]:
    """The columns that the ledger has: none if there is no ledger, fewer where an older version made it."""
    rows = connection.execute(
        "SELECT attname FROM pg_attribute WHERE attrelid = to_regclass(%s) AND attnum > 0", [TABLE.as_string(None)]
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
        for present, statements in zip(
            _found(connection), (_CREATE, _ADD_EVENTS, _ADD_RUNS, _ALLOW_EVENTS), strict=True
        ):
            if not present:
                connection.execute(sql.SQL(statements).format(table=TABLE, function=function))


def _found(connection: Connection) -> tuple[bool, bool, bool, bool]:
    """Whether there is the table, whether it has the columns of events, those of runs, and takes every event."""
    row = connection.execute(
        "SELECT to_regclass(%(table)s) IS NOT NULL, coalesce('event' = ANY (names), false),"
        " coalesce('heads_before' = ANY (names), false),"
        " coalesce((SELECT bool_and(strpos(pg_get_constraintdef(oid), quote_literal(event)) > 0) FROM pg_constraint,"
        " unnest(%(events)s::text[]) AS event WHERE conrelid = to_regclass(%(table)s)"
        " AND conname = 'ledger_event_check'), false) FROM (SELECT array_agg(attname::text) AS names"
        " FROM pg_attribute WHERE attrelid = to_regclass(%(table)s) AND NOT attisdropped) AS columns",
        {"table": TABLE.as_string(connection), "events": [*map(str, Event)]},
    ).fetchone()
    return row or (False, False, False, False)
