"""The parts of a server's error that are safe to print: everything except values of rows."""

from __future__ import annotations

import re

import psycopg

__all__ = ["any_error", "detail", "primary", "summary"]

_WITH_VALUES = ("22", "23", "44")
"""Classes of data exceptions, violated constraints and check options of views, whose messages quote rows."""
_DATA = "22"
_RAISED = "exec_stmt_raise"
"""The function of PostgreSQL's source behind RAISE, whose message is free text and can quote anything."""

# From the first quotation mark to the last, in any language of the server's messages.
_MARK = r"[\"'`\u00ab\u00bb\u2018-\u201f\u2039\u203a\u300c-\u300f]"
_QUOTED = re.compile(f"{_MARK}.*{_MARK}", re.DOTALL)
_AFTER_COLON = re.compile(r': (?!"…").*', re.DOTALL)


def primary(error: psycopg.Error) -> str:
    """Return the first line of the message without values of rows. It is the driver's if the server was not reached."""
    message, state = error.diag.message_primary, error.sqlstate or ""
    if message is None:
        return str(error)
    if error.diag.source_function == _RAISED and state.startswith(_WITH_VALUES):
        return "an error that a function raised in its own words, which can quote rows"
    if state.startswith(_DATA):
        return _AFTER_COLON.sub(": …", _QUOTED.sub('"…"', message))
    return message


def any_error(error: BaseException) -> str:
    """Return the text of any error. For an error of the server, also wrapped by SQLAlchemy, this is its summary."""
    inner = getattr(error, "orig", None) or error
    return summary(inner) if isinstance(inner, psycopg.Error) else str(error)


def detail(error: psycopg.Error) -> str:
    """Return the DETAIL. Empty if there is none, or if it would quote a row."""
    return "" if (error.sqlstate or "").startswith(_WITH_VALUES) else error.diag.message_detail or ""


def summary(error: psycopg.Error) -> str:
    """Return the message, DETAIL and HINT in one line, without CONTEXT, which quotes rows and statements."""
    return " ".join(" ".join([primary(error), detail(error), error.diag.message_hint or ""]).split())
