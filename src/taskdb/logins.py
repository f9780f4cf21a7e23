"""Whether the server lets a login in with the password in the state: no catalog shows the password that a role has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["is_refused", "login_inputs"]

CONNECT_TIMEOUT = 5  # seconds
ADDRESS = ("host", "port", "sslmode", "sslrootcert")


def login_inputs(admin: Any, role: str, database: str) -> dict[str, Any]:
    """Everything that it takes to log in as `role`, but for the password."""
    address = {name: str(getattr(admin, name)) for name in ADDRESS if getattr(admin, name)}
    return address | {"user": role, "dbname": database}


def is_refused(login: Mapping[str, Any], password: str) -> bool:
    """Whether the server answers that this is not the login's password.

    A server that does not answer, or that refuses the login for another reason, says nothing about the password.
    """
    # Slow to import, and not needed to create a password.
    import psycopg

    from pulumi_alembic.database import libpq

    try:
        with libpq.environment_ignored():
            required = libpq.authentication(login)
            psycopg.connect(**login, **required, password=password, connect_timeout=CONNECT_TIMEOUT).close()
    except psycopg.OperationalError as error:
        # libpq keeps no SQLSTATE of a failed connection; these are the server's words in its default language.
        return "password authentication failed" in str(error)
    return False
