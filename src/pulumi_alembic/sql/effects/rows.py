"""Effects of statements about rows: INSERT, UPDATE, DELETE, MERGE, COPY, TRUNCATE and LOCK TABLE."""

from __future__ import annotations

from typing import Any

from pulumi_alembic.sql.catalog import quoted
from pulumi_alembic.sql.effects.queries import WRITERS, CatalogAfter, Hidden, read, visit, with_clause
from pulumi_alembic.sql.locks import MODES
from pulumi_alembic.sql.parser import nodes

__all__ = ["copy", "lock_table", "truncate"]

_NOTHING: Hidden = frozenset()


def _insert(state: CatalogAfter, node: Any, hidden: Hidden) -> None:
    inner = with_clause(state, node, hidden)
    name = state.name(node.relation)
    _written(state, name, tree=state.relation(name).kind == "p")
    _check_keys(state, name)
    for part in (node.selectStmt, node.onConflictClause, node.returningClause):
        visit(state, part, inner)


def _update(state: CatalogAfter, node: Any, hidden: Hidden) -> None:
    inner = with_clause(state, node, hidden)
    name = state.name(node.relation)
    columns = [target.name for target in node.targetList]
    _written(state, name, tree=node.relation.inh)
    _check_keys(state, name, columns)
    _change_keys(state, name, columns)
    for part in (node.targetList, node.fromClause, node.whereClause, node.returningClause):
        visit(state, part, inner)
    old_columns = state.relation(name).columns
    for column in columns if node.whereClause is None else ():
        if column not in old_columns or not old_columns[column].new:
            state.destroy(f"values of {name}.{quoted(column)}")


def _delete(state: CatalogAfter, node: Any, hidden: Hidden) -> None:
    inner = with_clause(state, node, hidden)
    name = state.name(node.relation)
    _written(state, name, tree=node.relation.inh)
    for part in (node.usingClause, node.whereClause, node.returningClause):
        visit(state, part, inner)
    if next(nodes(node.whereClause, "ColumnRef"), None) is None:
        # A condition without a column, such as WHERE true, selects every row.
        for relation in state.tree(name) if node.relation.inh else [name]:
            state.destroy(f"rows of {relation}")
    else:
        state.destroy(f"some rows of {name}")
    _delete_from(state, name, "some rows", {name})


def _merge(state: CatalogAfter, node: Any, hidden: Hidden) -> None:
    inner = with_clause(state, node, hidden)
    name = state.name(node.relation)
    _written(state, name, tree=node.relation.inh)
    actions = {clause.commandType for clause in node.mergeWhenClauses}
    if actions & {"CMD_INSERT", "CMD_UPDATE"}:
        _check_keys(state, name)
    for part in (node.sourceRelation, node.joinCondition, node.mergeWhenClauses, node.returningClause):
        visit(state, part, inner)
    if "CMD_DELETE" in actions:
        state.destroy(f"some rows of {name}")
        _delete_from(state, name, "some rows", {name})


WRITERS |= {"InsertStmt": _insert, "UpdateStmt": _update, "DeleteStmt": _delete, "MergeStmt": _merge}


def truncate(state: CatalogAfter, node: Any) -> None:
    """Apply TRUNCATE. Each table gets an empty file. With CASCADE so do tables whose foreign keys refer to it."""
    waiting = [table for item in node.relations for table in _tree(state, item)]
    emptied: dict[str, None] = {}
    while waiting:
        name = waiting.pop(0)
        if name not in emptied:
            emptied[name] = None
            if node.behavior == "DROP_CASCADE":
                waiting += [table for child, _ in state.catalog.referencing(name) for table in state.tree(child.name)]
    for name in emptied:
        state.lock(name, "ACCESS EXCLUSIVE")
        state.rewrite(name)
        state.destroy(f"rows of {name}")
        _triggers(state, name)


def copy(state: CatalogAfter, node: Any) -> None:
    """Apply COPY from a table or query, or into a table."""
    if node.relation is None or not node.is_from:
        visit(state, node.query or node.relation)
    else:
        name = state.name(node.relation)
        _written(state, name, tree=state.relation(name).kind == "p")
        _check_keys(state, name)
    if node.is_program:
        state.unknown(f"program {node.filename}")


def lock_table(state: CatalogAfter, node: Any) -> None:
    """Apply LOCK TABLE with its mode, also to the tables that a view reads."""
    for item in node.relations:
        read(state, state.name(item), MODES[node.mode - 1], tree=item.inh)


def _tree(state: CatalogAfter, item: Any) -> list[str]:
    name = state.name(item)
    return state.tree(name) if item.inh else [name]


def _written(state: CatalogAfter, name: str, *, tree: bool) -> None:
    """Note the locks of a statement that writes rows. In a partitioned table any partition can get some."""
    read(state, name, "ROW EXCLUSIVE", tree=tree)
    for relation in state.tree(name) if tree else [name]:
        _triggers(state, relation)


def _triggers(state: CatalogAfter, name: str) -> None:
    for trigger in state.relation(name).triggers if state.runs else ():
        state.unknown(f"trigger {quoted(trigger)} on {name}")
    for rule in state.relation(name).rules:
        state.unknown(f"rule {quoted(rule)} on {name}")


def _check_keys(state: CatalogAfter, name: str, columns: list[str] | None = None) -> None:
    """Lock the rows that foreign keys of the table refer to, so that they are not deleted meanwhile."""
    for key in state.relation(name).constraints if state.runs else ():
        if key.target and (columns is None or set(columns) & set(key.columns)):
            state.lock_tree(key.target, "ROW SHARE")


def _change_keys(state: CatalogAfter, name: str, columns: list[str]) -> None:
    """Look for rows that refer to a changed key, or update them."""
    keys = [constraint for constraint in state.relation(name).constraints if constraint.kind in "pu"]
    if not state.runs or not any(set(columns) & set(constraint.columns) for constraint in keys):
        return
    for child, key in state.catalog.referencing(name):
        state.lock_tree(child.name, "ROW SHARE" if key.on_update in "ar" else "ROW EXCLUSIVE")


def _delete_from(state: CatalogAfter, name: str, extent: str, seen: set[str]) -> None:
    """Apply the ON DELETE actions of foreign keys that refer to the table."""
    for child, key in list(state.catalog.referencing(name)) if state.runs else ():
        state.lock_tree(child.name, "ROW SHARE" if key.on_delete in "ar" else "ROW EXCLUSIVE")
        if key.on_delete in "nd":
            state.destroy(f"some values of {child.name}.{quoted(*key.columns[:1])}")
        if key.on_delete == "c" and child.name not in seen:
            state.destroy(f"{extent} of {child.name}")
            _triggers(state, child.name)
            _delete_from(state, child.name, extent, seen | {child.name})
