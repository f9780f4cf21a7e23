"""What generated revision scripts import: each of their steps is logged with how it ended."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import sqlalchemy as sa

LOG: list[tuple[int, str]] = []
"""Step by step: its number, and `ok`, the SQLSTATE, or the name of Python's exception."""


@contextmanager
def step(number: int) -> Iterator[None]:
    """Log how the block ends; its error goes on."""
    try:
        yield
    except Exception as error:
        LOG.append((number, outcome(error)))
        raise
    LOG.append((number, "ok"))


@contextmanager
def caught(number: int) -> Iterator[None]:
    """Log how the block ends; the script continues after its error."""
    try:
        with step(number):
            yield
    except Exception:
        pass


def value(number: int, found: Any) -> None:
    """Log what the script read."""
    LOG.append((number, repr(found)))


def outcome(error: BaseException) -> str:
    """The SQLSTATE of the error, or the name of its class."""
    server = error.orig if isinstance(error, sa.exc.DBAPIError) else error
    return str(server.sqlstate or type(server).__name__) if isinstance(server, psycopg.Error) else type(error).__name__
