"""The stored setting of when contracts run, for migrations by hand, and the times at which expands were applied."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from psycopg import sql

from pulumi_alembic.database.connection import VERSION_SCHEMA
from pulumi_alembic.ledger import ledger, table
from pulumi_alembic.scripts.phases import Applied

if TYPE_CHECKING:
    from pulumi_alembic.database.connection import Connection

__all__ = ["POLICY", "applied", "read", "write"]

POLICY = "policy"
_TABLE = sql.Identifier(VERSION_SCHEMA, POLICY)

_CREATE = """
CREATE TABLE IF NOT EXISTS {table} (name text PRIMARY KEY, value text NOT NULL);
COMMENT ON TABLE {table} IS 'settings of the stack that hold for migrations by hand too, as its last update had them';
"""

_NAME = "contract"


def read(connection: Connection) -> str:
    """Return when contracts run, as `phases.parse` returns it. Empty if no update stored it."""
    if not _is_there(connection):
        return ""
    query = sql.SQL("SELECT value FROM {table} WHERE name = %s").format(table=_TABLE)
    return "".join(value for (value,) in connection.execute(query, [_NAME]))


def write(connection: Connection, when: str) -> None:
    """Store when contracts run. Empty is the default, which needs no table. Does not commit."""
    if when == read(connection):
        return
    if not _is_there(connection):
        connection.execute(sql.SQL(_CREATE).format(table=_TABLE))
    connection.execute(sql.SQL("DELETE FROM {table} WHERE name = %s").format(table=_TABLE), [_NAME])
    if when:
        statement = sql.SQL("INSERT INTO {table} (name, value) VALUES (%s, %s)").format(table=_TABLE)
        connection.execute(statement, [_NAME, when])


def applied(connection: Connection, revisions: Collection[str]) -> Applied:
    """Return when these revisions were applied here by a run. Others are left out."""
    now = _now(connection)
    columns = table.columns(connection)
    if not columns or not revisions:
        return Applied(now)
    clause, names = ledger.standing(connection, columns)
    query = sql.SQL(
        " SELECT DISTINCT ON (revision) revision, {event} = 'applied' AND direction = 'upgrade', applied_at FROM {rows}"
        " WHERE revision = ANY (%s) AND {event} IN ('applied', 'adopted') ORDER BY revision, id DESC"
    ).format(**names)
    rows = connection.execute(sql.Composed([clause, query]), [[*revisions]]).fetchall()
    return Applied(now, {revision: at.astimezone(UTC) for revision, ran, at in rows if ran})


def _now(connection: Connection) -> datetime:
    [(now,)] = connection.execute("SELECT clock_timestamp()").fetchall()
    return now.astimezone(UTC)  # type: ignore[no-any-return]


def _is_there(connection: Connection) -> bool:
    [(exists,)] = connection.execute("SELECT to_regclass(%s) IS NOT NULL", [_TABLE.as_string(None)]).fetchall()
    return bool(exists)
