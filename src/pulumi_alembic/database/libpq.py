"""The environment variables that libpq reads, and connections that do not depend on them."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache
from typing import Any

from psycopg import pq

__all__ = ["authentication", "decided_by", "environment_ignored", "is_complete", "variables"]

# Variables without a connection parameter: files, locale, and settings that libpq sends to the server.
_OTHERS = (
    "PGDATESTYLE", "PGGEQO", "PGLOCALEDIR", "PGREALM", "PGREQUIRESSL", "PGSERVICEFILE", "PGSYSCONFDIR", "PGTZ",
)  # fmt: skip
_COMPLETE = ("host", "port", "user", "password", "dbname", "sslmode")

_guard = threading.Lock()
_inside = 0
_kept: dict[str, str] = {}


@cache
def variables() -> frozenset[str]:
    """Return the names of all variables that change how this libpq connects, or what it sets in a session."""
    options = pq.Conninfo.get_defaults()
    return frozenset(option.envvar.decode() for option in options if option.envvar) | frozenset(_OTHERS)


def is_complete(parameters: Mapping[str, Any]) -> bool:
    """Return whether the parameters determine the server, the login and the encryption.

    Missing ones are taken from the environment, as PostgreSQL's own programs do.
    """
    return all(parameters.get(name) not in (None, "") for name in _COMPLETE)


def authentication(parameters: Mapping[str, Any], required: str = "") -> dict[str, Any]:
    """Return the libpq parameter `require_auth`, which restricts how the server can ask for a password.

    Without it a password could be sent in clear text to a server whose certificate is not verified. It exists from
    libpq 16 on.

    Args:
        parameters: the connection parameters.
        required: a value for `require_auth`. By default every method but a clear-text password, if needed.

    """
    verified = str(parameters.get("sslmode")).startswith("verify")
    method = required or ("" if verified or parameters.get("require_auth") else "!password")
    return {"require_auth": method} if method and pq.version() >= 160000 else {}


def decided_by(parameters: Mapping[str, Any]) -> AbstractContextManager[None]:
    """Return a context that ignores libpq's environment variables if the parameters are complete."""
    return environment_ignored() if is_complete(parameters) else nullcontext()


@contextmanager
def environment_ignored() -> Iterator[None]:
    """Remove libpq's variables from the environment within the block. Several threads can be in it at the same time."""
    global _inside
    with _guard:
        if _inside == 0:
            _kept.update({name: os.environ.pop(name) for name in variables() if name in os.environ})
        _inside += 1
    try:
        yield
    finally:
        with _guard:
            _inside -= 1
            if _inside == 0:
                os.environ.update(_kept)
                _kept.clear()
