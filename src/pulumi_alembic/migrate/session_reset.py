"""Each revision begins with the same session: what an earlier one of the run set, created or took in it has ended."""

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

# Triggers that wait for the commit belong to the script, and so to its settings.
_END = """
SET CONSTRAINTS ALL IMMEDIATE; CLOSE ALL; UNLISTEN *; DISCARD TEMP;
RESET SESSION AUTHORIZATION; RESET ROLE; RESET ALL
"""

# After the commit, where the end of the process would release them, and after the ledger's row, which has a number.
# It is another transaction, or the next one could not begin with SET TRANSACTION.
_UNLOCK = "BEGIN; SELECT pg_catalog.pg_advisory_unlock_all(); DISCARD SEQUENCES; COMMIT; "

_PREPARED = "EXISTS (SELECT FROM pg_catalog.pg_prepared_statements WHERE from_sql)"
_OURS = f"{VERSION_SCHEMA}.".encode()

_ATTRIBUTES = ("row_factory", "cursor_factory", "server_cursor_factory", "prepare_threshold", "prepared_max")


class Renewal:
    """The session as it was when this was created, for each revision of a run.

    Settings, role, temporary tables, cursors, prepared statements, LISTEN, advisory locks, the last value of sequences
    and the options of psycopg's and SQLAlchemy's connections end with the revision, as they end with the process that
    runs `alembic upgrade +1`. What a script changes in Python itself, such as a variable of a module, does not.
    """

    def __init__(self, session: Session, connection: sa.Connection, limit: str) -> None:
        """`limit` is the statement that each transaction begins with."""
        self._session = session
        self._connection = connection
        self._limit = limit
        self._attributes = {name: getattr(session, name) for name in _ATTRIBUTES}
        # Private in SQLAlchemy 2, which can add options and take none away.
        self._options = connection._execution_options
        self._baseline: str | None = None
        self._step: object = None

    def begin(self, step: object, limit: str = "") -> None:
        """Begin a transaction of `step`; another `limit` holds for it."""
        if self._baseline is None:
            [(self._baseline,)] = self._session.execute(_BASELINE.encode()).fetchall()
            self._session.rollback()
        first = step is not self._step
        self._step = step
        # In one message to the server: this is done once per revision.
        send(self._session, f"{_UNLOCK if first else ''}BEGIN; {limit or self._limit}".encode())

    def limit(self) -> None:
        """The first revision begins, in the transaction in which the heads were read, if that is still open."""
        if self._session.info.transaction_status != TransactionStatus.IDLE:
            self._session.execute(self._limit.encode())

    def end(self) -> None:
        """The script of a revision has run; what this library adds to its transaction is still to come."""
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
