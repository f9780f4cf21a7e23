"""The script that repairs drift: its statements, and the order in which they run. Pure functions."""

from __future__ import annotations

import re
from collections.abc import Iterator

from pulumi_alembic.drift.difference.compare import Change, Difference, parent
from pulumi_alembic.drift.difference.renames import Rename
from pulumi_alembic.drift.difference.snapshot import Item, Snapshot
from pulumi_alembic.drift.repair import access, objects, table_parts
from pulumi_alembic.drift.repair.statement import Repairs, Statement

__all__ = ["repair", "repair_rename", "script"]

# Drops come first, in reverse order of creation. Changes in place come after parts of tables and before views.
_RANKS = {
    **{"role": 10, "membership": 11, "database": 12, "setting": 13, "schema": 20, "extension": 21},
    **{"type": 30, "domain": 30, "sequence": 31, "table": 40, "foreign table": 40},
    **{"function": 40, "procedure": 40, "aggregate": 40, "column": 42, "constraint": 43, "index": 44},
    **{"view": 51, "materialized view": 51, "trigger": 60, "rule": 60, "policy": 60},
    **{"comment": 70, "owner": 71, "privileges": 72, "default privileges": 73},
}
# Schemas are created before their objects are renamed back.
_SCHEMA_MADE = -101
_RENAMED = -100
_REPAIRS = {kind: module for module in (objects.REPAIRS, table_parts.REPAIRS, access.REPAIRS) for kind in module.kinds}
# PostgreSQL prints the name as the snapshot has it.
_REFERS = re.compile(r' REFERENCES ((?:(?:"(?:[^"]|"")*"|[^".(]+)\.)?(?:"(?:[^"]|"")*"|[^".(]+))\(')
_ADMIN = ("role", "membership", "setting", "database", "extension", "owner")


def repair(change: Change, whole: Difference) -> list[Statement]:
    """Return the statements that repair one change. Empty if the repair of another item includes it."""
    item = change.item
    rank, role = _rank(item), _role(change, whole)
    with_another = item.facts.get("inherited") or (item.kind == "sequence" and item.facts.get("identity"))
    if with_another and not (change.expected and change.found):
        # It is repaired with the parent's item or with its column.
        return []
    if change.expected is None:
        if change.within and not _binds(item, whole):
            return []
        return [Statement(sql, -rank, role, note) for sql, note in _drop(item)]
    if change.found is None:
        with_parent = item.kind == "column" and change.within is not None
        return [] if with_parent else list(_made(item, whole, rank, role))
    return list(_alter(change, whole, rank, role))


def repair_rename(rename: Rename, whole: Difference) -> list[Statement]:
    """Return the statements that rename it back."""
    expected, found = rename.expected, rename.found
    if found.facts.get("inherited"):
        return []
    # Renaming a schema needs the privilege to create schemas, which its owner does not necessarily have.
    role = "" if expected.kind == "schema" else _owner(whole.found, expected)
    renamed = table_parts.rename if expected.kind in table_parts.REPAIRS.kinds else objects.rename
    return [Statement(sql, _RENAMED, role) for sql in renamed(expected, found)]


def script(whole: Difference) -> list[Statement]:
    """Return all statements in the order in which they must run."""
    renames = [statement for rename in whole.renames for statement in repair_rename(rename, whole)]
    groups = [repair(change, whole) for change in whole.changes]
    # Drop in reverse order of creation.
    drops = [statement for group in reversed(groups) for statement in group if statement.rank < 0]
    rest = [statement for group in groups for statement in group if statement.rank >= 0]
    return sorted([*renames, *drops, *rest], key=lambda statement: statement.rank)


def _alter(change: Change, whole: Difference, rank: int, role: str) -> Iterator[Statement]:
    expected, found = change.expected, change.found
    assert expected is not None and found is not None  # noqa: S101 - it differs
    repairs = _repairs(expected)
    if repairs.needs_new(expected, found):
        yield from (Statement(sql, -rank, role, note) for sql, note in _drop(found))
        yield from _made(expected, whole, rank, role)
        for item in whole.belonging(expected):
            if not _is_made_anyhow(item, whole):
                yield from _made(item, whole, _rank(item), role)
        return
    # A change in place comes after everything that it can need. A table is clustered on only one index, so the mark is
    # set after it is removed from another index.
    rank = max(rank, 46 if expected.facts.get("clustered") else 45)
    yield from (Statement(sql, rank, role, note) for sql, note in repairs.alter(expected, found))


def _is_made_anyhow(item: Item, whole: Difference) -> bool:
    change = whole.by_key.get(item.key)
    if change is None or change.expected is None:
        return False
    return change.found is None or _repairs(item).needs_new(item, change.found)


def _binds(item: Item, whole: Difference) -> bool:
    """Return whether it is a foreign key between two tables to drop. It prevents dropping the other table first."""
    definition = str(item.facts.get("definition", ""))
    if not definition.startswith("FOREIGN KEY"):
        return False
    names = [name for name in _REFERS.findall(definition) if name != item.facts["table"]]
    going = [change for name in names if (change := whole.by_key.get(("table", name)))]
    return any(change.expected is None for change in going)


def _made(item: Item, whole: Difference, rank: int, role: str) -> Iterator[Statement]:
    rank = _SCHEMA_MADE if item.kind == "schema" else rank
    yield from (Statement(sql, rank, role, note) for sql, note in _repairs(item).make(item, whole.expected))
    if item.kind == "sequence" and "owned by" in item.facts:
        yield Statement(f"ALTER SEQUENCE {item.name} OWNED BY {item.facts['owned by']}", 54, role)


def _rank(item: Item) -> int:
    # The columns that a foreign key refers to must be unique before it is added.
    if item.facts.get("definition", "").startswith("FOREIGN KEY"):
        return 53
    return 52 if item.kind == "index" and item.facts["of"] == "materialized view" else _RANKS[item.kind]


def _drop(item: Item) -> list[tuple[str, str]]:
    return list(_repairs(item).drop(item))


def _repairs(item: Item) -> Repairs:
    return _REPAIRS[item.kind]


def _role(change: Change, whole: Difference) -> str:
    """Return the owner of the statement's object at the time when it runs."""
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
            # Membership in pg_database_owner cannot be granted. Its only member is the database's owner.
            return "" if owner.facts["owner"] == "pg_database_owner" else str(owner.facts["owner"])
        above = parent(item)
        item = snapshot.by_key.get(above) if above else None
    return ""
