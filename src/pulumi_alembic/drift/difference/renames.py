"""Renamed objects: find what has another name than expected and is otherwise equal, to rename it back.

Pure functions.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pulumi_alembic.drift.difference.names import split, unquoted
from pulumi_alembic.drift.difference.snapshot import Item, Snapshot, grouped

__all__ = ["Rename", "generated", "undo_renames"]

_OBJECTS = (
    "table", "foreign table", "view", "materialized view", "sequence", "type", "domain", "function", "procedure",
)  # fmt: skip
_PARTS = ("column", "constraint", "index", "trigger", "policy")

# Names that PostgreSQL generates.
_GENERATED = re.compile(r"_(?:\w+_)?(?:pkey|key|check|fkey|excl|idx)\d*")


@dataclass(frozen=True)
class Rename:
    """An item that is expected with one name and was found with another."""

    expected: Item
    found: Item


def undo_renames(expected: Snapshot, found: Snapshot, skip: Callable[[Item], bool]) -> tuple[list[Rename], Snapshot]:
    """Return the unambiguous renames, and the found snapshot with these undone.

    Items for which `skip` is true are left out.
    """
    renames: list[Rename] = []
    for kinds in (("schema",), _OBJECTS, _PARTS):
        pairs = [
            rename
            for rename in _pairs(expected, found, kinds)
            if not skip(rename.found) and not (generated(rename.expected) and generated(rename.found))
        ]
        if pairs:
            working = _Working(found.items)
            for rename in pairs:
                _rename(working, rename)
            found = Snapshot(tuple(working.items))
        renames += pairs
    return renames, found


def generated(item: Item) -> bool:
    """Return whether the server can have generated the name of this part of a table."""
    if item.kind not in ("constraint", "index") or "table" not in item.facts:
        return False
    table, name = unquoted(split(item.facts["table"]).bare), unquoted(item.facts["name"])
    return name.startswith(table) and _GENERATED.fullmatch(name, len(table)) is not None


class _Working:
    """Items during several renames. Each rename only looks at items that can contain the name."""

    def __init__(self, items: Iterable[Item]) -> None:
        self.items = list(items)
        self._places: defaultdict[str, list[int]] = defaultdict(list)
        for place, item in enumerate(self.items):
            for word in _words(item):
                self._places[word].append(place)

    def naming(self, name: str) -> list[Item]:
        """Return all items that can contain the name, in order."""
        return [self.items[place] for place in sorted(self._naming(name))]

    def replace(self, name: str, change: Callable[[Item], Item]) -> None:
        """Change the items that can contain the name."""
        for place in self._naming(name):
            old = self.items[place]
            new = self.items[place] = change(old)
            if new != old:
                for word in _words(new) - _words(old):
                    self._places[word].append(place)

    def _naming(self, name: str) -> set[int]:
        words = _WORD.findall(name)
        return set(min((self._places.get(word, []) for word in words), key=len, default=range(len(self.items))))


_WORD = re.compile(r"\w+")


def _words(item: Item) -> set[str]:
    return set(_WORD.findall("\n".join((item.name, *_texts(item.facts)))))


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, (Mapping, list)):
        for item in value.values() if isinstance(value, Mapping) else value:
            yield from _texts(item)


def _pairs(expected: Snapshot, found: Snapshot, kinds: tuple[str, ...]) -> list[Rename]:
    missing, extra = (
        grouped(
            (item for item in snapshot.items if item.kind in kinds and item.key not in other.by_key),
            _likeness(snapshot, kinds),
        )
        for snapshot, other in ((expected, found), (found, expected))
    )
    return [
        Rename(olds[0], news[0])
        for likeness, olds in missing.items()
        if len(olds) == 1 and len(news := extra.get(likeness, [])) == 1
    ]


def _likeness(snapshot: Snapshot, kinds: tuple[str, ...]) -> Callable[[Item], Hashable]:
    """Return a function that gives equal values for items that differ only in their name.

    Schemas are compared by contents.
    """
    if kinds == ("schema",):
        within: defaultdict[str, set[Hashable]] = defaultdict(set)
        for kind in _OBJECTS:
            for candidate in snapshot.of(kind):
                name = split(candidate.name)
                within[name.schema].add((kind, name.bare, name.arguments))
        return lambda schema: frozenset(within[schema.name])

    def likeness(item: Item) -> Hashable:
        own = _Name(_bare(item) if item.kind in _OBJECTS else item.facts["name"])
        same = _replaced(Item(item.kind, "", {**item.facts, "name": ""}), own, "?")
        columns = sorted(_replaced(column, own, "?").line for column in snapshot.columns(item.name))
        return same.line, tuple(columns)

    return likeness


def _bare(item: Item) -> str:
    """Return the name without the arguments of a function."""
    return item.name.removesuffix(split(item.name).arguments) if item.kind in _OBJECTS else item.name


def _rename(working: _Working, rename: Rename) -> None:
    old, new = _bare(rename.found), _bare(rename.expected)
    if rename.found.kind == "schema":
        working.replace(old, lambda item: _replaced(item, _of_schema(item, old), new))
        return
    for was, now in [(old, new), *_follow(working, rename)]:
        working.replace(was, lambda item: _replaced(item, _Name(was), now))  # noqa: B023 - it is called at once
    if rename.found.kind in _PARTS:
        own, short = _Name(rename.found.facts["name"]), rename.expected.facts["name"]
        # Parts of a table mention the table. Other items mention the part itself.
        working.replace(
            rename.expected.facts.get("table") or rename.expected.name,
            lambda item: _replaced(item, own, short) if _names(item, rename) else item,
        )


def _follow(working: _Working, rename: Rename) -> list[tuple[str, str]]:
    """Return renames of indexes and owned sequences, which move with a table to another schema."""
    table = rename.found.name
    was, now = (split(item.name).schema for item in (rename.found, rename.expected))
    if rename.found.kind in _PARTS or was == now:
        return []
    near = working.naming(table)
    own = [neighbour.name for neighbour in near if neighbour.kind == "index" and neighbour.facts["table"] == table]
    own += [
        neighbour.name
        for neighbour in near
        if neighbour.kind == "sequence" and neighbour.facts.get("owned by", "").startswith(f"{table}.")
    ]
    return [(name, f"{now}{name.removeprefix(was)}") for name in own]


def _names(item: Item, rename: Rename) -> bool:
    """Return whether the item mentions the renamed part by its short name."""
    if item.facts.get("table") != rename.expected.facts.get("table"):
        return False
    if item.kind == "comment":
        return (item.facts["on"], item.facts["object"]) == rename.expected.key
    return item.key == rename.expected.key or (rename.found.kind == "column" and item.kind != "column")


@dataclass(frozen=True)
class _Name:
    """A name as a whole word in a text. With `dotted` only before a dot."""

    name: str
    dotted: bool = False

    def replace(self, text: str, new: str) -> str:
        """Return the text with another name in its place."""
        parts, begin, place = [], 0, text.find(self.name)
        while place >= 0:
            end = place + len(self.name)
            if self._alone(text[place - 1 : place], text[end : end + 1]):
                parts += [text[begin:place], new]
                begin = end
            place = text.find(self.name, max(begin, place + 1))
        return "".join([*parts, text[begin:]])

    def _alone(self, before: str, behind: str) -> bool:
        follows = behind == "." if self.dotted else not (_is_word(behind) or behind == '"')
        return follows and not (_is_word(before) or before in ('"', "."))


def _is_word(letter: str) -> bool:
    return letter.isalnum() or letter == "_"


def _of_schema(item: Item, schema: str) -> _Name:
    """Return the schema's name as the item mentions it: before a dot, or by itself if the item is about the schema."""
    about = item.kind == "schema" or "schema" in (item.facts.get("kind"), item.facts.get("on"))
    return _Name(schema, dotted=not about and item.facts.get("schema") != schema)


def _replaced(item: Item, name: _Name, new: str) -> Item:
    def replaced(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: fact if key == "text" else replaced(fact) for key, fact in value.items()}
        if isinstance(value, list):
            return [replaced(member) for member in value]
        return name.replace(value, new) if isinstance(value, str) else value

    facts = replaced(item.facts)
    if item.kind in ("function", "procedure"):
        # The server does not rename inside the text of a function's body.
        head = str(item.facts["definition"]).partition("\nAS $")[0]
        facts["definition"] = replaced(head) + str(item.facts["definition"])[len(head) :]
    return Item(item.kind, replaced(item.name), facts)
