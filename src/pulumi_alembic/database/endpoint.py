"""Check that an address is usable for migrations: the connection keeps one session, and the server is writable."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from typing import Any

import psycopg

from pulumi_alembic.errors import DatabaseError

__all__ = ["refuse_read_only", "refuse_transaction_pooling"]

_LOOKS = 5


def refuse_transaction_pooling(
    connection: psycopg.Connection[Any], another: Callable[[], psycopg.Connection[Any]]
) -> int:
    """Return the server's process id of the session.

    Raise DatabaseError if each transaction can get another session.

    Such a pooler gives locks and settings of a session to another client. A pooler is recognized by reporting a
    different process id. Transaction pooling is recognized by giving the session of `connection` to another connection,
    or another session to it.

    Args:
        connection: the connection to check.
        another: opens a second connection to the same address.

    """
    connection.autocommit = False
    first = _session(connection)
    connection.rollback()
    if first == connection.info.backend_pid:
        return first
    with closing(another()) as other:
        for _ in range(_LOOKS):
            # It keeps its session until its rollback.
            shared = _session(other) == first or _session(connection) != first
            connection.rollback()
            other.rollback()
            if shared:
                raise DatabaseError(
                    f"{_where(connection)}: a pooler gives each transaction another session (pgbouncer: pool_mode = "
                    "transaction), and a migration needs one that stays its own. Use the server's own address, or a "
                    "pool in session mode"
                )
    return first


def refuse_read_only(connection: psycopg.Connection[Any]) -> None:
    """Raise DatabaseError if nothing can be written: on a standby, or if transactions are read-only."""
    row = connection.execute(
        "SELECT pg_is_in_recovery(), current_setting('transaction_read_only') = 'on', "
        # Query this view only in case of an error, because it always computes all settings.
        "CASE WHEN current_setting('transaction_read_only') = 'on' THEN "
        "(SELECT source FROM pg_settings WHERE name = 'default_transaction_read_only') END"
    ).fetchone()
    standby, read_only, source = row or (False, False, "")
    if standby:
        raise DatabaseError(f"{_where(connection)}: this is a read-only replica. Use the address of its primary")
    if read_only:
        raise DatabaseError(
            f"{_where(connection)}: default_transaction_read_only is on (set by: {source}), so nothing can be "
            "migrated. Set it off for this role, or migrate as another"
        )


def _session(connection: psycopg.Connection[Any]) -> int:
    [(pid,)] = connection.execute("SELECT pg_backend_pid()").fetchall()
    return int(pid)


def _where(connection: psycopg.Connection[Any]) -> str:
    return f"database {connection.info.dbname} as {connection.info.user}"
