"""One statement of a script that brings back what is expected."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pulumi_alembic.drift.difference.snapshot import Item, Snapshot

__all__ = ["Facts", "Made", "Repairs", "Statement", "literal"]

Facts = Mapping[str, Any]

Made = Iterator[tuple[str, str]]
"""Statements without their semicolons, each with its note."""


@dataclass(frozen=True)
class Statement:
    """SQL without its semicolon. `role` is who may run it, empty where it is the server's admin.

    `rank` is its place among others. `note` is what it does not bring back; without `sql` nothing is.
    """

    sql: str
    rank: int
    role: str = ""
    note: str = ""


def _stays(expected: Item, found: Item) -> bool:
    return False


@dataclass(frozen=True)
class Repairs:
    """What brings back items of these kinds.

    `make` is given all that is expected, `alter` the item as it is expected and as it was found. Where that one
    `needs_new`, it is dropped, and made with all that is on it.
    """

    kinds: tuple[str, ...]
    make: Callable[[Item, Snapshot], Made]
    drop: Callable[[Item], Made]
    alter: Callable[[Item, Item], Made]
    needs_new: Callable[[Item, Item], bool] = _stays


def literal(text: str) -> str:
    """The text as a constant of SQL."""
    quoted = text.replace("'", "''")
    return "E'{}'".format(quoted.replace("\\", r"\\")) if "\\" in quoted else f"'{quoted}'"
