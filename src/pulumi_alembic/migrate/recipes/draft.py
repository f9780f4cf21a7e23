"""A draft of a revision that a recipe writes: its message, its phase, its docstring and its statements in Python."""

from __future__ import annotations

import re
from dataclasses import dataclass
from textwrap import indent

__all__ = ["Draft", "block", "execute"]

_LONGEST = 96
_PARAMETER = re.compile(r"(?<![:\w\\]):(?=\w)")
_ALLOW = "# lint: allow {}: {}\n"


@dataclass(frozen=True)
class Draft:
    """A revision that a recipe writes.

    Attributes:
        story: for the docstring of the script.
        upgrade: statements in Python, like `downgrade`.
        contract: the phase is contract.
        uses: names that the script imports from pulumi_alembic.

    """

    message: str
    story: str
    upgrade: tuple[str, ...]
    downgrade: tuple[str, ...] = ()
    contract: bool = False
    uses: tuple[str, ...] = ()


def execute(sql: str, allow: str = "", reason: str = "") -> str:
    """Return a call that executes the SQL statement, with a comment that allows an exception from a lint rule.

    Args:
        sql: the statement.
        allow: the name of the lint rule. Empty for no comment.
        reason: why the exception is right.

    """
    comment = _ALLOW.format(allow, reason) if allow else ""
    # Without the backslash SQLAlchemy reads it as a parameter.
    sql = _PARAMETER.sub(r"\\:", sql)
    if "\n" not in sql and '"' not in sql and "\\" not in sql and len(sql) <= _LONGEST:
        return f'{comment}op.execute("{sql}")'
    mark = "r" if "\\" in sql else ""
    body = sql if "\n" in sql else "\n" + indent(sql, "    ") + "\n"
    return f'{comment}op.execute({mark}"""{body}""")'


def block(sql: str) -> str:
    """Return a call that executes the SQL statement outside a transaction."""
    return "with op.get_context().autocommit_block():\n" + indent(execute(sql), "    ")
