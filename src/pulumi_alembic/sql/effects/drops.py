"""DROP: what goes, and with CASCADE what goes with it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from pulumi_alembic.sql.catalog import quoted
from pulumi_alembic.sql.effects.constraints import drop_constraint, is_inherited
from pulumi_alembic.sql.effects.queries import Scene, name_of
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


def drop(scene: Scene, node: Any) -> None:
    """Any DROP of named objects. What can be made again from its definition, such as an index, is not destroyed."""
    kind, cascade = node.removeType.removeprefix("OBJECT_"), node.behavior == "DROP_CASCADE"
    for item in node.objects:
        if kind == "TRIGGER":
            _trigger(scene, scene.named(item[:-1]), item[-1].sval)
        elif kind in {"POLICY", "RULE"}:
            table = scene.named(item[:-1])
            scene.lock(table, "ACCESS EXCLUSIVE")
            left = tuple(each for each in scene.relation(table).rules if kind != "RULE" or each != item[-1].sval)
            scene.put(replace(scene.relation(table), rules=left))
        elif kind == "INDEX":
            _index(scene, scene.named(item), concurrently=node.concurrent, lenient=node.missing_ok)
        elif kind in {"TABLE", "FOREIGN_TABLE", "VIEW", "MATVIEW", "SEQUENCE"}:
            _relation(scene, scene.named(item), _word(kind), cascade=cascade, lenient=node.missing_ok)
        elif kind == "SCHEMA":
            _schema(scene, item.sval, cascade=cascade)
        elif kind in {"TYPE", "DOMAIN"}:
            _type(scene, scene.catalog.find(*name_of(item.names), scene.catalog.types), _word(kind), cascade=cascade)
        else:
            _other(scene, item, _word(kind), cascade=cascade)


def drop_dependents(scene: Scene, views: Iterable[str]) -> None:
    """Views that go because what they read does."""
    for view in views:
        scene.lock(view, "ACCESS EXCLUSIVE")
        scene.destroy(f"{_VIEWS.get(scene.relation(view).kind, 'view')} {view}")
        scene.forget(view)


def remove_column(scene: Scene, table: str, column: str, *, cascade: bool) -> None:
    """A column goes, with its values and constraints; with `cascade` the views and foreign keys that need it."""
    scene.destroy(f"column {table}.{quoted(column)}")
    for constraint in scene.relation(table).constraints:
        if column in constraint.columns:
            drop_constraint(scene, table, constraint.name, cascade=cascade)
    if cascade:
        drop_dependents(scene, scene.catalog.views_of(table, column))
    left = {name: each for name, each in scene.relation(table).columns.items() if name != column}
    scene.put(replace(scene.relation(table), columns=left))


def drop_owned(scene: Scene, node: Any) -> None:
    """DROP OWNED: all of a role's objects, which no statement names."""
    for role in node.roles:
        name = quoted(role.rolename) if role.rolename else role.roletype.removeprefix("ROLESPEC_")
        scene.destroy(f"everything that {name} owns")
        scene.unknown(f"the objects of {name}")


def _trigger(scene: Scene, table: str, trigger: str) -> None:
    for each in scene.tree(table):
        scene.lock(each, "ACCESS EXCLUSIVE")
        relation = scene.relation(each)
        left = {name: runs for name, runs in relation.triggers.items() if name != trigger}
        scene.put(replace(relation, triggers=left))


def _word(kind: str) -> str:
    return _WORDS.get(kind, kind.lower().replace("_", " "))


def _relation(scene: Scene, name: str, word: str, *, cascade: bool, lenient: bool = False) -> None:
    known = name in scene.catalog.relations
    if lenient and not known and scene.catalog.complete:
        return
    relation = scene.relation(name)
    for each in scene.tree(name):
        scene.lock(each, "ACCESS EXCLUSIVE")
        scene.destroy(f"{word} {each}")
    for each in relation.parents:
        scene.lock(each, "ACCESS EXCLUSIVE")
        if default := scene.relation(each).default_partition:
            scene.lock(default, "ACCESS EXCLUSIVE")
    _keys(scene, name)
    if relation.kind == "S" and relation.table and cascade:
        scene.lock(relation.table, "ACCESS EXCLUSIVE")
    if cascade:
        drop_dependents(scene, [view for each in scene.tree(name) for view in scene.catalog.views_of(each)])
    for each in scene.tree(name):
        scene.forget(each)


def _keys(scene: Scene, name: str) -> None:
    """The foreign keys of the tables that go, in both directions: the others' tables lose triggers."""
    gone = scene.tree(name)
    for each in gone:
        for key in scene.relation(each).constraints:
            if key.target and not is_inherited(scene, each, key):
                scene.lock_tree(key.target, "ACCESS EXCLUSIVE")
        for held, key in list(scene.catalog.referencing(each)):
            if held.name not in gone:
                scene.lock_tree(held.name, "ACCESS EXCLUSIVE")
                drop_constraint(scene, held.name, key.name)


def _index(scene: Scene, name: str, *, concurrently: bool, lenient: bool) -> None:
    table = scene.relation(name).table
    if table:
        scene.lock_tree(table, "SHARE UPDATE EXCLUSIVE" if concurrently else "ACCESS EXCLUSIVE")
    elif not lenient:
        scene.unknown(f"the table of index {name}")
    scene.forget(name)


def _schema(scene: Scene, name: str, *, cascade: bool) -> None:
    scene.destroy(f"schema {quoted(name)}")
    if not cascade:
        return
    if not scene.catalog.complete:
        scene.unknown(f"the objects in schema {quoted(name)}")
    words = {"r": "table", "p": "table", "f": "foreign table", "S": "sequence", **_VIEWS}
    for relation in list(scene.catalog.relations.values()):
        inside = relation.name.startswith(f"{quoted(name)}.") and relation.kind in words
        if inside and relation.name in scene.catalog.relations and not (relation.kind == "S" and relation.table):
            _relation(scene, relation.name, words[relation.kind], cascade=True)


def _type(scene: Scene, name: str, word: str, *, cascade: bool) -> None:
    scene.destroy(f"{word} {name}")
    if not cascade:
        return
    if name not in scene.catalog.types:
        scene.unknown(f"the columns of {word} {name}")
    for relation in list(scene.catalog.relations.values()):
        for column, known in relation.columns.items():
            if is_of(scene.catalog, known.type, name):
                scene.lock(relation.name, "ACCESS EXCLUSIVE")
                remove_column(scene, relation.name, column, cascade=True)


def _other(scene: Scene, item: Any, word: str, *, cascade: bool) -> None:
    names = item if isinstance(item, list) else item.objname or item
    parts = names if isinstance(names, list) else [names]
    if all(each.sval is not None for each in parts):
        name = quoted(*(each.sval for each in parts))
    else:
        name = " to ".join(type_text(each) if each.tag == "TypeName" else quoted(each.sval) for each in parts)
    scene.destroy(f"{word} {name}")
    if not cascade:
        return
    scene.unknown(f"what needs {word} {name}")
    if word == "function":
        function = scene.catalog.find(*name_of(parts), scene.catalog.functions)
        for relation in scene.catalog.relations.values():
            if function in relation.triggers.values():
                scene.lock(relation.name, "ACCESS EXCLUSIVE")
                left = {name: runs for name, runs in relation.triggers.items() if runs != function}
                scene.put(replace(relation, triggers=left))
