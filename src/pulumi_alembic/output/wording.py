"""Numbers, lists, paths and tables as text, in the same words for one, for several, and for too many to show."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

__all__ = ["counted", "few", "first", "nearby", "plural", "rest", "table"]


def nearby(path: Path | str) -> Path:
    """The path as messages name it: relative to the current folder if it is below."""
    path, here = Path(path), Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


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
