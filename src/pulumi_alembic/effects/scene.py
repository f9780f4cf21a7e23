"""What is there while a text's statements are gone through, and what was seen of them so far."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from pulumi_alembic.account import MODES, Effects, Lock
from pulumi_alembic.catalog import Catalog, Column, Constraint, Relation, quoted

__all__ = ["Scene", "name_of"]

_LOCKED = "rpmfv"
_STORED = "rm"


def name_of(names: Iterable[Any]) -> tuple[str | None, str]:
    """Schema, if any, and name, of a list of pglast's Strings."""
    parts = [each.sval for each in names]
    return (parts[-2] if len(parts) > 1 else None), parts[-1]


class Scene:
    """The catalog as the statements so far leave it, and the union of their effects.

    A relation that nothing is known of is taken for a table. Where nothing `runs`, queries are only looked at.
    """

    def __init__(self, catalog: Catalog, *, runs: bool = True) -> None:
        self.catalog = catalog
        self.runs = runs
        self._locks: dict[str, str] = {}
        self._rewrites: dict[str, None] = {}
        self._scans: dict[str, None] = {}
        self._destroys: dict[str, None] = {}
        self._unknown: dict[str, None] = {}

    def effects(self) -> Effects:
        """What was seen: of each table the strongest lock, of everything else each once, in the order it was met."""
        return Effects(
            tuple(Lock(table, mode) for table, mode in self._locks.items()),
            tuple(self._rewrites),
            tuple(each for each in self._scans if each not in self._rewrites),
            tuple(self._destroys),
            tuple(self._unknown),
        )

    def name(self, node: Any) -> str:
        """The full name of what a RangeVar names."""
        schema = "pg_temp" if node.relpersistence == "t" else node.schemaname
        return self.catalog.find(schema, node.relname)

    def new_name(self, node: Any) -> str:
        """The full name of what would be made by the name of a RangeVar: in the first schema of the path."""
        if node.relpersistence == "t" or node.schemaname:
            return quoted("pg_temp" if node.relpersistence == "t" else node.schemaname, node.relname)
        return quoted(*self.catalog.search_path[:1], node.relname)

    def named(self, names: Iterable[Any]) -> str:
        """The full name of the relation that a list of Strings names."""
        return self.catalog.find(*name_of(names))

    def relation(self, name: str) -> Relation:
        """The relation, of which nothing may be known."""
        return self.catalog.relations.get(name) or Relation(name, assumed=True)

    def tree(self, name: str) -> list[str]:
        """The table and all that is below it."""
        return [name, *self.catalog.descendants(name)]

    def lock(self, name: str, mode: str) -> None:
        """A lock on the relation, where it is of a kind whose readers would feel it."""
        if self.relation(name).kind in _LOCKED:
            held = self._locks.get(name, mode)
            self._locks[name] = max(held, mode, key=MODES.index)

    def lock_tree(self, name: str, mode: str) -> None:
        """A lock on the table and all that is below it."""
        for each in self.tree(name):
            self.lock(each, mode)

    def rewrite(self, name: str) -> None:
        """The relation gets a new file, where it has one."""
        if self.relation(name).kind in _STORED:
            self._rewrites[name] = None

    def scan(self, name: str) -> None:
        """Every row of the relation is read."""
        if self.relation(name).kind in _STORED:
            self._scans[name] = None

    def destroy(self, thing: str) -> None:
        """Something is gone: its kind and its name."""
        self._destroys[thing] = None

    def unknown(self, what: str) -> None:
        """Something happens that the statement does not show."""
        self._unknown[what] = None
        self.catalog = replace(self.catalog, complete=False)

    def put(self, relation: Relation) -> None:
        """The relation is as this from now on."""
        self.catalog = replace(self.catalog, relations={**self.catalog.relations, relation.name: relation})

    def put_column(self, table: str, name: str, column: Column) -> None:
        """The table has this column from now on."""
        relation = self.relation(table)
        self.put(replace(relation, columns={**relation.columns, name: column}))

    def put_constraint(self, table: str, constraint: Constraint) -> None:
        """The table has this constraint from now on, in place of one of the same name."""
        relation = self.relation(table)
        others = [each for each in relation.constraints if each.name != constraint.name or not each.name]
        self.put(replace(relation, constraints=(*others, constraint)))

    def forget(self, name: str) -> None:
        """The relation is there no more, nor what cannot be without it."""
        gone = {name} | {each.name for each in self.catalog.relations.values() if each.table == name}
        left = {key: each for key, each in self.catalog.relations.items() if key not in gone}
        self.catalog = replace(self.catalog, relations=left)

    def rename(self, name: str, new: str) -> None:
        """The relation is known by another name from now on, wherever it is named."""
        renamed = {}
        for each in self.catalog.relations.values():
            relation = _renamed(each, name, new)
            renamed[relation.name] = relation
        self.catalog = replace(self.catalog, relations=renamed)

    def sibling(self, name: str, new: str) -> str:
        """The full name of `new` in the schema of the relation called `name`."""
        schema, dot, _ = name.rpartition(".")
        return f"{schema}{dot}{quoted(new)}"


def _renamed(relation: Relation, name: str, new: str) -> Relation:
    def to(old: str) -> str:
        return new if old == name else old

    return replace(
        relation,
        name=to(relation.name),
        was=relation.was or relation.name if relation.name == name else relation.was,
        parents=tuple(to(each) for each in relation.parents),
        default_partition=to(relation.default_partition),
        table=to(relation.table),
        uses=tuple((to(each), column) for each, column in relation.uses),
        constraints=tuple(replace(each, target=to(each.target), index=to(each.index)) for each in relation.constraints),
    )
