"""Find the database and roles of a stack that exist on the server before the stack."""

from __future__ import annotations

import psycopg

from pulumi_alembic.database import libpq, server_message
from pulumi_alembic.database.connection import OWN_OPTIONS
from taskdb.errors import TaskdbError
from taskdb.settings import Admin

__all__ = ["existing"]

CONNECT_TIMEOUT = 15  # seconds


def existing(admin: Admin, name: str) -> frozenset[tuple[str, str]]:
    """Return the database of this name, and the roles whose names begin with it, as pairs of class and name.

    Raises:
        TaskdbError: The server cannot be read.

    """
    try:
        with libpq.environment_ignored():
            required = libpq.authentication({}, admin.require_auth)
            opened = psycopg.connect(
                admin.url("postgres"), connect_timeout=CONNECT_TIMEOUT, options=OWN_OPTIONS, **required
            )
        with opened as connection:
            rows = connection.execute(
                "SELECT 'Database', datname::text FROM pg_database WHERE datname = %(name)s"
                " UNION ALL SELECT 'Role', rolname::text FROM pg_roles WHERE starts_with(rolname, %(name)s || '_')",
                {"name": name},
            )
            return frozenset((kind, row_name) for kind, row_name in rows)
    except psycopg.Error as error:
        reason = server_message.summary(error)
        raise TaskdbError(f"taskdb:adopt looks for what the server has already, and cannot ask it: {reason}") from None
