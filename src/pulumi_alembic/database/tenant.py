"""A tenant's schema: a run on it is a run on a URL that names it, so each of its sessions knows the tenant.

The URL has two settings as libpq options: the schema's name, and the search_path of scripts. As options, both survive
RESET ALL. The library's own sessions override the search_path. See `connection.OWN_OPTIONS`.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote, unquote

import psycopg
from psycopg import sql

__all__ = ["SETTING", "VERSION_TABLE", "in_schema", "lock_key", "schema_of", "version_table"]

SETTING = "pulumi_alembic.schema"
"""The setting of a session with the tenant's schema. The ledger's column `tenant` gets it by default."""

VERSION_TABLE = "alembic_version"

_LONGEST = 59
"""Bytes of a version table's name. Alembic adds `_pkc` for its primary key, and a name has 63 bytes at most."""

_OPTION = re.compile(rf"-c {re.escape(SETTING)}=((?:\\.|[^\\\s])*)")


def in_schema(url: str, schema: str, shared: Iterable[str] = ()) -> str:
    """Return the URL of the same database for the tenant whose schema this is.

    Args:
        url: The database.
        schema: The tenant's schema.
        shared: The schemas that scripts find names in after the tenant's.

    """
    server, _, query = url.partition("?")
    given = dict(part.partition("=")[::2] for part in query.split("&") if part)
    before = unquote(given.pop("options", "")) or os.environ.get("PGOPTIONS") or ""
    path = ",".join(sql.Identifier(name).as_string(None) for name in (schema, *shared))
    options = f"{before} -c {SETTING}={_escaped(schema)} -c search_path={_escaped(path)}".strip()
    return f"{server}?{'&'.join(f'{name}={value}' for name, value in {**given, 'options': quote(options)}.items())}"


def schema_of(connection: psycopg.Connection[Any]) -> str:
    """Return the tenant's schema of a session. Empty in a session of the database itself."""
    found = _OPTION.search(connection.info.options or "")
    return re.sub(r"\\(.)", r"\1", found[1], flags=re.DOTALL) if found else ""


def version_table(schema: str) -> str:
    """Return the name of Alembic's table of a tenant in the schema `migrations`. `schema` is empty for the database."""
    if not schema:
        return VERSION_TABLE
    plain = f"{VERSION_TABLE}_{schema}"
    if len(plain.encode()) < _LONGEST:
        return plain
    # It always has the greatest length, which a plain name never has. So no two tenants share a table.
    digest = hashlib.sha256(schema.encode()).hexdigest()
    return f"{VERSION_TABLE}_{digest}"[:_LONGEST]


def lock_key(schema: str) -> int:
    """Return the key of the advisory lock that the migrations of one tenant exclude each other by."""
    return int.from_bytes(hashlib.sha256(b"alembic:" + schema.encode()).digest()[:8]) >> 1


def _escaped(value: str) -> str:
    """Return a value for libpq's `options`, in which spaces separate."""
    return re.sub(r"([\\\s])", r"\\\1", value)
