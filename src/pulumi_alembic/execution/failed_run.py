"""A run that failed, kept in the ledger once it was rolled back, in a transaction of its own."""

from __future__ import annotations

from contextlib import suppress

import psycopg

from pulumi_alembic import server_message
from pulumi_alembic.database import connect, read_heads
from pulumi_alembic.errors import DatabaseError, MigrationError
from pulumi_alembic.ledger import ledger
from pulumi_alembic.ledger.ledger import Event, Run
from pulumi_alembic.plan import Direction
from pulumi_alembic.request import Request
from pulumi_alembic.retry import caught, connection_lost, server_error
from pulumi_alembic.running import Running

__all__ = ["keep_failure"]


def keep_failure(running: Running, error: BaseException, request: Request) -> None:
    """The ledger has a row of the step that ended with `error`, unless it cannot be written: that is no other failure.

    Of the error it holds what tells no values: PostgreSQL's code and first line, or the name of Python's exception.
    """
    step, seconds, statements = running.step, running.seconds, running.statements
    if step is None:
        return
    direction = Direction.UPGRADE if step.is_upgrade else Direction.DOWNGRADE
    with suppress(DatabaseError, psycopg.Error), connect(request.url) as connection:
        ledger.prepare(connection)
        heads = read_heads(connection)
        ledger.record(
            connection,
            request.script(step),
            direction,
            "{}",
            Event.FAILED,
            detail={"error": _reason(first.error if (first := caught(error, running.aborted)) else error)},
            origin=request.origin,
            run=Run(running.before, heads, seconds, statements, request.backup),
        )
        connection.commit()


def _reason(error: BaseException) -> str:
    server = server_error(error)
    if server is None:
        return f"{type(error).__name__}: {error}" if isinstance(error, MigrationError) else type(error).__name__
    if connection_lost(server):
        return "the connection was lost"
    if server.sqlstate is None:
        return type(server).__name__
    return f"{server_message.primary(server)} ({server.sqlstate})"
