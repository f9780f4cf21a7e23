"""The PostgreSQL server that benchmarks use: that of the PG* variables, else the development server."""

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
    """The environment here, with the server's PG* variables, and with Python keeping what it compiled, as usual."""
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
    """The address of a database there, as SQLAlchemy has it."""
    login = environment()
    user, password = (quote(login[name], safe="") for name in ("PGUSER", "PGPASSWORD"))
    return f"postgresql+psycopg://{user}:{password}@{login['PGHOST']}:{login.get('PGPORT', '5432')}/{database}"


def _connect(database: str) -> psycopg.Connection[tuple[object, ...]]:
    return psycopg.connect(url(database).replace("+psycopg", ""), autocommit=True)


@contextmanager
def empty_database() -> Iterator[str]:
    """An empty database with the schema of the migration tables, dropped afterwards."""
    name = f"benchmark_{secrets.token_hex(4)}"
    with _connect("postgres") as admin:
        admin.execute(f"CREATE DATABASE {name} TEMPLATE template0".encode())
    try:
        with _connect(name) as owner:
            owner.execute("CREATE SCHEMA migrations")
        yield name
    finally:
        with _connect("postgres") as admin:
            # Not WITH (FORCE), which fails where autovacuum works there; without it, DROP DATABASE ends that itself.
            admin.execute(f"DROP DATABASE {name}".encode())
