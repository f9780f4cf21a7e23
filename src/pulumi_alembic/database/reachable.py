"""Whether anything listens where a URL leads, without a login."""

from __future__ import annotations

import socket

import psycopg
from psycopg.conninfo import conninfo_to_dict

from pulumi_alembic.errors import DatabaseError

__all__ = ["address", "knock"]

ANSWER = 0.7
"""Seconds in which a server has to accept a connection; the kernel repeats the request after one."""


def address(url: str) -> str:
    """HOST:PORT/DATABASE of a URL, without login and password; empty if it is not one."""
    try:
        parts = conninfo_to_dict(url.replace("postgresql+psycopg://", "postgresql://", 1))
    # psycopg quotes the URL, password and all, in what it raises.
    except (psycopg.Error, UnicodeError):
        return ""
    host, port = parts.get("host") or "localhost", parts.get("port") or 5432
    return f"{host}:{port}/{parts.get('dbname') or parts.get('user') or ''}"


def knock(url: str) -> None:
    """Open a connection and close it. Raises DatabaseError if nothing accepts it within ANSWER.

    An address that is a socket's folder, or several, is taken to be reachable.
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
