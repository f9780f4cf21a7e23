"""A snapshot: everything that a database's catalog defines, as values that can be stored, compared and repaired."""

from __future__ import annotations

import hashlib
import json
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar

from pulumi_alembic.sql.garbage import uncollected

__all__ = ["HEADS", "SERVER", "VERSION", "Item", "Key", "Snapshot", "grouped"]

_Group = TypeVar("_Group")
_Member = TypeVar("_Member")

VERSION = "v2"
"""The prefix of digests. It changes if a release reads other facts from a catalog."""

HEADS = "heads"
"""The kind of items for the revisions that the database was at."""

_ROLE = "role"

SERVER = "server"
"""The kind of the item for the major version of PostgreSQL."""

# One encoder for all items, because json.dumps would create one for each.
_encode = json.JSONEncoder(sort_keys=True, ensure_ascii=False).encode

Key = tuple[str, str]
"""The kind and name that identify an item."""


def grouped(members: Iterable[_Member], group: Callable[[_Member], _Group]) -> dict[_Group, list[_Member]]:
    """Return the members of each group, in order."""
    groups: defaultdict[_Group, list[_Member]] = defaultdict(list)
    for member in members:
        groups[group(member)].append(member)
    return dict(groups)


@dataclass(frozen=True)
class Item:
    """One item of the catalog. `name` is qualified and quoted, `facts` are JSON values."""

    kind: str
    name: str
    facts: Mapping[str, Any] = field(default_factory=dict, hash=False)

    @property
    def key(self) -> Key:
        """The kind and name that identify the item."""
        return self.kind, self.name

    @property
    def line(self) -> str:
        """The item as text. Equal items have equal texts."""
        return f"{self.kind}|{self.name}|{_encode(self.facts)}"

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


@dataclass(frozen=True)
class Snapshot:
    """The items of a catalog, in an order in which they could be created. The order does not count in comparisons."""

    items: tuple[Item, ...]

    @cached_property
    def by_key(self) -> dict[Key, Item]:
        """The items by kind and name."""
        return {item.key: item for item in self.items}

    @cached_property
    def digest(self) -> str:
        """The fingerprint of all items."""
        lines = sorted(item.line for item in self.items)
        return f"{VERSION}:{hashlib.sha256(chr(10).join(lines).encode()).hexdigest()}"

    @property
    def heads(self) -> tuple[str, ...]:
        """The revisions that the database was at, sorted."""
        return tuple(item.name for item in self.items if item.kind == HEADS)

    @property
    def server(self) -> str:
        """The major version of PostgreSQL. Empty if unknown."""
        return next((item.name for item in self.items if item.kind == SERVER), "")

    @property
    def roles(self) -> list[str]:
        """The names of its roles, without quotes."""
        return [item.facts["name"] for item in self.items if item.kind == _ROLE]

    @cached_property
    def _by_kind(self) -> dict[str, list[Item]]:
        return grouped(self.items, lambda item: item.kind)

    @cached_property
    def _columns(self) -> dict[str, list[Item]]:
        return grouped(self.of("column"), lambda item: str(item.facts["table"]))

    @cached_property
    def _sequences(self) -> dict[str, list[Item]]:
        return grouped(self.of("sequence"), lambda item: str(item.facts.get("owned by", "")))

    def of(self, kind: str) -> Iterator[Item]:
        """Iterate over the items of a kind, in order."""
        return iter(self._by_kind.get(kind, ()))

    def columns(self, table: str) -> Sequence[Item]:
        """Return the columns of the table, view or composite type with this name, in order."""
        return self._columns.get(table, ())

    def sequences(self, column: str) -> Sequence[Item]:
        """Return the sequences that this column owns, in order."""
        return self._sequences.get(column, ())

    def moved(self, before: Snapshot, after: Snapshot) -> Snapshot:
        """Return this snapshot with the changes from `before` to `after` applied."""
        return self._with(
            {item.key: item for item in after.items if before.by_key.get(item.key) != item},
            before.by_key.keys() - after.by_key.keys(),
        )

    def taking(self, found: Snapshot, chosen: Callable[[Item], bool]) -> Snapshot:
        """Return this snapshot with the chosen items replaced by those of `found`."""
        removed = {key for key in self.by_key.keys() - found.by_key.keys() if chosen(self.by_key[key])}
        return self._with({item.key: item for item in found.items if chosen(item)}, removed)

    def _with(self, changed: dict[Key, Item], removed: Iterable[Key]) -> Snapshot:
        removed_keys = set(removed)
        items = [changed.pop(item.key, item) for item in self.items if item.key not in removed_keys]
        return Snapshot((*items, *changed.values()))

    def packed(self) -> bytes:
        """Return the snapshot as compressed bytes."""
        rows = [[item.kind, item.name, dict(item.facts)] for item in self.items]
        return zlib.compress(json.dumps(rows, ensure_ascii=False, separators=(",", ":")).encode())

    @classmethod
    def unpack(cls, data: bytes) -> Snapshot:
        """Return the snapshot from packed bytes. Raises ValueError for anything else."""
        with _unpacked(data) as rows:
            return cls(tuple(Item(str(kind), str(name), dict(facts)) for kind, name, facts in rows))

    @staticmethod
    def unpack_roles(data: bytes) -> list[str]:
        """Return the `roles` from packed bytes. Raises ValueError for anything else."""
        with _unpacked(data) as rows:
            return [str(facts["name"]) for kind, _, facts in rows if kind == _ROLE]


@contextmanager
def _unpacked(data: bytes) -> Iterator[Any]:
    try:
        with uncollected():
            yield json.loads(zlib.decompress(data))
    except (KeyError, TypeError, zlib.error) as error:
        raise ValueError(str(error)) from None
