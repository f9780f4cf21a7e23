"""One statement of a script that repairs drift, and the functions that make statements for a kind of item."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pulumi_alembic.drift.difference.snapshot import Item, Snapshot

__all__ = ["Facts", "Made", "Repairs", "Statement", "literal"]

Facts = Mapping[str, Any]

Made = Iterator[tuple[str, str]]
"""Statements without semicolons, each with its note."""


@dataclass(frozen=True)
class Statement:
    """One statement of a repair script.

    Attributes:
        sql: without a semicolon. Empty if there is only a note.
        rank: its position among the others.
        role: the role that can run it. Empty for the server's admin.
        note: what it does not restore.

    """

    sql: str
    rank: int
    role: str = ""
    note: str = ""


def _stays(expected: Item, found: Item) -> bool:
    return False


@dataclass(frozen=True)
class Repairs:
    """Functions that return the statements for items of these kinds.

    Attributes:
        make: gets the expected item and the expected snapshot.
        drop: gets the item that was found.
        alter: gets the expected item and the one that was found.
        needs_new: whether the item must be dropped and created again instead.

    """

    kinds: tuple[str, ...]
    make: Callable[[Item, Snapshot], Made]
    drop: Callable[[Item], Made]
    alter: Callable[[Item, Item], Made]
    needs_new: Callable[[Item, Item], bool] = _stays


def literal(text: str) -> str:
    """Return the text as an SQL constant."""
    quoted = text.replace("'", "''")
    return "E'{}'".format(quoted.replace("\\", r"\\")) if "\\" in quoted else f"'{quoted}'"
