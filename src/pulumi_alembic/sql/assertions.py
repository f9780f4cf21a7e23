"""Assertions: queries that revisions expect to return true. Pure functions."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pulumi_alembic.sql.locks import MODES

if TYPE_CHECKING:
    from collections.abc import Container

    from pulumi_alembic.sql.locks import Effects

__all__ = ["alone", "asserted", "is_decided", "message_of", "problem", "touched"]

_MARK = "/* ensure: "
_MESSAGE = re.compile(r"\s/\* ensure: (.*) \*/", re.DOTALL)


def alone(query: str) -> str:
    """Return the query without its semicolon. After a comment at its end a line break is added."""
    from pulumi_alembic.sql.parser import split

    [statement] = split(query)
    return f"{statement}\n" if "--" in statement else statement


def asserted(query: str, message: str) -> str:
    """Return the statement to send and to show: the query followed by its message in a comment."""
    return f"{alone(query)} {_MARK}{message} */"


def message_of(statement: str) -> str:
    """Return the message of a statement that `asserted` wrote. Empty for any other."""
    match = _MESSAGE.search(statement) if statement.endswith(" */") else None
    return match[1] if match else ""


def problem(query: str, message: str) -> str:
    """Return why this is not an assertion. Empty if it is one."""
    from pulumi_alembic.sql.parser import ParseError, nodes, parse

    if not message.strip() or "*/" in message or "/*" in message:
        return "ensure needs a message that says what is wrong, without the marks of a comment"
    try:
        trees = parse(query)
    except ParseError as error:
        return f"ensure: PostgreSQL's parser refuses the query: {error}"
    changes = any(nodes(trees, "InsertStmt", "UpdateStmt", "DeleteStmt", "MergeStmt", "IntoClause", "LockingClause"))
    if len(trees) != 1 or trees[0].tag != "SelectStmt" or changes:
        return "ensure takes one SELECT, which changes and locks nothing"
    if not trees[0].valuesLists and len(trees[0].targetList or ()) != 1 and not trees[0].larg:
        return "ensure takes a SELECT of one column, which is true or false"
    return ""


def touched(effects: Effects) -> frozenset[str]:
    """Return the tables that a statement can change."""
    return frozenset(lock.table for lock in effects.locks if lock.mode != MODES[0])


def is_decided(effects: Effects, changed: Container[str], *, first: bool) -> bool:
    """Return whether the answer of an assertion is known before the plan runs.

    Args:
        effects: those of its query.
        changed: the tables that statements before it can change.
        first: whether it is the first statement.

    """
    return first or (not effects.unknown and not any(lock.table in changed for lock in effects.locks))
