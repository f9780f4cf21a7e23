"""The PostgreSQL server that benchmarks use: that of the PG* variables, otherwise the development server."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import psycopg

from taskdb.local import find

__all__ = ["empty_database", "environment", "url"]

_PROJECT = Path(__file__).parent.parent


def environment() -> dict[str, str]:
    """Return this environment with the server's PG* variables. Python writes compiled files, as it does for users."""
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    server = find(_PROJECT)
    if server is None or "PGHOST" in variables:
        return variables
    login = {
        "PGHOST": server.host,
        "PGPORT": str(server.port),
        "PGUSER": server.username,
        "PGPASSWORD": server.password,
    }
    return variables | login


def url(database: str) -> str:
    """Return the address of a database on this server, in SQLAlchemy's form."""
    login = environment()
    user, password = (quote(login[name], safe="") for name in ("PGUSER", "PGPASSWORD"))
    return f"postgresql+psycopg://{user}:{password}@{login['PGHOST']}:{login.get('PGPORT', '5432')}/{database}"


def _connect(database: str) -> psycopg.Connection[tuple[object, ...]]:
    return psycopg.connect(url(database).replace("+psycopg", ""), autocommit=True)


@contextmanager
def empty_database() -> Iterator[str]:
    """Create an empty database with the schema of the migration tables, and drop it afterwards."""
    name = f"benchmark_{secrets.token_hex(4)}"
    with _connect("postgres") as admin:
        admin.execute(f"CREATE DATABASE {name} TEMPLATE template0".encode())
    try:
        with _connect(name) as owner:
            owner.execute("CREATE SCHEMA migrations")
        yield name
    finally:
        with _connect("postgres") as admin:
            # WITH (FORCE) would fail while autovacuum works there. Without it, DROP DATABASE ends autovacuum itself.
            admin.execute(f"DROP DATABASE {name}".encode())
