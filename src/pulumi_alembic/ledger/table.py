"""The table of the ledger: its columns, its events, and the upgrade of tables from older versions."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from psycopg import sql

from pulumi_alembic.database.connection import VERSION_SCHEMA
from pulumi_alembic.database.tenant import SETTING, schema_of

if TYPE_CHECKING:
    from collections.abc import Collection

    from pulumi_alembic.database.connection import Connection

__all__ = ["LEDGER", "REPORTED_COLUMNS", "SKIPPED", "TABLE", "Event", "columns", "ours", "prepare"]


class Event(StrEnum):
    """The kind of a row.

    `applied`: the revision ran, and was committed together with its row.
    `intent`, `done`: a statement outside a transaction is about to run, and has run.
    `accepted`: a person accepted a changed script in place of the applied one.
    `failed`: the revision ran and was rolled back. The row was added afterwards.
    `adopted`: the revision did not run, because the database already was what it builds.
    `backfill`: a revision declared a backfill, or its state was decided.

    Events without a script:

    `stamped`: the heads were changed, and nothing ran.
    `backup`, `restored`: a backup was taken or restored.
    `kept`: a downgrade or a contract preserved rows. `put back`: they were restored. `pruned`: a person deleted them.
    `begun`, `snapshot`: the catalog before and after an update.
    `drift accepted`: a person accepted drift as expected.
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
"""The columns that a report needs: all except the scripts."""

SKIPPED = "rehearsal_skipped"
"""The key in `detail` of the reason why a revision ran despite its rehearsal."""

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

# Ledgers from before there were events contain only rows of applied revisions.
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

# A ledger from before runs were recorded has only rows with a script, and its owner's usual privileges. The owner can
# still drop the trigger and grant itself the revoked privileges, but not by accident.
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

# Allow the events that this version adds.
_ALLOW_EVENTS = f"""
ALTER TABLE {{table}} DROP CONSTRAINT IF EXISTS ledger_event_check, ADD CONSTRAINT ledger_event_check
    CHECK (event IN ({", ".join(f"'{event}'" for event in Event)}))
"""

# Only a database with tenants has the column. Its default is set afterwards, because older rows are no tenant's.
_ADD_TENANT = f"""
ALTER TABLE {{table}} ADD COLUMN tenant text;
ALTER TABLE {{table}} ALTER COLUMN tenant SET DEFAULT nullif(pg_catalog.current_setting('{SETTING}', true), '');
COMMENT ON COLUMN {{table}}.tenant IS 'the schema that the row is about; null for the database itself';
CREATE INDEX ledger_tenant ON {{table}} (tenant, revision, id) WHERE tenant IS NOT NULL;
CREATE INDEX ledger_restored ON {{table}} (id) WHERE event = 'restored';
"""


def columns(connection: Connection) -> frozenset[str]:
    """Return the columns of the ledger. Empty if there is no ledger, fewer if an older version created it."""
    rows = connection.execute(
        "SELECT attname FROM pg_attribute WHERE attrelid = to_regclass(%s) AND attnum > 0", [TABLE.as_string(None)]
    )
    return frozenset(name for (name,) in rows)


def ours(connection: Connection, column_names: Collection[str]) -> sql.Composable:
    """Return the condition for the rows of the session's tenant, or of the database itself, as SQL."""
    schema = schema_of(connection)
    if "tenant" not in column_names:
        return sql.SQL("false" if schema else "true")
    return sql.SQL("tenant = {}").format(sql.Literal(schema)) if schema else sql.SQL("tenant IS NULL")


def prepare(connection: Connection) -> None:
    """Create the ledger, or add what one of an older version lacks. The caller commits."""
    if all(_found(connection)):
        return
    with connection.transaction():
        # The lock is needed because two concurrent creations can fail, even with IF NOT EXISTS.
        connection.execute("SELECT pg_advisory_xact_lock(hashtext('pulumi_alembic.ledger'))")
        function = sql.Identifier(VERSION_SCHEMA, "ledger_is_append_only")
        for present, statements in zip(
            _found(connection), (_CREATE, _ADD_EVENTS, _ADD_RUNS, _ALLOW_EVENTS, _ADD_TENANT), strict=True
        ):
            if not present:
                connection.execute(sql.SQL(statements).format(table=TABLE, function=function))


def _found(connection: Connection) -> tuple[bool, ...]:
    """Return what the ledger has already: the table, the columns of events, those of runs, a check, the tenant.

    The check allows every event. Only a tenant's session needs the column of the tenant.
    """
    row = connection.execute(
        "SELECT to_regclass(%(table)s) IS NOT NULL, coalesce('event' = ANY (names), false),"
        " coalesce('heads_before' = ANY (names), false),"
        " coalesce((SELECT bool_and(strpos(pg_get_constraintdef(oid), quote_literal(event)) > 0) FROM pg_constraint,"
        " unnest(%(events)s::text[]) AS event WHERE conrelid = to_regclass(%(table)s)"
        " AND conname = 'ledger_event_check'), false),"
        " NOT %(tenants)s OR coalesce('tenant' = ANY (names), false) FROM (SELECT array_agg(attname::text) AS names"
        " FROM pg_attribute WHERE attrelid = to_regclass(%(table)s) AND NOT attisdropped) AS columns",
        {
            "table": TABLE.as_string(connection),
            "events": [*map(str, Event)],
            "tenants": bool(schema_of(connection)),
        },
    ).fetchone()
    return tuple(row or [False] * 5)
