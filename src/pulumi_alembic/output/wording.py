"""Numbers, lists and tables as text: the same words wherever there is one of them, several, or too many to show."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

__all__ = ["counted", "few", "first", "plural", "rest", "table"]


def plural(number: int | None, word: str) -> str:
    """`row` for one, `rows` for any other number."""
    return word if number == 1 else f"{word}s"


def counted(number: int, word: str) -> str:
    """`1 revision`, `2,000 revisions`."""
    return f"{number:,} {plural(number, word)}"


def few(names: Sequence[str], shown: int) -> str:
    """The first of the names, and how many more there are."""
    more = f" and {len(names) - shown:,} more" if len(names) > shown else ""
    return ", ".join(names[:shown]) + more


def first(lines: Sequence[str], shown: int) -> list[str]:
    """The first of the lines, and one that says how many more there are."""
    return [*lines[:shown], *rest(len(lines), shown)]


def rest(number: int, shown: int) -> list[str]:
    """The line that says how many of so many are not shown; none if all are."""
    return [f"… and {number - shown:,} more"] if number > shown else []


def table(rows: Iterable[Sequence[str]]) -> list[str]:
    """The lines of a table for people; the first row has the titles."""
    cells = list(rows)
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]
