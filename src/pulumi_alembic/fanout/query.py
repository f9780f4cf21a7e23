"""Run the query for the databases of a fan-out, again in each preview, update and refresh."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import psycopg

from pulumi_alembic.database import server_message
from pulumi_alembic.database.connection import log_in
from pulumi_alembic.errors import DatabaseError, PolicyError
from pulumi_alembic.fanout.plan.databases import MOST, Kind, Listing
from pulumi_alembic.output.redact import redact
from pulumi_alembic.policy import parse_duration

__all__ = ["EXAMPLE", "WHERE", "ask"]

WHERE = "the query for the databases"

EXAMPLE = "SELECT datname FROM pg_database WHERE starts_with(datname, 'tenant_') ORDER BY datname"


def ask(statement: str, url: str, timeout: str, kind: Kind = Kind.DATABASE) -> Listing:
    """Return the databases or schemas that a statement lists. The statement cannot write.

    Args:
        statement: The query.
        url: The URL of the database to query.
        timeout: How long the query is allowed to run, such as `10s`.
        kind: What its rows name.

    Raises:
        DatabaseError: The query failed, or took too long.
        PolicyError: A row is not a valid name, or has several columns.

    """
    # The program's statement runs with the login's own search_path, not with a fixed one.
    with closing(log_in(url, own=False)) as connection:
        return Listing.of(_names(connection, statement, parse_duration("timeout", timeout)), WHERE, kind=kind)


def _names(connection: psycopg.Connection[Any], statement: str, timeout: float) -> list[object]:
    names: list[object] = []
    try:
        connection.read_only = True
        connection.execute(f"SET LOCAL statement_timeout = {round(timeout * 1000)}".encode())
        with closing(connection.cursor()) as cursor:
            # Streaming permits only one statement. A second one could end the read-only transaction.
            for row in cursor.stream(statement.encode()):
                if len(row) != 1:
                    raise PolicyError(f"{WHERE} gives {len(row)} columns: it gives one, the names. Such as: {EXAMPLE}")
                names.append(row[0])
                if len(names) > MOST:
                    break
    except psycopg.Error as error:
        raise DatabaseError(_failed(error, statement, timeout)) from None
    return names


def _failed(error: psycopg.Error, statement: str, timeout: float) -> str:
    reason = f"PostgreSQL: {server_message.primary(error)} ({error.sqlstate or type(error).__name__})"
    if isinstance(error, psycopg.errors.QueryCanceled):
        reason = f'it was ended after {timeout:g} s. Give it longer: Query(…, timeout="1min"); {reason}'
    return f"{WHERE} fails, and nothing was changed: {reason}\n  statement: {' '.join(redact(statement).split())[:300]}"
