"""Measure tables without statistics, without waiting for other sessions or blocking them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from typing import TYPE_CHECKING

import psycopg

from pulumi_alembic.database.connection import connect

if TYPE_CHECKING:
    from pulumi_alembic.database.connection import Connection
    from pulumi_alembic.sql.catalog import Measure

__all__ = ["measuring"]

_UNNOTICED = 40
"""Milliseconds for which the lock of this reader can block DDL."""


@contextmanager
def measuring(url: str) -> Iterator[Measure]:
    """Return a function that measures tables of this database.

    It connects at the first call, which can raise DatabaseError.

    It holds a reader's lock on each table for a moment, and returns None if the lock is not free.
    """
    with ExitStack() as stack:
        session = cache(lambda: stack.enter_context(connect(url)))
        yield cache(lambda table: _measured(session(), table))


def _measured(connection: Connection, table: str) -> int | None:
    """Return the size of the table in bytes, 0 without rows, None if unknown.

    `table` is as `catalog.quoted` writes it.
    """
    sql = f"SELECT CASE WHEN EXISTS (SELECT FROM ONLY {table}) THEN pg_relation_size(%s::regclass) ELSE 0 END"  # noqa: S608
    try:
        with connection.transaction(force_rollback=True):
            connection.execute(
                f"SET LOCAL lock_timeout = 1; SET LOCAL statement_timeout = {_UNNOTICED}; "
                "SET LOCAL row_security = off".encode()
            )
            [(size,)] = connection.execute(sql.encode(), [table]).fetchall()
            return int(size)
    except (psycopg.OperationalError, psycopg.ProgrammingError):
        if connection.broken:
            raise
        # The table is locked, has too many dead tuples, cannot be read by this role, or was dropped.
        return None
