"""One statement of a script that brings back what is expected."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["Facts", "Statement", "literal"]

Facts = Mapping[str, Any]


@dataclass(frozen=True)
class Statement:
    """SQL without its semicolon. `role` is who may run it, empty where it is the server's admin.

    `rank` is its place among others. `note` is what it does not bring back; without `sql` nothing is.
    """

    sql: str
    rank: int
    role: str = ""
    note: str = ""


def literal(text: str) -> str:
    """The text as a constant of SQL."""
    quoted = text.replace("'", "''")
    return f" E'{quoted.replace(chr(92), chr(92) * 2)}'".lstrip() if "\\" in quoted else f"'{quoted}'"
