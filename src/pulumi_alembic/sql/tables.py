"""Tables that a plan creates, drops or changes, and their neighbours, before and after the plan. Pure functions."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from pulumi_alembic.sql.catalog import Catalog, Column, Relation

__all__ = ["ColumnChange", "ForeignKey", "TableChange", "TableState", "tables", "type_name"]


@dataclass(frozen=True)
class ColumnChange:
    """A column, before or after the plan.

    Attributes:
        type: as `type_name` returns it.
        key: `PK`, `FK` and `UK`, joined by commas, if the column is part of such a key.
        was: the name before the plan renamed it.

    """

    name: str
    type: str = ""
    not_null: bool = False
    key: str = ""
    was: str = ""


@dataclass(frozen=True)
class ForeignKey:
    """A foreign key: the table that it refers to, and its own columns."""

    table: str
    columns: tuple[str, ...] = ()


@dataclass(frozen=True)
class TableState:
    """The columns and foreign keys of a table. Empty columns can be unknown ones."""

    columns: tuple[ColumnChange, ...] = ()
    foreign_keys: tuple[ForeignKey, ...] = ()


@dataclass(frozen=True)
class TableChange:
    """A table before and after the plan.

    Attributes:
        before: None for a new table.
        after: None for a dropped table.
        was: the name before the plan, if that changes.

    """

    name: str
    before: TableState | None = None
    after: TableState | None = None
    was: str = ""

    @property
    def change(self) -> str:
        """`new`, `dropped`, `changed`, or empty for a neighbour that is not changed."""
        if self.before is None or self.after is None:
            return "new" if self.before is None else "dropped"
        return "changed" if self.was or self.before != self.after else ""


def tables(before: Catalog, after: Catalog) -> tuple[TableChange, ...]:
    """Return the tables that differ, then their neighbours by foreign keys, each sorted by name.

    Partitions are left out. A renamed table or column is recognized by its columns or types, because a catalog does not
    record renames. If that is uncertain, it counts as dropped and new.
    """
    renamed = _renamed_tables(before, after)
    old, new = before.relations, after.relations
    changed, same = [], []
    for name in sorted(set(_drawn(before)) - set(renamed.values()) | set(_drawn(after))):
        if _stays(old.get(name), new.get(name), renamed):
            same.append(name)
        elif (review := _review(name, old.get(renamed.get(name, name)), new.get(name), renamed)).change:
            changed.append(review)
        else:
            same.append(name)
    touched = {table.name for table in changed}
    neighbours = {name for table in changed for name in _referred(table)}
    neighbours |= {name for name in same if any(constraint.target in touched for constraint in new[name].constraints)}
    return (*changed, *(_review(name, old.get(name), new[name], renamed) for name in same if name in neighbours))


def type_name(type_: str) -> str:
    """Return a short name of the type, from the catalog's or the parser's: `varchar(50)`, `timestamptz`, `bigint`."""
    match = _TYPE.fullmatch(type_)
    if not match:
        return type_
    name, limits, zone, array = match.groups()
    # The parser gives a mask of fields before the precision of an interval.
    limits = "" if name == "interval" and limits and len(limits) > len("(6)") else limits
    zoned = "tz" if zone and zone.strip().startswith("with ") else ""
    return f"{_NAMES.get(name, name)}{zoned}{limits or ''}{array}"


_TYPE = re.compile(r'(?:pg_catalog\."?)?([a-z][a-z0-9_ ]*?)"?(\([0-9,]*\))?( with(?:out)? time zone)?((?:\[\])*)')
_NAMES = {
    "bit varying": "varbit",
    "bool": "boolean",
    "bpchar": "char",
    "character varying": "varchar",
    "character": "char",
    "double precision": "float8",
    "float4": "real",
    "int": "integer",
    "int2": "smallint",
    "int4": "integer",
    "int8": "bigint",
    "decimal": "numeric",
}


def _drawn(catalog: Catalog) -> dict[str, Relation]:
    partitioned = {name for name, relation in catalog.relations.items() if relation.kind == "p"}
    return {
        name: relation
        for name, relation in catalog.relations.items()
        if relation.kind in "rpf" and not partitioned.intersection(relation.parents) and not name.startswith("pg_temp.")
        # A statement that mentions a missing table does not create it.
        if not (relation.assumed and catalog.complete)
    }


def _renamed_tables(before: Catalog, after: Catalog) -> dict[str, str]:
    """Return the old name of each renamed table by its new one: one that has all the columns of a missing table."""
    old, new = _drawn(before), _drawn(after)
    missing = [name for name in old if name not in after.relations]
    renames = {}
    for name, relation in new.items():
        # All columns of a table that the plan creates are new.
        if name in old or not relation.columns or all(column.new for column in relation.columns.values()):
            continue
        same = [candidate for candidate in missing if _kept(relation) <= set(old[candidate].columns.items())]
        if len(same) == 1:
            renames[name] = same[0]
            missing.remove(same[0])
    return renames


def _kept(relation: Relation) -> set[tuple[str, Column]]:
    return {(name, column) for name, column in relation.columns.items() if not column.new}


def _stays(old: Relation | None, new: Relation | None, renamed: dict[str, str]) -> bool:
    """Return whether the table is unchanged and refers to no renamed one. Of thousands of tables most are."""
    if old is None or new is None or new.name in renamed or (old is not new and old != new):
        return False
    return not renamed or {constraint.target for constraint in old.constraints}.isdisjoint(renamed.values())


def _review(name: str, old: Relation | None, new: Relation | None, renamed: dict[str, str]) -> TableChange:
    columns = _renamed_columns(old, new) if old and new else {}
    called = {was: now for now, was in renamed.items()}
    return TableChange(name, _state(old, {}, called), _state(new, columns, {}), renamed.get(name, ""))


def _renamed_columns(old: Relation, new: Relation) -> dict[str, str]:
    """Return the old name of each renamed column by its new one.

    Columns count as renamed if as many disappear as appear, with the same types in the same order.
    """
    missing = [(name, column.type) for name, column in old.columns.items() if name not in new.columns]
    added = [(name, column.type) for name, column in new.columns.items() if name not in old.columns and not column.new]
    if [type_ for _, type_ in missing] != [type_ for _, type_ in added]:
        return {}
    return {name: was for (name, _), (was, _) in zip(added, missing, strict=True)}


def _state(relation: Relation | None, was: dict[str, str], called: dict[str, str]) -> TableState | None:
    """Return the state of a table.

    `called` has the later names of other tables, so that a foreign key to them is unchanged.
    """
    if relation is None:
        return None
    kinds = {"p": "PK", "f": "FK", "u": "UK"}
    keys = [
        (kinds[constraint.kind], set(constraint.columns))
        for constraint in relation.constraints
        if constraint.kind in kinds
    ]
    columns = tuple(
        ColumnChange(name, type_name(column.type), column.not_null, _key(name, keys), was.get(name, ""))
        for name, column in relation.columns.items()
    )
    foreign = {
        ForeignKey(called.get(constraint.target, constraint.target), constraint.columns): None
        for constraint in relation.constraints
        if constraint.target
    }
    return TableState(columns, tuple(sorted(foreign, key=lambda key: (key.table, key.columns))))


def _key(name: str, keys: Iterable[tuple[str, set[str]]]) -> str:
    kinds = {kind for kind, columns in keys if name in columns}
    return ",".join(kind for kind in ("PK", "FK", "UK") if kind in kinds)


def _referred(table: TableChange) -> list[str]:
    states = [state for state in (table.before, table.after) if state]
    return [key.table for state in states for key in state.foreign_keys]
