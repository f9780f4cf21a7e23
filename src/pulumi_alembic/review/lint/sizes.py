"""The size of a table from the server's statistics, in texts that do not change with every row. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from pulumi_alembic.review.lint.settings import Settings
from pulumi_alembic.sql.catalog import Catalog, Measure, Relation

__all__ = ["Size", "size_of"]

EMPTY, SMALL, LARGE = 0, 1, 2
BLOCK = 8192
_STEPS = (10_000, 100_000, 1_000_000, 10_000_000, 100_000_000, 1_000_000_000)


@dataclass(frozen=True)
class Size:
    """The size of a table. `situation` is EMPTY, SMALL (also if the size is unknown) or LARGE."""

    situation: int
    text: str


UNKNOWN = Size(SMALL, "of unknown size")


def size_of(
    table: str,
    there: Catalog | None,
    settings: Settings,
    measure: Measure = lambda table: None,
    *,
    static: bool = False,
) -> Size:
    """Return the size of a table with its partitions and children.

    A table without pages can be empty, never analysed, or on a server that lost its statistics. Then its bytes are
    measured. If they are not known, the table does not count as empty.

    Args:
        table: The name.
        there: The catalog before the plan. None if there is no database.
        settings: The thresholds.
        measure: Returns a table's bytes. None if they are not known.
        static: Whether no database is meant. The size is then unknown.

    """
    if static:
        return UNKNOWN
    if there is None or table not in there.relations:
        return Size(EMPTY, "which this plan creates")
    parts = [there.relations[name] for name in [table, *there.descendants(table)]]
    rows = sum(part.rows for part in parts)
    sizes = [_bytes_of(part, measure) for part in parts]
    size = sum(number or 0 for number in sizes)
    if rows >= settings.large_rows:
        return Size(LARGE, _text(rows, size))
    if size >= settings.large_size:
        return Size(LARGE, _text(0, size) if not rows else f"{_text(rows, size)} by statistics, {_bytes(size)}")
    if not rows and None in sizes:
        return UNKNOWN
    return Size(SMALL, _text(rows, size)) if rows or size else Size(EMPTY, "which is empty")


def _bytes_of(relation: Relation, measure: Measure) -> int | None:
    if relation.pages or relation.kind not in "rmf":
        return relation.pages * BLOCK
    return None if relation.kind == "f" else measure(relation.name)


def _text(rows: int, size: int) -> str:
    """Return the size in coarse words. An approval covers them, and must stay valid after a few more rows."""
    passed = [step for step in _STEPS if rows >= step]
    if not rows:
        return f"never analysed, {_bytes(size)}"
    return f"more than {passed[-1]:,} rows" if passed else f"fewer than {_STEPS[0]:,} rows"


def _bytes(size: int) -> str:
    for unit, factor in (("TB", 1024**4), ("GB", 1024**3), ("MB", 1024**2)):
        if size >= factor:
            return f"more than 1 {unit}"
    return "less than 1 MB"
