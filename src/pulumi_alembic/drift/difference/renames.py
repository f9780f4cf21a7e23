"""Objects that have another name than expected, and are else the same: they are renamed back, not made anew. Pure."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any

from pulumi_alembic.drift.difference.names import split, unquoted
from pulumi_alembic.drift.difference.snapshot import Item, Snapshot

__all__ = ["Rename", "generated", "undo_renames"]

_OBJECTS = (
    "table", "foreign table", "view", "materialized view", "sequence", "type", "domain", "function", "procedure",
)  # fmt: skip
_PARTS = ("column", "constraint", "index", "trigger", "policy")

# As PostgreSQL names what has no name.
_GENERATED = r"_(?:\w+_)?(?:pkey|key|check|fkey|excl|idx)\d*"


@dataclass(frozen=True)
class Rename:
    """What is expected by one name, and was found by another."""

    expected: Item
    found: Item


def undo_renames(expected: Snapshot, found: Snapshot, skip: Callable[[Item], bool]) -> tuple[list[Rename], Snapshot]:
    """The renames, where it is plain which is which, and what was found as it would be without them."""
    renames: list[Rename] = []
    for kinds in (("schema",), _OBJECTS, _PARTS):
        for rename in _pairs(expected, found, kinds):
            if not skip(rename.found) and not (generated(rename.expected) and generated(rename.found)):
                found = _renamed(found, rename)
                renames.append(rename)
    return renames, found


def generated(item: Item) -> bool:
    """Whether it is a part of a table whose name may be one that the server gave it."""
    if item.kind not in ("constraint", "index") or "table" not in item.facts:
        return False
    table = unquoted(split(item.facts["table"]).bare)
    return re.fullmatch(re.escape(table) + _GENERATED, unquoted(item.facts["name"])) is not None


def _pairs(expected: Snapshot, found: Snapshot, kinds: tuple[str, ...]) -> list[Rename]:
    sides: tuple[defaultdict[Hashable, list[Item]], ...] = (defaultdict(list), defaultdict(list))
    for side, here, there in zip(sides, (expected, found), (found, expected), strict=True):
        for item in here.items:
            if item.kind in kinds and item.key not in there.by_key:
                side[_likeness(item, here)].append(item)
    missing, extra = sides
    return [
        Rename(olds[0], extra[likeness][0])
        for likeness, olds in missing.items()
        if len(olds) == 1 and len(extra[likeness]) == 1
    ]


def _likeness(item: Item, snapshot: Snapshot) -> Hashable:
    """The same for two items that differ in nothing but their names; for schemas, with what is in them."""
    if item.kind == "schema":
        names = ((each.kind, split(each.name)) for each in snapshot.items if each.kind in _OBJECTS)
        return frozenset((kind, *name[1:]) for kind, name in names if name.schema == item.name)
    own = _word(_bare(item) if item.kind in _OBJECTS else item.facts["name"])
    same = _replaced(Item(item.kind, "", {**item.facts, "name": ""}), own, "?")
    columns = sorted(
        _replaced(each, own, "?").line for each in snapshot.of("column") if each.facts["table"] == item.name
    )
    return same.line, tuple(columns)


def _bare(item: Item) -> str:
    """The name without the arguments of a function."""
    return item.name.removesuffix(split(item.name).arguments) if item.kind in _OBJECTS else item.name


def _renamed(found: Snapshot, rename: Rename) -> Snapshot:
    old, new = _bare(rename.found), _bare(rename.expected)
    if rename.found.kind == "schema":
        return Snapshot(tuple(_replaced(item, _of_schema(item, old), new) for item in found.items))
    items = list(found.items)
    for was, now in [(old, new), *_follow(found, rename)]:
        items = [_replaced(item, _word(was), now) for item in items]
    if rename.found.kind in _PARTS:
        own = _word(rename.found.facts["name"])
        items = [
            _replaced(item, own, rename.expected.facts["name"]) if _names(item, rename) else item for item in items
        ]
    return Snapshot(tuple(items))


def _follow(found: Snapshot, rename: Rename) -> list[tuple[str, str]]:
    """What goes with a table into another schema: its indexes and its own sequences."""
    table = rename.found.name
    was, now = (split(item.name).schema for item in (rename.found, rename.expected))
    if rename.found.kind in _PARTS or was == now:
        return []
    own = [each.name for each in found.of("index") if each.facts["table"] == table]
    own += [each.name for each in found.of("sequence") if each.facts.get("owned by", "").startswith(f"{table}.")]
    return [(name, f"{now}{name.removeprefix(was)}") for name in own]


def _names(item: Item, rename: Rename) -> bool:
    """Whether the item's facts name what was renamed by its short name: the columns of a table are in all its parts."""
    if item.facts.get("table") != rename.expected.facts.get("table"):
        return False
    if item.kind == "comment":
        return (item.facts["on"], item.facts["object"]) == rename.expected.key
    return item.key == rename.expected.key or (rename.found.kind == "column" and item.kind != "column")


def _word(name: str) -> re.Pattern[str]:
    return re.compile(rf'(?<![\w".]){re.escape(name)}(?![\w"])')


def _of_schema(item: Item, schema: str) -> re.Pattern[str]:
    """Where the item names the schema: before a dot, or alone where it is about the schema itself."""
    about = item.kind == "schema" or "schema" in (item.facts.get("kind"), item.facts.get("on"))
    if about or item.facts.get("schema") == schema:
        return _word(schema)
    return re.compile(rf'(?<![\w".]){re.escape(schema)}(?=\.)')


def _replaced(item: Item, pattern: re.Pattern[str], new: str) -> Item:
    def replaced(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: each if key == "text" else replaced(each) for key, each in value.items()}
        if isinstance(value, list):
            return [replaced(each) for each in value]
        return pattern.sub(lambda _: new, value) if isinstance(value, str) else value

    facts = replaced(item.facts)
    if item.kind in ("function", "procedure"):
        # The server follows no name within the text of a body.
        head = str(item.facts["definition"]).partition("\nAS $")[0]
        facts["definition"] = replaced(head) + str(item.facts["definition"])[len(head) :]
    return Item(item.kind, replaced(item.name), facts)
