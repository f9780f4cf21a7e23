"""Numbers, lists, paths and tables as text, for one item, several, or more than are shown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

__all__ = ["counted", "few", "first", "lasted", "nearby", "plural", "rest", "table"]


def nearby(path: Path | str) -> Path:
    """Return the path relative to the current directory if it is below, as messages show it."""
    path, here = Path(path), Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


def plural(number: int | None, word: str) -> str:
    """Return `row` for one, `rows` for any other number."""
    return word if number == 1 else f"{word}s"


def counted(number: int, word: str) -> str:
    """Return `1 revision`, `2,000 revisions`."""
    return f"{number:,} {plural(number, word)}"


def lasted(seconds: float) -> str:
    """Return `12 s`, `5 min`, `20 h` or `3 d`, rounded down."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"


def few(names: Sequence[str], shown: int) -> str:
    """Return the first names, and the number of further ones."""
    more = f" and {len(names) - shown:,} more" if len(names) > shown else ""
    return ", ".join(names[:shown]) + more


def first(lines: Sequence[str], shown: int) -> list[str]:
    """Return the first lines, and a line with the number of further ones."""
    return [*lines[:shown], *rest(len(lines), shown)]


def rest(number: int, shown: int) -> list[str]:
    """Return a line with the number of further lines. Empty if all are shown."""
    return [f"… and {number - shown:,} more"] if number > shown else []


def table(rows: Iterable[Sequence[str]]) -> list[str]:
    """Return the lines of a table. The first row has the titles."""
    cells = list(rows)
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]
