"""The rows of a live display as a tree: every resource below its parent."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pulumi_embedded.display.rows import Row

__all__ = ["Branch", "tree"]


@dataclass(frozen=True)
class Branch:
    """A row, and the lines before its type."""

    row: Row
    indent: str


def tree(rows: list[Row], stack_urn: str) -> list[Branch]:
    """Return the shown rows and their ancestors, each parent before its children, in the order of their appearance."""
    by_urn = {row.urn: row for row in rows}
    children: dict[str, list[Row]] = {}
    needed = _needed(rows, by_urn)
    for row in sorted(rows, key=lambda row: row.order):
        if row.urn in needed and row.urn != stack_urn:
            parent = _parent(row)
            children.setdefault(parent if parent in needed else stack_urn, []).append(row)
    trunk = by_urn.get(stack_urn)
    if trunk is None:
        return [Branch(row, "") for row in children.get(stack_urn, [])]
    return [Branch(trunk, ""), *_below(stack_urn, children, "")]


def _parent(row: Row) -> str:
    return (row.view.resource.parent or "") if row.view else ""


def _needed(rows: list[Row], by_urn: dict[str, Row]) -> set[str]:
    needed: set[str] = set()
    for row in rows:
        urn = row.urn if row.shown else ""
        while urn in by_urn and urn not in needed:
            needed.add(urn)
            urn = _parent(by_urn[urn])
    return needed


def _below(urn: str, children: dict[str, list[Row]], margin: str) -> Iterator[Branch]:
    rows = children.get(urn, [])
    for number, row in enumerate(rows):
        last = number == len(rows) - 1
        yield Branch(row, margin + ("└─ " if last else "├─ "))
        yield from _below(row.urn, children, margin + ("   " if last else "│  "))
