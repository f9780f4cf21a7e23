"""Find the objects that a revision renamed, by their oids before and after it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

__all__ = ["NAMES", "Names", "Rename", "called", "renames"]

NAMES = r"""
SELECT 'schema', oid::bigint, 0, quote_ident(nspname), '' FROM pg_catalog.pg_namespace
WHERE nspname <> 'information_schema' AND nspname NOT LIKE 'pg\_%'
UNION ALL SELECT CASE relkind WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view' WHEN 'S' THEN 'sequence'
        WHEN 'f' THEN 'foreign table' WHEN 'i' THEN 'index' WHEN 'I' THEN 'index' ELSE 'table' END,
    c.oid::bigint, 0, quote_ident(relname), quote_ident(nspname)
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = relnamespace
WHERE nspname <> 'information_schema' AND nspname NOT LIKE 'pg\_%' AND relkind <> 'c'
UNION ALL SELECT 'column', attrelid::bigint, attnum, quote_ident(attname),
    quote_ident(nspname) || '.' || quote_ident(relname)
FROM pg_catalog.pg_attribute JOIN pg_catalog.pg_class c ON c.oid = attrelid
JOIN pg_catalog.pg_namespace n ON n.oid = relnamespace
WHERE nspname <> 'information_schema' AND nspname NOT LIKE 'pg\_%' AND relkind IN ('r', 'p', 'f')
    AND attnum > 0 AND NOT attisdropped
"""
"""Query for the kind, oid, column number and name of each object, and for the schema or table that it is a part of."""

Names = Mapping[tuple[str, int, int], tuple[str, str]]


@dataclass(frozen=True)
class Rename:
    """A rename of one object: `old` in `old_place` became `new` in `place`."""

    kind: str
    old: str
    old_place: str
    new: str
    place: str

    def __str__(self) -> str:
        return f"{self.kind} {self.was} to {_name(self.place, self.new)}"

    @property
    def was(self) -> str:
        """The whole old name."""
        return _name(self.old_place, self.old)


def renames(before: Names, after: Names) -> list[Rename]:
    """Return the renames between two readings, without objects that only moved with their schema or table."""
    pairs: list[Rename] = []
    for (kind, oid, number), (old, old_place) in sorted(before.items(), key=lambda item: item[0][0] != "schema"):
        new, place = after.get((kind, oid, number), (old, old_place))
        moved = old_place != place and not any((rename.old, rename.new) == (old_place, place) for rename in pairs)
        if old != new or (moved and kind != "column"):
            pairs.append(Rename(kind, old, old_place, new, place))
    return pairs


def called(lines: Iterable[str], pairs: Iterable[Rename]) -> Iterator[str]:
    """Return the lines of a fingerprint with the new names."""
    patterns = [(table, _pattern(table)) for table in pairs]
    for line in lines:
        for rename, (pattern, new) in patterns:
            kind, name, *_ = line.split("|", 2)
            if rename.kind == "schema" and (kind, name) == ("schema", rename.old):
                line = line.replace(f"schema|{rename.old}", f"schema|{new}", 1)
            elif rename.kind != "column" or name.startswith(f"{rename.place}.") or f" {rename.place} " in line:
                line = pattern.sub(new.replace("\\", r"\\"), line)
        yield line


def _pattern(rename: Rename) -> tuple[re.Pattern[str], str]:
    if rename.kind == "schema":
        return re.compile(rf'(?<![\w".]){re.escape(rename.old)}(?=\.)'), rename.new
    if rename.kind == "column":
        return re.compile(rf'(?<![\w"]){re.escape(rename.old)}(?![\w".])'), rename.new
    old, new = rename.was, _name(rename.place, rename.new)
    return re.compile(rf'(?<![\w".]){re.escape(old)}(?![\w"])'), new


def _name(place: str, name: str) -> str:
    return f"{place}.{name}" if place else name
