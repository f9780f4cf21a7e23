"""Imports of generated revision scripts: each of their steps is logged with its result."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import sqlalchemy as sa

LOG: list[tuple[int, str]] = []
"""The log of steps: the number of each, and `ok`, the SQLSTATE, or the name of Python's exception."""


@contextmanager
def step(number: int) -> Iterator[None]:
    """Log the result of the block, and raise its error."""
    try:
        yield
    except Exception as error:
        LOG.append((number, outcome(error)))
        raise
    LOG.append((number, "ok"))


@contextmanager
def caught(number: int) -> Iterator[None]:
    """Log the result of the block, and suppress its error."""
    try:
        with step(number):
            yield
    except Exception:
        pass


def value(number: int, found: Any) -> None:
    """Log a value that the script read."""
    LOG.append((number, repr(found)))


def outcome(error: BaseException) -> str:
    """Return the SQLSTATE of the error, or the name of its class."""
    server = error.orig if isinstance(error, sa.exc.DBAPIError) else error
    return str(server.sqlstate or type(server).__name__) if isinstance(server, psycopg.Error) else type(error).__name__
