"""What one database says of itself, read in a transaction that can write nothing."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from datetime import datetime

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from pulumi_alembic.database.connection import VERSION_SCHEMA, Session, connect, read_catalog, read_heads
from pulumi_alembic.errors import DatabaseError
from pulumi_alembic.ledger import records
from pulumi_alembic.ledger.table import Event
from pulumi_alembic.sql.catalog import Catalog

__all__ = ["Reading", "address", "read"]

ANSWER = 1.0
"""Seconds in which a server has to accept a connection."""


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


def address(url: str) -> str:
    """HOST:PORT/DATABASE of a URL, without login and password; empty if it is not one."""
    try:
        parts = conninfo_to_dict(url.replace("postgresql+psycopg://", "postgresql://", 1))
    # psycopg quotes the URL, password and all, in what it raises.
    except (psycopg.Error, UnicodeError):
        return ""
    host, port = parts.get("host") or "localhost", parts.get("port") or 5432
    return f"{host}:{port}/{parts.get('dbname') or parts.get('user') or ''}"


def read(url: str, *, most: int, with_catalog: bool) -> Reading:
    """Read a database. Raises DatabaseError if its server does not accept a connection within a second, or refuses."""
    _knock(url)
    with connect(url) as connection:
        connection.read_only = True
        found, _ = records.read(connection, most)
        return Reading(
            server=connection.info.server_version // 10_000,
            heads=read_heads(connection),
            records=tuple(found),
            backup=_backup(connection),
            catalog=read_catalog(connection) if with_catalog else None,
        )


def _knock(url: str) -> None:
    where, _, _ = address(url).rpartition("/")
    host, _, port = where.rpartition(":")
    if not port or host.startswith("/") or "," in host:
        return
    try:
        socket.create_connection((host, int(port)), ANSWER).close()
    except TimeoutError:
        raise DatabaseError(f"the server at {where} did not answer within {ANSWER:.0f} s") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DatabaseError(f"there is no server at {where}: {reason}") from None


def _backup(connection: Session) -> datetime | None:
    table = sql.Identifier(VERSION_SCHEMA, "ledger")
    columns = "SELECT count(*) FROM pg_attribute WHERE attrelid = to_regclass(%s) AND attname = 'event'"
    if connection.execute(columns, [table.as_string(connection)]).fetchone() == (0,):
        return None
    newest = sql.SQL("SELECT max(applied_at) FROM {} WHERE event = %s").format(table)
    [(when,)] = connection.execute(newest, [Event.BACKUP]).fetchall()
    return when if isinstance(when, datetime) else None
