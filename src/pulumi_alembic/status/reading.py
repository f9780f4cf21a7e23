"""What one database says of itself, read in a transaction that can write nothing."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from psycopg import sql

from pulumi_alembic.database.connection import VERSION_SCHEMA, Session, connect, read_catalog, read_heads
from pulumi_alembic.database.reachable import knock
from pulumi_alembic.ledger import records
from pulumi_alembic.ledger.table import Event
from pulumi_alembic.sql.catalog import Catalog

__all__ = ["Reading", "read"]


@dataclass(frozen=True)
class Reading:
    """A database: its server's major version, its heads, its newest records, and when it was backed up last.

    `catalog` is None if it was not asked for.
    """

    server: int
    heads: tuple[str, ...]
    records: tuple[records.Record, ...]
    backup: datetime | None
    catalog: Catalog | None


def read(url: str, *, most: int, with_catalog: bool) -> Reading:
    """Read a database. Raises DatabaseError if its server does not accept a connection within a second, or refuses."""
    knock(url)
    with connect(url) as connection:
        connection.read_only = True
        rows, _ = records.read(connection, most)
        return Reading(
            server=connection.info.server_version // 10_000,
            heads=read_heads(connection),
            records=tuple(rows),
            backup=_backup(connection),
            catalog=read_catalog(connection) if with_catalog else None,
        )


def _backup(connection: Session) -> datetime | None:
    table = sql.Identifier(VERSION_SCHEMA, "ledger")
    columns = "SELECT count(*) FROM pg_attribute WHERE attrelid = to_regclass(%s) AND attname = 'event'"
    if connection.execute(columns, [table.as_string(connection)]).fetchone() == (0,):
        return None
    newest = sql.SQL("SELECT max(applied_at) FROM {} WHERE event = %s").format(table)
    [(when,)] = connection.execute(newest, [Event.BACKUP]).fetchall()
    return when if isinstance(when, datetime) else None
