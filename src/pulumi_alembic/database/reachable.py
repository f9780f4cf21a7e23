"""Check whether a server listens at the address of a URL, without logging in."""

from __future__ import annotations

import socket

import psycopg
from psycopg.conninfo import conninfo_to_dict

from pulumi_alembic.errors import DatabaseError

__all__ = ["address", "knock"]

ANSWER = 0.7
"""Seconds in which a server must accept a connection. The kernel repeats the request after one second."""


def address(url: str) -> str:
    """Return HOST:PORT/DATABASE of a URL, without login and password. Empty if it is not a URL."""
    try:
        parts = conninfo_to_dict(url.replace("postgresql+psycopg://", "postgresql://", 1))
    # psycopg quotes the URL with its password in what it raises.
    except (psycopg.Error, UnicodeError):
        return ""
    host, port = parts.get("host") or "localhost", parts.get("port") or 5432
    return f"{host}:{port}/{parts.get('dbname') or parts.get('user') or ''}"


def knock(url: str) -> None:
    """Open a connection and close it. Raises DatabaseError if no server accepts it within ANSWER.

    A socket's directory or several addresses are assumed to be reachable.
    """
    where, _, _ = address(url).rpartition("/")
    host, _, port = where.rpartition(":")
    if not port or host.startswith("/") or "," in host:
        return
    try:
        socket.create_connection((host, int(port)), ANSWER).close()
    except TimeoutError:
        raise DatabaseError(f"the server at {where} did not answer within {ANSWER:g} s") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DatabaseError(f"there is no server at {where}: {reason}") from None
