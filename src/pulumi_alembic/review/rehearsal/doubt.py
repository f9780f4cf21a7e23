"""Decide whether a revision that failed in a rehearsal also fails on the target, whose tables have rows."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import Any

from pulumi_alembic.database.retry import server_error
from pulumi_alembic.sql.parser import ParseError, children, parse

__all__ = ["doubt"]

# SQLSTATE classes that do not depend on rows: a feature that the server does not have, a wrong state of the
# transaction, objects that depend on another, names of cursors, savepoints, databases and schemas, syntax and names.
_REFUSED = ("0A", "25", "2B", "34", "3B", "3D", "3F", "42")
# SQLSTATE classes that depend on rows: cardinality, data, constraints, and errors that a function raises.
_OF_VALUES = ("21", "22", "23", "P0")
_OF_OTHER_TABLES = ("23503", "P0")
"""A missing row of a referenced table, and an error that a trigger raises: the statement read another table."""

_EMPTY = "no table has rows there, so it can succeed on the target"
_OTHER = "it can succeed on the target, where the server can be in another state"

_DEFINITIONS = {
    "AlterDomainStmt", "AlterEnumStmt", "AlterTableStmt", "CommentStmt", "CreateDomainStmt", "CreateEnumStmt",
    "CreateFunctionStmt", "CreateSchemaStmt", "CreateSeqStmt", "CreateStmt", "CreateTrigStmt", "DropStmt", "GrantStmt",
    "IndexStmt", "RenameStmt", "ViewStmt",
}  # fmt: skip
_NEW_FUNCTION = re.compile(r"""(?i)\b(?:FUNCTION|PROCEDURE)\s+(?:[\w"]+\s*\.\s*)?"?(\w+)""")
_READING = re.compile(r"(?i)\b(?:select|from|perform|execute|call|into|using)\b")


def doubt(error: BaseException | None, sent: Sequence[str], functions: Collection[str] = ()) -> str:
    """Return the reason why the revision can succeed on the target. Empty if it fails there too.

    Args:
        error: What the revision ended with.
        sent: The statements that it sent. If one failed, it is the last.
        functions: Names of the database's own functions, which can read tables.

    """
    server = server_error(error) if error is not None else None
    state = (server.sqlstate if server is not None else None) or ""
    if state.startswith(_REFUSED):
        return ""
    if state and not state.startswith(_OF_VALUES):
        return _OTHER
    # An error in Python can be caused by any row that was read before.
    candidates = sent[-1:] if state else sent
    own = {*functions, *(name for statement in sent for name in _NEW_FUNCTION.findall(statement))}
    return _EMPTY if any(_reads(statement, state, own) for statement in candidates) else ""


def _reads(statement: str, state: str, functions: Collection[str]) -> bool:
    """Return whether the statement reads a table, or calls a function that can read one."""
    try:
        # A definition scans existing rows, but does not depend on whether a row exists.
        waiting: list[Any] = [parsed for parsed in parse(statement) if parsed.tag not in _DEFINITIONS]
    except ParseError:
        return True
    while waiting:
        node = waiting.pop()
        if isinstance(node, list):
            waiting += node
        elif node.tag == "InsertStmt":
            if state.startswith(_OF_OTHER_TABLES):
                return True
            waiting += [node.selectStmt] if node.selectStmt else []
        elif node.tag in {"RangeVar", "ExecuteStmt"}:
            return True
        elif node.tag == "DoStmt":
            if _READING.search(" ".join(argument.arg.sval or "" for argument in node.args)):
                return True
        elif node.tag == "FuncCall" and node.funcname[-1].sval in functions:
            # PostgreSQL's own functions read no table.
            return True
        else:
            waiting += children(node)
    return False
