"""The ledger: one row for every run of a revision, in the database it ran in. Rows are only ever added."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

from psycopg import sql

from pulumi_alembic.database import VERSION_SCHEMA

if TYPE_CHECKING:
    from pulumi_alembic.database import Connection
    from pulumi_alembic.history import Revision
    from pulumi_alembic.plan import Direction

__all__ = ["record"]

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
COMMENT ON TABLE {table} IS 'every run of a revision, oldest first; a row stands for a run that was committed';
COMMENT ON COLUMN {table}.down_revisions IS 'the revisions it builds on, as its script said';
COMMENT ON COLUMN {table}.checksum IS 'digest of the script as it ran; the prefix names the formula';
COMMENT ON COLUMN {table}.source IS 'the script as it ran, zlib-compressed UTF-8';
COMMENT ON COLUMN {table}.tools IS 'versions of the tools that ran it';
"""

_INSERT = """
INSERT INTO {table} (revision, direction, down_revisions, checksum, source, tools)
VALUES (%(revision)s, %(direction)s, %(down_revisions)s, %(checksum)s, %(source)s, %(tools)s)
"""


def record(connection: Connection, revision: Revision, direction: Direction, tools: str) -> None:
    """Add the row of one run, and the table before the first; `tools` is a JSON object. Does not commit.

    It belongs in the transaction of the run itself, so that both are there or neither.
    """
    _ensure_table(connection)
    row = {
        "revision": revision.id,
        "direction": direction.value,
        "down_revisions": list(revision.down_revisions),
        "checksum": revision.checksum,
        "source": zlib.compress(revision.source.encode(), 9),
        "tools": tools,
    }
    connection.execute(sql.SQL(_INSERT).format(table=_TABLE), row)


def _ensure_table(connection: Connection) -> None:
    if _exists(connection):
        return
    # Two that create it at once would fail, IF NOT EXISTS or not.
    connection.execute("SELECT pg_advisory_xact_lock(hashtext('pulumi_alembic.ledger'))")
    if not _exists(connection):
        connection.execute(sql.SQL(_CREATE).format(table=_TABLE))


def _exists(connection: Connection) -> bool:
    return connection.execute("SELECT to_regclass(%s)", [_TABLE.as_string(connection)]).fetchone() != (None,)
