"""The statements that bring back what is expected, in an order in which they run. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType

from pulumi_alembic.drift import access, objects, parts
from pulumi_alembic.drift.difference import Change, Difference, parent
from pulumi_alembic.drift.renames import Rename
from pulumi_alembic.drift.snapshot import Item, Snapshot
from pulumi_alembic.drift.statement import Statement

__all__ = ["mend", "mend_rename", "script"]

# Drops come first, the last made first; then what is made; what is changed where it stands is in between.
_RANKS = {
    **{"role": 10, "membership": 11, "database": 12, "setting": 13, "schema": 20, "extension": 21},
    **{"type": 30, "domain": 30, "sequence": 31, "table": 40, "foreign table": 40},
    **{"function": 41, "procedure": 41, "aggregate": 41, "column": 42, "constraint": 43, "index": 44},
    **{"view": 51, "materialized view": 51, "trigger": 60, "rule": 60, "policy": 60},
    **{"comment": 70, "owner": 71, "privileges": 72, "default privileges": 73},
}
_ADMIN = ("role", "membership", "setting", "database", "extension", "owner")


def mend(change: Change, whole: Difference) -> list[Statement]:
    """What brings this one thing back; nothing where it comes back with another one."""
    item = change.item
    rank, role = _rank(item), _role(change, whole)
    if item.kind == "sequence" and item.facts.get("identity") and not (change.expected and change.found):
        return []
    if change.expected is None:
        if change.within:
            return []
        return [Statement(sql, -rank, role, note) for sql, note in _drop(item)]
    if change.found is None:
        with_parent = item.kind == "column" and change.within is not None
        return [] if with_parent else list(_made(item, whole, rank, role))
    return list(_alter(change, whole, rank, role))


def mend_rename(rename: Rename, whole: Difference) -> list[Statement]:
    """What gives it its name back."""
    owner = _owner(whole.found, rename.expected)
    return [Statement(sql, -100, owner) for sql in objects.rename(rename.expected, rename.found)]


def script(whole: Difference) -> list[Statement]:
    """All statements in the order in which they are to run."""
    renames = [one for rename in whole.renames for one in mend_rename(rename, whole)]
    found = [one for change in whole.changes for one in mend(change, whole)]
    return [*renames, *sorted(found, key=lambda each: each.rank)]


def _alter(change: Change, whole: Difference, rank: int, role: str) -> Iterator[Statement]:
    expected, found = change.expected, change.found
    assert expected is not None and found is not None  # noqa: S101 - it differs
    if objects.needs_new(expected, found):
        yield from (Statement(sql, -rank, role, note) for sql, note in _drop(found))
        for item in whole.expected.items:
            if item == expected or (parent(item) == expected.key and item.kind != "column"):
                yield from _made(item, whole, _rank(item), role)
        return
    module = _module(expected.kind)
    # What is there stays in its place, behind whatever it may need.
    yield from (Statement(sql, max(rank, 45), role, note) for sql, note in module.alter(expected, found))


def _made(item: Item, whole: Difference, rank: int, role: str) -> Iterator[Statement]:
    yield from (Statement(sql, rank, role, note) for sql, note in _module(item.kind).make(item, whole.expected))
    if item.kind == "sequence" and "owned by" in item.facts:
        yield Statement(f"ALTER SEQUENCE {item.name} OWNED BY {item.facts['owned by']}", 54, role)


def _rank(item: Item) -> int:
    # What a foreign key refers to has to be unique before.
    if item.facts.get("definition", "").startswith("FOREIGN KEY"):
        return 53
    return 52 if item.kind == "index" and item.facts["of"] == "materialized view" else _RANKS[item.kind]


def _drop(item: Item) -> list[tuple[str, str]]:
    return list(_module(item.kind).drop(item))


def _module(kind: str) -> ModuleType:
    if kind in access.KINDS:
        return access
    return parts if kind in parts.KINDS else objects


def _role(change: Change, whole: Difference) -> str:
    """Who owns what the statement is about, as things stand when it runs."""
    item = change.item
    if item.kind in _ADMIN or (item.kind == "schema" and change.found is None):
        return ""
    if item.kind == "default privileges":
        return str(item.facts["role"])
    if item.kind == "privileges" and change.expected is not None:
        return _owner(whole.expected, item)
    return _owner(whole.found, item) or _owner(whole.expected, item)


def _owner(snapshot: Snapshot, item: Item | None) -> str:
    while item is not None:
        if owner := snapshot.by_key.get(("owner", str(item))):
            # Nobody can become it: whoever owns the database is it.
            return str(owner.facts["owner"]).replace("pg_database_owner", "")
        above = parent(item)
        item = snapshot.by_key.get(above) if above else None
    return ""
