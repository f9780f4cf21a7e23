"""A revision that a recipe writes: its message, its phase, what happens when, and its statements as Python."""

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
    """`story` is for the docstring. `upgrade` and `downgrade` are statements in Python; `uses` are names of ours."""

    message: str
    story: str
    upgrade: tuple[str, ...]
    downgrade: tuple[str, ...] = ()
    contract: bool = False
    uses: tuple[str, ...] = ()


def execute(sql: str, allow: str = "", reason: str = "") -> str:
    """A call that executes the statement; with the name of a rule that it is an exception from, and the reason."""
    comment = _ALLOW.format(allow, reason) if allow else ""
    # SQLAlchemy takes it for a parameter otherwise.
    sql = _PARAMETER.sub(r"\\:", sql)
    if "\n" not in sql and '"' not in sql and "\\" not in sql and len(sql) <= _LONGEST:
        return f'{comment}op.execute("{sql}")'
    mark = "r" if "\\" in sql else ""
    body = sql if "\n" in sql else "\n" + indent(sql, "    ") + "\n"
    return f'{comment}op.execute({mark}"""{body}""")'


def block(sql: str) -> str:
    """A call that executes the statement outside of a transaction."""
    return "with op.get_context().autocommit_block():\n" + indent(execute(sql), "    ")
