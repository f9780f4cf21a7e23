"""Fit rows of cells into the width of a terminal. The least important cell is cut first."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len
from rich.text import Text

__all__ = ["fitted"]

_GAP = 2
# Cells are sign, type and name or URN, status, info. Each pair is a cell and the width that it is cut to, in turn.
# An info begins with a message such as "applied 20250126_003, 12 of 15".
_CUTS = {
    5: ((4, 30), (1, 12), (2, 12), (4, 0), (1, 8), (2, 6), (3, 4), (1, 0), (2, 0), (3, 0)),
    4: ((3, 30), (1, 20), (3, 0), (1, 6), (2, 4), (1, 0), (2, 0)),
}


def fitted(rows: Sequence[Sequence[Text]], width: int) -> list[Text]:
    """Return one line of at most `width` characters for each row. All rows have four or five cells."""
    widths = [max(cell_len(row[column].plain) for row in rows) for column in range(len(rows[0]))]
    excess = sum(widths) + _GAP * (len(widths) - 1) - width
    for column, least in _CUTS[len(widths)]:
        cut = max(0, min(excess, widths[column] - least))
        widths[column] -= cut
        excess -= cut
    return [_line(row, widths, width) for row in rows]


def _line(row: Sequence[Text], widths: Sequence[int], width: int) -> Text:
    line = Text(no_wrap=True)
    for cell, room in zip(row, widths, strict=True):
        cell = cell.copy()
        cell.truncate(room, overflow="ellipsis", pad=True)
        line.append_text(cell).append(" " * _GAP)
    line.rstrip()
    line.truncate(width, overflow="crop")
    return line
