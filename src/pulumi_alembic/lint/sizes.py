"""How large a table is, as far as the server's statistics say, in words that do not change with every row. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from pulumi_alembic.catalog import Catalog
from pulumi_alembic.lint.settings import Settings

__all__ = ["Size", "size_of"]

EMPTY, SMALL, LARGE = 0, 1, 2
BLOCK = 8192
_STEPS = (10_000, 100_000, 1_000_000, 10_000_000, 100_000_000, 1_000_000_000)


@dataclass(frozen=True)
class Size:
    """`situation` is 0 for a table without rows, 1 for a small one or one of unknown size, 2 for a large one."""

    situation: int
    text: str


def size_of(table: str, there: Catalog | None, settings: Settings, *, static: bool = False) -> Size:
    """The size of the table and all below it; of one that the plan makes, empty; unknown where `static`."""
    if static:
        return Size(SMALL, "of unknown size")
    if there is None or table not in there.relations:
        return Size(EMPTY, "which this plan makes")
    parts = [there.relations[each] for each in [table, *there.descendants(table)]]
    rows = sum(each.rows for each in parts)
    size = sum(each.pages for each in parts) * BLOCK
    if rows >= settings.large_rows or size >= settings.large_size:
        return Size(LARGE, _text(rows, size))
    return Size(SMALL, _text(rows, size)) if rows or size else Size(EMPTY, "which is empty")


def _text(rows: int, size: int) -> str:
    """Coarse, as an approval is given to these words, and has to outlast a few more rows."""
    passed = [step for step in _STEPS if rows >= step]
    if not rows:
        return f"never analysed, {_bytes(size)}"
    return f"more than {passed[-1]:,} rows" if passed else f"fewer than {_STEPS[0]:,} rows"


def _bytes(size: int) -> str:
    for unit, each in (("TB", 1024**4), ("GB", 1024**3), ("MB", 1024**2)):
        if size >= each:
            return f"more than 1 {unit}"
    return "less than 1 MB"
