"""Session settings while rows are preserved or restored, and which server errors are final."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import psycopg

from pulumi_alembic.database import server_message

if TYPE_CHECKING:
    from pulumi_alembic.database.connection import Connection

__all__ = ["Unfit", "reason", "refusal", "unchanging"]

_TRANSIENT = ("55P03", "40", "57P", "08")

_UNCHANGING = """
set_config('row_security', 'off', true), set_config('statement_timeout', '0', true),
set_config('DateStyle', 'ISO', true), set_config('IntervalStyle', 'postgres', true),
set_config('extra_float_digits', '1', true), set_config('TimeZone', 'UTC', true),
set_config('client_min_messages', 'warning', true)
"""
_SETTINGS = """
SELECT set_config(name, setting, true) FROM unnest(%s::text[], %s::text[]) AS wanted (name, setting)
"""
_NAMES = (
    "row_security",
    "statement_timeout",
    "DateStyle",
    "IntervalStyle",
    "extra_float_digits",
    "TimeZone",
    "client_min_messages",
)


class Unfit(Exception):
    """Not all rows can be restored unchanged."""


@contextmanager
def unchanging(session: Connection) -> Iterator[None]:
    """Make values print the same whatever the session's settings, and show all rows, within the block."""
    settings = ", ".join(f"current_setting('{name}')" for name in _NAMES)
    [row] = session.execute(f"SELECT {settings}, {_UNCHANGING}".encode()).fetchall()
    yield
    session.execute(_SETTINGS, [list(_NAMES), list(row[: len(_NAMES)])])


def refusal(error: psycopg.Error) -> psycopg.Error:
    """Return the error if it would happen again. Raise a transient one, so that the revision is tried again."""
    if error.sqlstate is None or error.sqlstate.startswith(_TRANSIENT):
        raise error
    return error


def reason(error: psycopg.Error) -> str:
    """Return why the server refused, without the value that its message can contain. Raises as `refusal` does."""
    return server_message.primary(refusal(error))
