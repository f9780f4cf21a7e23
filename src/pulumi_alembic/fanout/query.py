"""A query that names the databases of a fan-out, asked anew by each preview, update and refresh."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psycopg

from pulumi_alembic import server_message
from pulumi_alembic.database import log_in
from pulumi_alembic.errors import DatabaseError, PolicyError
from pulumi_alembic.fanout.listing import MOST, Listing
from pulumi_alembic.policy import parse_duration
from pulumi_alembic.redact import redact

if TYPE_CHECKING:
    import pulumi

__all__ = ["WHERE", "Query", "ask"]

WHERE = "the query for the databases"
TIMEOUT = "10s"


@dataclass(frozen=True)
class Query:
    """One statement whose rows are the names of databases, in the order in which they are to be migrated.

    It is asked at `url`, and where that is None at the resource's own, with whichever database that names. It can
    change nothing, and is ended after `timeout`.
    """

    statement: str
    url: pulumi.Input[str] | None = None
    timeout: str = TIMEOUT

    def validate(self) -> None:
        """Raises PolicyError for what cannot be asked."""
        if not isinstance(self.statement, str) or not self.statement.strip():
            raise PolicyError(f"{WHERE} is {self.statement!r}: it is a statement, such as {_EXAMPLE}")
        parse_duration("the query's timeout", self.timeout)


_EXAMPLE = "SELECT datname FROM pg_database WHERE starts_with(datname, 'tenant_') ORDER BY datname"


def ask(statement: str, url: str, timeout: str) -> Listing:
    """The databases that the statement names. Raises DatabaseError where it fails, PolicyError for what is no name."""
    # The statement is the program's: it finds what its login finds.
    with closing(log_in(url, own=False)) as connection:
        return Listing.of(_names(connection, statement, parse_duration("timeout", timeout)), WHERE)


def _names(connection: psycopg.Connection[Any], statement: str, timeout: float) -> list[object]:
    names: list[object] = []
    try:
        connection.read_only = True
        connection.execute(f"SET LOCAL statement_timeout = {round(timeout * 1000)}".encode())
        with closing(connection.cursor()) as cursor:
            # Row by row, and not as several statements: one could end the transaction in which nothing is written.
            for row in cursor.stream(statement.encode()):
                if len(row) != 1:
                    raise PolicyError(f"{WHERE} gives {len(row)} columns: it gives one, the names. Such as: {_EXAMPLE}")
                names.append(row[0])
                if len(names) > MOST:
                    break
    except psycopg.Error as error:
        raise DatabaseError(_failed(error, statement, timeout)) from None
    return names


def _failed(error: psycopg.Error, statement: str, timeout: float) -> str:
    said = f"PostgreSQL: {server_message.primary(error)} ({error.sqlstate or type(error).__name__})"
    if isinstance(error, psycopg.errors.QueryCanceled):
        said = f'it was ended after {timeout:g} s. Give it longer: Query(…, timeout="1min"); {said}'
    return f"{WHERE} fails, and nothing was changed: {said}\n  statement: {' '.join(redact(statement).split())[:300]}"
