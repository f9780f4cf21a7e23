"""What of a server's error may be printed: everything but the values of rows."""

from __future__ import annotations

import re

import psycopg

__all__ = ["any_error", "detail", "primary", "summary"]

_WITH_VALUES = ("22", "23", "44")
"""Data exceptions, violated constraints and check options of views: what belongs to their message quotes rows."""
_DATA = "22"
_RAISED = "exec_stmt_raise"
"""The function in PostgreSQL's source behind RAISE, whose text is the function's own, and can quote anything."""

# Whatever the language of the server's messages is, from the first quotation mark to the last.
_MARK = r"[\"'`\u00ab\u00bb\u2018-\u201f\u2039\u203a\u300c-\u300f]"
_QUOTED = re.compile(f"{_MARK}.*{_MARK}", re.DOTALL)
_AFTER_COLON = re.compile(r': (?!"…").*', re.DOTALL)


def primary(error: psycopg.Error) -> str:
    """The first line of the message; the server's, or the driver's if it has not reached the server."""
    message, state = error.diag.message_primary, error.sqlstate or ""
    if message is None:
        return str(error)
    if error.diag.source_function == _RAISED and state.startswith(_WITH_VALUES):
        return "an error that a function raised in its own words, which can quote rows"
    if state.startswith(_DATA):
        return _AFTER_COLON.sub(": …", _QUOTED.sub('"…"', message))
    return message


def any_error(error: BaseException) -> str:
    """The text of an error of any kind; of what the server refused, also within one of SQLAlchemy's, the summary."""
    inner = getattr(error, "orig", None) or error
    return summary(inner) if isinstance(inner, psycopg.Error) else str(error)


def detail(error: psycopg.Error) -> str:
    """The DETAIL; empty if there is none, or if it would quote a row."""
    return "" if (error.sqlstate or "").startswith(_WITH_VALUES) else error.diag.message_detail or ""


def summary(error: psycopg.Error) -> str:
    """The message, its DETAIL and HINT in one line; never its CONTEXT, which quotes rows and statements."""
    return " ".join(" ".join([primary(error), detail(error), error.diag.message_hint or ""]).split())
