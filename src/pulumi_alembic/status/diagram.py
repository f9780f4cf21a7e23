"""The tables of a database as an SVG picture: a box for each table, a line for each foreign key. Pure.

The page must work without a network, so it cannot load the program that draws Mermaid's diagrams.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from pulumi_alembic.database.connection import KEPT_SCHEMA, VERSION_SCHEMA
from pulumi_alembic.output.printable import printable
from pulumi_alembic.sql.catalog import Catalog
from pulumi_alembic.sql.tables import TableChange, TableState, tables

__all__ = ["diagram"]

_ROW, _HEAD, _LETTER, _GAP, _MARGIN = 20, 28, 7.3, 70, 12
_Place = tuple[float, float, float, float]
"""The left and upper edge of a box, its width and its height, in pixels."""
_MOST = 60
"""The number of tables that are drawn. Further tables are only counted."""


def diagram(catalog: Catalog, label: str) -> str:
    """Return the picture as an `svg` element. Empty if there are no tables.

    Args:
        catalog: The catalog of the database.
        label: The name of the picture for a screen reader.

    """
    own = (f"{VERSION_SCHEMA}.", f"{KEPT_SCHEMA}.")
    listed = [table for table in tables(Catalog(), catalog) if not table.name.startswith(own)]
    shown = listed[:_MOST]
    if not shown:
        return ""
    places, width, height = _places(shown)
    parts = [*(_lines(table, places) for table in shown), *(_box(table, places[table.name]) for table in shown)]
    more = f"<p>{len(listed) - len(shown)} more tables are not drawn.</p>" if len(listed) > len(shown) else ""
    return (
        f'<svg role="img" aria-label="{_text(label)}" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width:.0f} {height:.0f}">{"".join(parts)}</svg>{more}'
    )


def _rows(table: TableChange) -> list[tuple[str, str, str]]:
    state = table.after or TableState()
    return [(column.key, column.name, column.type) for column in state.columns]


def _width(table: TableChange) -> float:
    longest = max([len(table.name) + 2, *(len(name) + len(type_) + 8 for _, name, type_ in _rows(table))])
    return min(longest, 60) * _LETTER + 2 * _MARGIN


def _places(shown: Sequence[TableChange]) -> tuple[dict[str, _Place], float, float]:
    """Return the box of each table, to the right of the tables that it references, and the width and height of all."""
    names = {table.name: table for table in shown}
    depth: dict[str, int] = {}

    def deep(name: str, above: frozenset[str]) -> int:
        if name not in depth:
            state = names[name].after or TableState()
            targets = {key.table for key in state.foreign_keys} & set(names) - above - {name}
            depth[name] = max((deep(target, above | {name}) + 1 for target in sorted(targets)), default=0)
        return depth[name]

    for name in names:
        deep(name, frozenset())
    places, x, height = {}, float(_MARGIN), 0.0
    for level in sorted(set(depth.values())):
        column = [table for table in shown if depth[table.name] == level]
        y, wide = float(_MARGIN), max(map(_width, column))
        for table in column:
            tall = float(_HEAD + _ROW * len(_rows(table)) + 6)
            places[table.name] = (x, y, _width(table), tall)
            y += tall + _MARGIN * 2
        x, height = x + wide + _GAP, max(height, y)
    return places, x - _GAP + _MARGIN, height


def _box(table: TableChange, place: _Place) -> str:
    x, y, width, height = place
    texts = [f'<text class="title" x="{x + _MARGIN:.0f}" y="{y + 19:.0f}">{_text(table.name)}</text>']
    for number, (key, name, type_) in enumerate(_rows(table)):
        line = y + _HEAD + _ROW * number + 14
        texts.append(
            f'<text x="{x + _MARGIN:.0f}" y="{line:.0f}"><tspan class="key">{_text(key.split(",")[0] or " ")}</tspan>'
            f'<tspan x="{x + _MARGIN + 26:.0f}">{_text(name)}</tspan>'
            f'<tspan class="type" dx="8">{_text(type_)}</tspan></text>'
        )
    return f'<rect x="{x:.0f}" y="{y:.0f}" width="{width:.0f}" height="{height:.0f}" rx="4"/>{"".join(texts)}'


def _lines(table: TableChange, places: Mapping[str, _Place]) -> str:
    drawn = []
    x, y, width, _ = places[table.name]
    names = [name for _, name, _ in _rows(table)]
    for key in (table.after or TableState()).foreign_keys:
        if key.table not in places:
            continue
        row = names.index(key.columns[0]) if key.columns and key.columns[0] in names else 0
        start = y + _HEAD + _ROW * row + 9
        to_x, to_y, to_width, _ = places[key.table]
        end = to_y + _HEAD / 2
        side = to_x + to_width
        if to_x < x:
            curve = f"M{x:.0f} {start:.0f}C{x - 40:.0f} {start:.0f} {side + 40:.0f} {end:.0f} {side:.0f} {end:.0f}"
        else:
            right, bend = x + width, max(x + width, side) + 50
            curve = f"M{right:.0f} {start:.0f}C{bend:.0f} {start:.0f} {bend:.0f} {end:.0f} {side:.0f} {end:.0f}"
        drawn.append(f'<path d="{curve}"/>')
    return "".join(drawn)


def _text(text: str) -> str:
    return escape(printable(text if len(text) <= 60 else f"{text[:59]}…"))
