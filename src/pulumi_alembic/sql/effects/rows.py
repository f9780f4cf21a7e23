"""Statements about rows: they write, copy, empty and lock tables."""

from __future__ import annotations

from typing import Any

from pulumi_alembic.sql.catalog import quoted
from pulumi_alembic.sql.effects.queries import WRITERS, Hidden, Scene, read, visit, with_clause
from pulumi_alembic.sql.locks import MODES
from pulumi_alembic.sql.parser import nodes

__all__ = ["copy", "lock_table", "truncate"]

_NOTHING: Hidden = frozenset()


def _insert(scene: Scene, node: Any, hidden: Hidden) -> None:
    inner = with_clause(scene, node, hidden)
    name = scene.name(node.relation)
    _written(scene, name, tree=scene.relation(name).kind == "p")
    _check_keys(scene, name)
    for part in (node.selectStmt, node.onConflictClause, node.returningClause):
        visit(scene, part, inner)


def _update(scene: Scene, node: Any, hidden: Hidden) -> None:
    inner = with_clause(scene, node, hidden)
    name = scene.name(node.relation)
    columns = [each.name for each in node.targetList]
    _written(scene, name, tree=node.relation.inh)
    _check_keys(scene, name, columns)
    _change_keys(scene, name, columns)
    for part in (node.targetList, node.fromClause, node.whereClause, node.returningClause):
        visit(scene, part, inner)
    known = scene.relation(name).columns
    for column in columns if node.whereClause is None else ():
        if column not in known or not known[column].new:
            scene.destroy(f"values of {name}.{quoted(column)}")


def _delete(scene: Scene, node: Any, hidden: Hidden) -> None:
    inner = with_clause(scene, node, hidden)
    name = scene.name(node.relation)
    _written(scene, name, tree=node.relation.inh)
    for part in (node.usingClause, node.whereClause, node.returningClause):
        visit(scene, part, inner)
    if next(nodes(node.whereClause, "ColumnRef"), None) is None:
        # Without a condition on the row, such as WHERE true, it is every row.
        for each in scene.tree(name) if node.relation.inh else [name]:
            scene.destroy(f"rows of {each}")
    else:
        scene.destroy(f"some rows of {name}")
    _delete_from(scene, name, "some rows", {name})


def _merge(scene: Scene, node: Any, hidden: Hidden) -> None:
    inner = with_clause(scene, node, hidden)
    name = scene.name(node.relation)
    _written(scene, name, tree=node.relation.inh)
    actions = {each.commandType for each in node.mergeWhenClauses}
    if actions & {"CMD_INSERT", "CMD_UPDATE"}:
        _check_keys(scene, name)
    for part in (node.sourceRelation, node.joinCondition, node.mergeWhenClauses, node.returningClause):
        visit(scene, part, inner)
    if "CMD_DELETE" in actions:
        scene.destroy(f"some rows of {name}")
        _delete_from(scene, name, "some rows", {name})


WRITERS |= {"InsertStmt": _insert, "UpdateStmt": _update, "DeleteStmt": _delete, "MergeStmt": _merge}


def truncate(scene: Scene, node: Any) -> None:
    """TRUNCATE: each table gets a new, empty file; with CASCADE so do those whose foreign keys name it."""
    waiting = [each for item in node.relations for each in _tree(scene, item)]
    emptied: dict[str, None] = {}
    while waiting:
        name = waiting.pop(0)
        if name not in emptied:
            emptied[name] = None
            if node.behavior == "DROP_CASCADE":
                waiting += [each for held, _ in scene.catalog.referencing(name) for each in scene.tree(held.name)]
    for name in emptied:
        scene.lock(name, "ACCESS EXCLUSIVE")
        scene.rewrite(name)
        scene.destroy(f"rows of {name}")
        _triggers(scene, name)


def copy(scene: Scene, node: Any) -> None:
    """COPY: from a table or query, or into a table."""
    if node.relation is None or not node.is_from:
        visit(scene, node.query or node.relation)
    else:
        name = scene.name(node.relation)
        _written(scene, name, tree=scene.relation(name).kind == "p")
        _check_keys(scene, name)
    if node.is_program:
        scene.unknown(f"program {node.filename}")


def lock_table(scene: Scene, node: Any) -> None:
    """LOCK TABLE: the mode it names, on what a view reads too."""
    for item in node.relations:
        read(scene, scene.name(item), MODES[node.mode - 1], tree=item.inh)


def _tree(scene: Scene, item: Any) -> list[str]:
    name = scene.name(item)
    return scene.tree(name) if item.inh else [name]


def _written(scene: Scene, name: str, *, tree: bool) -> None:
    """The lock of a statement that writes rows. Of a partitioned table all parts: which ones get rows is not known."""
    read(scene, name, "ROW EXCLUSIVE", tree=tree)
    for each in scene.tree(name) if tree else [name]:
        _triggers(scene, each)


def _triggers(scene: Scene, name: str) -> None:
    for trigger in scene.relation(name).triggers if scene.runs else ():
        scene.unknown(f"trigger {quoted(trigger)} on {name}")
    for rule in scene.relation(name).rules:
        scene.unknown(f"rule {quoted(rule)} on {name}")


def _check_keys(scene: Scene, name: str, columns: list[str] | None = None) -> None:
    """Rows that foreign keys of the table name are locked, so that they stay."""
    for key in scene.relation(name).constraints if scene.runs else ():
        if key.target and (columns is None or set(columns) & set(key.columns)):
            scene.lock_tree(key.target, "ROW SHARE")


def _change_keys(scene: Scene, name: str, columns: list[str]) -> None:
    """Rows that name a key which changes are looked for, or follow."""
    keys = [each for each in scene.relation(name).constraints if each.kind in "pu"]
    if not scene.runs or not any(set(columns) & set(each.columns) for each in keys):
        return
    for held, key in scene.catalog.referencing(name):
        scene.lock_tree(held.name, "ROW SHARE" if key.on_update in "ar" else "ROW EXCLUSIVE")


def _delete_from(scene: Scene, name: str, extent: str, seen: set[str]) -> None:
    """What foreign keys do when rows of the table go."""
    for held, key in list(scene.catalog.referencing(name)) if scene.runs else ():
        scene.lock_tree(held.name, "ROW SHARE" if key.on_delete in "ar" else "ROW EXCLUSIVE")
        if key.on_delete in "nd":
            scene.destroy(f"some values of {held.name}.{quoted(*key.columns[:1])}")
        if key.on_delete == "c" and held.name not in seen:
            scene.destroy(f"{extent} of {held.name}")
            _triggers(scene, held.name)
            _delete_from(scene, held.name, extent, seen | {held.name})
