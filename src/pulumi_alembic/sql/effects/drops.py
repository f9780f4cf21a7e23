"""Effects of DROP: what is deleted, and with CASCADE what depends on it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from pulumi_alembic.sql.catalog import quoted
from pulumi_alembic.sql.effects.constraints import drop_constraint, is_inherited
from pulumi_alembic.sql.effects.queries import CatalogAfter, name_of
from pulumi_alembic.sql.effects.types import is_of, type_text

__all__ = ["drop", "drop_dependents", "drop_owned", "remove_column"]

_WORDS = {
    "MATVIEW": "materialized view",
    "FOREIGN_TABLE": "foreign table",
    "FOREIGN_SERVER": "server",
    "FDW": "foreign-data wrapper",
    "OPCLASS": "operator class",
    "OPFAMILY": "operator family",
    "STATISTIC_EXT": "statistics",
    "TSCONFIGURATION": "text search configuration",
    "TSDICTIONARY": "text search dictionary",
}
_VIEWS = {"v": "view", "m": "materialized view"}


def drop(state: CatalogAfter, node: Any) -> None:
    """Apply a DROP of named objects.

    Objects that their definition can restore, such as indexes, are not reported as deleted.
    """
    kind, cascade = node.removeType.removeprefix("OBJECT_"), node.behavior == "DROP_CASCADE"
    for item in node.objects:
        if kind == "TRIGGER":
            _trigger(state, state.named(item[:-1]), item[-1].sval)
        elif kind in {"POLICY", "RULE"}:
            table = state.named(item[:-1])
            state.lock(table, "ACCESS EXCLUSIVE")
            left = tuple(rule for rule in state.relation(table).rules if kind != "RULE" or rule != item[-1].sval)
            state.put(replace(state.relation(table), rules=left))
        elif kind == "INDEX":
            _index(state, state.named(item), concurrently=node.concurrent, lenient=node.missing_ok)
        elif kind in {"TABLE", "FOREIGN_TABLE", "VIEW", "MATVIEW", "SEQUENCE"}:
            _relation(state, state.named(item), _word(kind), cascade=cascade, lenient=node.missing_ok)
        elif kind == "SCHEMA":
            _schema(state, item.sval, cascade=cascade)
        elif kind in {"TYPE", "DOMAIN"}:
            _type(state, state.catalog.find(*name_of(item.names), state.catalog.types), _word(kind), cascade=cascade)
        else:
            _other(state, item, _word(kind), cascade=cascade)


def drop_dependents(state: CatalogAfter, views: Iterable[str]) -> None:
    """Drop views because a relation that they read is dropped."""
    for view in views:
        state.lock(view, "ACCESS EXCLUSIVE")
        state.destroy(f"{_VIEWS.get(state.relation(view).kind, 'view')} {view}")
        state.forget(view)


def remove_column(state: CatalogAfter, table: str, column: str, *, cascade: bool) -> None:
    """Delete a column with its values and constraints, and with `cascade` dependent views and foreign keys."""
    state.destroy(f"column {table}.{quoted(column)}")
    for constraint in state.relation(table).constraints:
        if column in constraint.columns:
            drop_constraint(state, table, constraint.name, cascade=cascade)
    if cascade:
        drop_dependents(state, state.catalog.views_of(table, column))
    left = {name: other for name, other in state.relation(table).columns.items() if name != column}
    state.put(replace(state.relation(table), columns=left))


def drop_owned(state: CatalogAfter, node: Any) -> None:
    """Apply DROP OWNED to all objects of a role, which the statement does not name."""
    for role in node.roles:
        name = quoted(role.rolename) if role.rolename else role.roletype.removeprefix("ROLESPEC_")
        state.destroy(f"everything that {name} owns")
        state.unknown(f"the objects of {name}")


def _trigger(state: CatalogAfter, table: str, trigger: str) -> None:
    for member in state.tree(table):
        state.lock(member, "ACCESS EXCLUSIVE")
        relation = state.relation(member)
        left = {name: runs for name, runs in relation.triggers.items() if name != trigger}
        state.put(replace(relation, triggers=left))


def _word(kind: str) -> str:
    return _WORDS.get(kind, kind.lower().replace("_", " "))


def _relation(state: CatalogAfter, name: str, word: str, *, cascade: bool, lenient: bool = False) -> None:
    exists = name in state.catalog.relations
    if lenient and not exists and state.catalog.complete:
        return
    relation = state.relation(name)
    for relation_name in state.tree(name):
        state.lock(relation_name, "ACCESS EXCLUSIVE")
        state.destroy(f"{word} {relation_name}")
    for relation_name in relation.parents:
        state.lock(relation_name, "ACCESS EXCLUSIVE")
        if default := state.relation(relation_name).default_partition:
            state.lock(default, "ACCESS EXCLUSIVE")
    _keys(state, name)
    if relation.kind == "S" and relation.table and cascade:
        state.lock(relation.table, "ACCESS EXCLUSIVE")
    if cascade:
        drop_dependents(state, [view for table in state.tree(name) for view in state.catalog.views_of(table)])
    for relation_name in state.tree(name):
        state.forget(relation_name)


def _keys(state: CatalogAfter, name: str) -> None:
    """Drop the foreign keys of the dropped tables in both directions. The other tables lose triggers."""
    dropped = state.tree(name)
    for table in dropped:
        for key in state.relation(table).constraints:
            if key.target and not is_inherited(state, table, key):
                state.lock_tree(key.target, "ACCESS EXCLUSIVE")
        for child, key in list(state.catalog.referencing(table)):
            if child.name not in dropped:
                state.lock_tree(child.name, "ACCESS EXCLUSIVE")
                drop_constraint(state, child.name, key.name)


def _index(state: CatalogAfter, name: str, *, concurrently: bool, lenient: bool) -> None:
    table = state.relation(name).table
    if table:
        state.lock_tree(table, "SHARE UPDATE EXCLUSIVE" if concurrently else "ACCESS EXCLUSIVE")
    elif not lenient:
        state.unknown(f"the table of index {name}")
    state.forget(name)


def _schema(state: CatalogAfter, name: str, *, cascade: bool) -> None:
    state.destroy(f"schema {quoted(name)}")
    if not cascade:
        return
    if not state.catalog.complete:
        state.unknown(f"the objects in schema {quoted(name)}")
    words = {"r": "table", "p": "table", "f": "foreign table", "S": "sequence", **_VIEWS}
    for relation in list(state.catalog.relations.values()):
        inside = relation.name.startswith(f"{quoted(name)}.") and relation.kind in words
        if inside and relation.name in state.catalog.relations and not (relation.kind == "S" and relation.table):
            _relation(state, relation.name, words[relation.kind], cascade=True)


def _type(state: CatalogAfter, name: str, word: str, *, cascade: bool) -> None:
    state.destroy(f"{word} {name}")
    if not cascade:
        return
    if name not in state.catalog.types:
        state.unknown(f"the columns of {word} {name}")
    for relation in list(state.catalog.relations.values()):
        for column, definition in relation.columns.items():
            if is_of(state.catalog, definition.type, name):
                state.lock(relation.name, "ACCESS EXCLUSIVE")
                remove_column(state, relation.name, column, cascade=True)


def _other(state: CatalogAfter, item: Any, word: str, *, cascade: bool) -> None:
    names = item if isinstance(item, list) else item.objname or item
    parts = names if isinstance(names, list) else [names]
    if all(part.sval is not None for part in parts):
        name = quoted(*(part.sval for part in parts))
    else:
        name = " to ".join(type_text(part) if part.tag == "TypeName" else quoted(part.sval) for part in parts)
    state.destroy(f"{word} {name}")
    if not cascade:
        return
    state.unknown(f"what needs {word} {name}")
    if word == "function":
        function = state.catalog.find(*name_of(parts), state.catalog.functions)
        for relation in state.catalog.relations.values():
            if function in relation.triggers.values():
                state.lock(relation.name, "ACCESS EXCLUSIVE")
                left = {name: runs for name, runs in relation.triggers.items() if runs != function}
                state.put(replace(relation, triggers=left))
