"""Reset the session after each revision, so that no revision sees settings or objects of an earlier one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psycopg.pq import TransactionStatus

from pulumi_alembic.database.connection import VERSION_SCHEMA, send

if TYPE_CHECKING:
    import sqlalchemy as sa

    from pulumi_alembic.database.connection import Session

__all__ = ["Renewal"]

_BASELINE = """
SELECT concat_ws(', ', format('set_config(''role'', %L, false)', current_setting('role')),
    (SELECT string_agg(format('set_config(%L, %L, false)', name, setting), ', ') FROM pg_settings
     WHERE source = 'session'))
"""

# Triggers that are deferred to the commit belong to the script, so that they run with its settings.
_END = """
SET CONSTRAINTS ALL IMMEDIATE; CLOSE ALL; UNLISTEN *; DISCARD TEMP;
RESET SESSION AUTHORIZATION; RESET ROLE; RESET ALL
"""

# It runs after the commit, when the end of a process would release the locks, and after the ledger's INSERT uses its
# sequence. It is a transaction of its own, so that the next one can begin with SET TRANSACTION.
_UNLOCK = "BEGIN; SELECT pg_catalog.pg_advisory_unlock_all(); DISCARD SEQUENCES; COMMIT; "

_PREPARED = "EXISTS (SELECT FROM pg_catalog.pg_prepared_statements WHERE from_sql)"
_OURS = f"{VERSION_SCHEMA}.".encode()

_ATTRIBUTES = ("row_factory", "cursor_factory", "server_cursor_factory", "prepare_threshold", "prepared_max")


class Renewal:
    """Restores the session to its initial state for each revision of a run.

    A revision's settings, role, temporary tables, cursors, prepared statements and LISTEN end with it. So do advisory
    locks, the last values of sequences, and options of psycopg's and SQLAlchemy's connections. They would also end with
    a process that runs `alembic upgrade +1`. Changes in Python itself remain, such as a variable of a module.
    """

    def __init__(self, session: Session, connection: sa.Connection, limit: str) -> None:
        """Note the session's state. `limit` is the statement that each transaction begins with."""
        self._session = session
        self._connection = connection
        self._limit = limit
        self._attributes = {name: getattr(session, name) for name in _ATTRIBUTES}
        # Private in SQLAlchemy 2, which can add options and remove none.
        self._options = connection._execution_options
        self._baseline: str | None = None
        self._step: object = None

    def begin(self, step: object, limit: str = "") -> None:
        """Begin a transaction of `step`. Another `limit` replaces the usual one for this transaction."""
        if self._baseline is None:
            [(self._baseline,)] = self._session.execute(_BASELINE.encode()).fetchall()
            self._session.rollback()
        first = step is not self._step
        self._step = step
        # One message to the server, to save round trips.
        send(self._session, f"{_UNLOCK if first else ''}BEGIN; {limit or self._limit}".encode())

    def limit(self) -> None:
        """Set the limit for the first revision, if the transaction that read the heads is still open."""
        if self._session.info.transaction_status != TransactionStatus.IDLE:
            self._session.execute(self._limit.encode())

    def end(self) -> None:
        """Reset the session after a revision's script, before this library adds to its transaction."""
        for name, value in self._attributes.items():
            setattr(self._session, name, value)
        self._connection._execution_options = self._options
        # Private in psycopg 3.3: what it prepared for the script, or counted so that it would.
        prepared = self._session._prepared
        for key in [key for key in prepared._counts if _OURS not in key[0]]:
            del prepared._counts[key]
        if any(_OURS not in key[0] for key in prepared._names):
            prepared.clear()
        answer = send(self._session, f"{_END}; {self._limit}; SELECT {_PREPARED}, {self._baseline}".encode())
        if answer.get_value(0, 0) == b"t":
            self._session.execute(b"DEALLOCATE ALL")
