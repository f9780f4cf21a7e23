"""How much there is in a table of which the server's statistics know nothing, for whoever waits for nobody."""

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
"""Milliseconds that the lock of a reader may keep DDL waiting."""


@contextmanager
def measuring(url: str) -> Iterator[Measure]:
    """A Measure of this database, which connects once it is asked. Asking raises DatabaseError as `connect` does.

    It holds each table's lock of a reader for a moment, and gives up where that is not free.
    """
    with ExitStack() as stack:
        session = cache(lambda: stack.enter_context(connect(url)))
        yield cache(lambda table: _measured(session(), table))


def _measured(connection: Connection, table: str) -> int | None:
    """`table` is a name as `catalog.quoted` writes it."""
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
        # Locked, too many dead rows, no right to read it, or gone since.
        return None
