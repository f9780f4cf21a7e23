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

# Those that belong to no connection parameter: files, locale, and settings that libpq sends to the server.
_OTHERS = (
    "PGDATESTYLE", "PGGEQO", "PGLOCALEDIR", "PGREALM", "PGREQUIRESSL", "PGSERVICEFILE", "PGSYSCONFDIR", "PGTZ",
)  # fmt: skip
_COMPLETE = ("host", "port", "user", "password", "dbname", "sslmode")

_guard = threading.Lock()
_inside = 0
_kept: dict[str, str] = {}


@cache
def variables() -> frozenset[str]:
    """The names of all variables that decide how this libpq connects, or what it sets in a session."""
    options = pq.Conninfo.get_defaults()
    return frozenset(option.envvar.decode() for option in options if option.envvar) | frozenset(_OTHERS)


def is_complete(parameters: Mapping[str, Any]) -> bool:
    """Whether connection parameters say where to connect, as whom, and whether encrypted.

    An address that leaves one of these open is completed from the environment, as PostgreSQL's own programs do.
    """
    return all(parameters.get(name) not in (None, "") for name in _COMPLETE)


def authentication(parameters: Mapping[str, Any], required: str = "") -> dict[str, Any]:
    """The parameter that says how the server must ask for a password; `required` as libpq's require_auth.

    Without it no password is sent in clear text to a server whose certificate is not verified. Before libpq 16 there is
    no such parameter.
    """
    verified = str(parameters.get("sslmode")).startswith("verify")
    method = required or ("" if verified or parameters.get("require_auth") else "!password")
    return {"require_auth": method} if method and pq.version() >= 160000 else {}


def decided_by(parameters: Mapping[str, Any]) -> AbstractContextManager[None]:
    """A block in which only the connection parameters decide, if they are complete."""
    return environment_ignored() if is_complete(parameters) else nullcontext()


@contextmanager
def environment_ignored() -> Iterator[None]:
    """A block in which libpq finds none of its variables; several threads can be in one at the same time."""
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
