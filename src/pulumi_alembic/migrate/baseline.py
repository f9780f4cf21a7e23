"""Start an empty database from a baseline: its statements, the heads and the ledger, in one transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg

from pulumi_alembic.database import server_message
from pulumi_alembic.database.connection import add_heads, connect, read_heads, send
from pulumi_alembic.database.retry import connection_lost
from pulumi_alembic.errors import BaselineError, DatabaseError, Moved
from pulumi_alembic.ledger import ledger
from pulumi_alembic.output.tracing import span
from pulumi_alembic.scripts.baseline import Baseline
from pulumi_alembic.scripts.plan import revision_text

if TYPE_CHECKING:
    from pulumi_alembic.database.connection import Connection
    from pulumi_alembic.migrate.job import Request
    from pulumi_alembic.scripts.history import History

__all__ = ["start"]


def start(baseline: Baseline, history: History, request: Request) -> None:
    """Load the baseline, and add a ledger row with the script for each revision that it covers.

    Raises:
        BaselineError: The server rejected one of its statements. Nothing was changed.
        Moved: Another migration came between. Nothing was changed.
        DatabaseError: The connection was lost. The database is at the baseline or empty, which the next run reads.

    """
    job = request.job
    detail = {"baseline": baseline.revision, "checksum": baseline.checksum}
    with span("baseline", {"pulumi_alembic.revision": baseline.revision}), connect(job.url) as connection:
        ledger.prepare(connection)
        if heads := read_heads(connection):
            raise Moved(f"the plan starts at base, and the database now is at {revision_text(heads)}")
        _load(connection, baseline, job.command)
        add_heads(connection, [baseline.revision])
        ledger.adopt(connection, history, [baseline.revision], job.origin, detail)
        if request.lock is not None and not request.lock.held():
            # Another migration can have begun and read the database. Committing now would change what it has read.
            raise DatabaseError(
                f"the connection that kept other migrations out was lost, and nothing was changed. Run it again:\n"
                f"  {job.command}"
            )
        connection.commit()


def _load(connection: Connection, baseline: Baseline, command: str) -> None:
    try:
        # One message to the server, in the transaction that began with reading the heads.
        send(connection, baseline.text.encode())
    except psycopg.Error as error:
        if connection_lost(error):
            raise
        raise BaselineError(
            f"the server refuses {baseline.path}: {server_message.summary(error)} ({error.sqlstate}). Nothing was "
            f"changed. Switch baselines off, so that all revisions run, then:\n  {command}"
        ) from None
