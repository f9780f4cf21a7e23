"""ALTER statements: the lock of each action, the tables that it applies to, and its effects there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from pulumi_alembic.sql.catalog import Column, quoted
from pulumi_alembic.sql.effects.columns import add_column, change_type, drop_column, set_default
from pulumi_alembic.sql.effects.constraints import add_constraint, drop_constraint, set_not_null
from pulumi_alembic.sql.effects.queries import CatalogAfter, name_of
from pulumi_alembic.sql.effects.types import is_of

__all__ = ["alter", "move", "rename"]

# AlterTableGetLockLevel of PostgreSQL 15's tablecmds.c. All other actions take ACCESS EXCLUSIVE.
_MODES = {
    "AT_SetStatistics": "SHARE UPDATE EXCLUSIVE",
    "AT_SetOptions": "SHARE UPDATE EXCLUSIVE",
    "AT_ResetOptions": "SHARE UPDATE EXCLUSIVE",
    "AT_ClusterOn": "SHARE UPDATE EXCLUSIVE",
    "AT_DropCluster": "SHARE UPDATE EXCLUSIVE",
    "AT_ValidateConstraint": "SHARE UPDATE EXCLUSIVE",
    "AT_AttachPartition": "SHARE UPDATE EXCLUSIVE",
    "AT_DetachPartitionFinalize": "SHARE UPDATE EXCLUSIVE",
    **{
        f"AT_{verb}Trig{which}": "SHARE ROW EXCLUSIVE"
        for verb in ("Enable", "EnableAlways", "EnableReplica", "Disable")
        for which in ("", "All", "User")
    },
}
# reloptions.c: these storage parameters of a table need only SHARE UPDATE EXCLUSIVE, unlike user_catalog_table.
_LIGHT_OPTIONS = ("autovacuum_", "toast.", "log_autovacuum", "vacuum_")
_LIGHT_NAMES = {"fillfactor", "toast_tuple_target", "parallel_workers"}
# ATPrepCmd: these apply only to the named table, even if it has children.
_ALONE = {
    "AT_ChangeOwner", "AT_SetRelOptions", "AT_ResetRelOptions", "AT_ReplaceRelOptions", "AT_ClusterOn",
    "AT_DropCluster", "AT_SetLogged", "AT_SetUnLogged", "AT_SetTableSpace", "AT_SetAccessMethod", "AT_AddInherit",
    "AT_DropInherit", "AT_AttachPartition", "AT_DetachPartition", "AT_DetachPartitionFinalize", "AT_ReplicaIdentity",
    "AT_EnableRowSecurity", "AT_DisableRowSecurity", "AT_ForceRowSecurity", "AT_NoForceRowSecurity", "AT_AddOf",
    "AT_DropOf", "AT_EnableRule", "AT_DisableRule", "AT_EnableAlwaysRule", "AT_EnableReplicaRule", "AT_GenericOptions",
}  # fmt: skip


def alter(state: CatalogAfter, node: Any) -> None:
    """Apply ALTER TABLE, VIEW, INDEX, SEQUENCE or TYPE. The last three lock no table for their own actions."""
    name = state.name(node.relation)
    if node.missing_ok and state.catalog.complete and name not in state.catalog.relations:
        return
    kind = node.objtype
    if kind in {"OBJECT_INDEX", "OBJECT_SEQUENCE", "OBJECT_TYPE"}:
        for command in node.cmds:
            _part_of_no_table(state, name, command)
        return
    for command in node.cmds:
        action = command.subtype
        alone = action in _ALONE or not node.relation.inh
        for relation in [name] if alone else state.tree(name):
            state.lock(relation, _mode(command))
            _act(state, relation, command)


def rename(state: CatalogAfter, node: Any) -> None:
    """Apply RENAME of a relation or of a part of one."""
    kind = node.renameType.removeprefix("OBJECT_")
    if kind == "SCHEMA":
        _rename_schema(state, quoted(node.subname), quoted(node.newname))
    if kind in {"TYPE", "DOMAIN"}:
        _rename_type(state, *name_of(node.object), node.newname)
    if node.relation is None:
        return
    name = state.name(node.relation)
    if kind in {"TABLE", "VIEW", "MATVIEW", "FOREIGN_TABLE", "SEQUENCE", "INDEX"}:
        state.lock(name, "ACCESS EXCLUSIVE")
        state.rename(name, state.sibling(name, node.newname))
    elif kind in {"COLUMN", "TABCONSTRAINT"}:
        for relation in state.tree(name) if node.relation.inh else [name]:
            state.lock(relation, "ACCESS EXCLUSIVE")
            (_rename_column if kind == "COLUMN" else _rename_constraint)(state, relation, node.subname, node.newname)
    elif kind in {"TRIGGER", "POLICY", "RULE"}:
        state.lock(name, "ACCESS EXCLUSIVE")
        triggers = state.relation(name).triggers
        if kind == "TRIGGER":
            renamed = {node.newname if old == node.subname else old: runs for old, runs in triggers.items()}
            state.put(replace(state.relation(name), triggers=renamed))


def move(state: CatalogAfter, node: Any) -> None:
    """Apply SET SCHEMA."""
    if node.relation is None:
        return
    name = state.name(node.relation)
    state.lock(name, "ACCESS EXCLUSIVE")
    bare = node.relation.relname
    state.rename(name, state.catalog.find(node.newschema, bare))


def _part_of_no_table(state: CatalogAfter, name: str, command: Any) -> None:
    action = command.subtype
    if action == "AT_DropColumn":
        state.destroy(f"attribute {name}.{quoted(command.name)}")
    if action == "AT_AttachPartition":
        for part in (name, state.name(command.def_.name)):
            state.lock(state.relation(part).table, "ACCESS SHARE")


def _mode(command: Any) -> str:
    action = command.subtype
    if action == "AT_AddConstraint" and command.def_.contype == "CONSTR_FOREIGN":
        return "SHARE ROW EXCLUSIVE"
    if action == "AT_DetachPartition" and command.def_.concurrent:
        return "SHARE UPDATE EXCLUSIVE"
    if action in {"AT_SetRelOptions", "AT_ResetRelOptions"}:
        names = [
            f"{option.defnamespace}.{option.defname}" if option.defnamespace else option.defname
            for option in command.def_
        ]
        light = all(name in _LIGHT_NAMES or name.startswith(_LIGHT_OPTIONS) for name in names)
        return "SHARE UPDATE EXCLUSIVE" if light else "ACCESS EXCLUSIVE"
    return _MODES.get(action, "ACCESS EXCLUSIVE")


def _act(state: CatalogAfter, table: str, command: Any) -> None:
    action = command.subtype
    if action in _REWRITING:
        state.rewrite(table)
    elif action in _ACTIONS:
        _ACTIONS[action](state, table, command)


# SET EXPRESSION exists from PostgreSQL 17 on. For a virtual column (18) it writes nothing: the stronger effect is
# assumed.
_REWRITING = {"AT_SetLogged", "AT_SetUnLogged", "AT_SetTableSpace", "AT_SetAccessMethod", "AT_SetExpression"}


def _drop_constraint(state: CatalogAfter, table: str, command: Any) -> None:
    drop_constraint(state, table, command.name, cascade=command.behavior == "DROP_CASCADE")


def _force_row_security(state: CatalogAfter, table: str, command: Any) -> None:
    forced = command.subtype == "AT_ForceRowSecurity"
    state.put(replace(state.relation(table), forced=forced))


def _drop_not_null(state: CatalogAfter, table: str, command: Any) -> None:
    current = state.relation(table).columns.get(command.name, Column())
    state.put_column(table, command.name, replace(current, not_null=False))


def _validate(state: CatalogAfter, table: str, command: Any) -> None:
    scene_constraints = state.relation(table).constraints
    for constraint in scene_constraints:
        if constraint.name == command.name and not constraint.validated:
            state.scan(table)
            if constraint.target:
                state.lock_tree(constraint.target, "ROW SHARE")
            state.put_constraint(table, replace(constraint, validated=True))
    if command.name not in {other.name for other in scene_constraints}:
        state.scan(table)


def _inherit(state: CatalogAfter, table: str, command: Any) -> None:
    parent = state.name(command.def_)
    relation = state.relation(table)
    if command.subtype == "AT_AddInherit":
        state.lock(parent, "SHARE UPDATE EXCLUSIVE")
        state.put(replace(relation, parents=(*relation.parents, parent)))
    else:
        state.lock(parent, "ACCESS SHARE")
        state.put(replace(relation, parents=tuple(other for other in relation.parents if other != parent)))


def _attach(state: CatalogAfter, table: str, command: Any) -> None:
    """Scan the new partition and the default one. A CHECK that implies the bounds would avoid that."""
    part = state.name(command.def_.name)
    state.lock_tree(part, "ACCESS EXCLUSIVE")
    bound = command.def_.bound
    for member in state.tree(part):
        state.scan(member)
    if default := state.relation(table).default_partition:
        state.lock_tree(default, "ACCESS EXCLUSIVE")
        for member in state.tree(default):
            state.scan(member)
    for key in state.relation(table).constraints:
        if key.target:
            state.lock_tree(key.target, "SHARE ROW EXCLUSIVE")
            state.put_constraint(part, key)
    relation = state.relation(part)
    state.put(replace(relation, parents=(*relation.parents, table)))
    if bound is not None and bound.is_default:
        state.put(replace(state.relation(table), default_partition=part))


def _detach(state: CatalogAfter, table: str, command: Any) -> None:
    part = state.name(command.def_.name)
    state.lock_tree(part, "ACCESS EXCLUSIVE")
    if default := state.relation(table).default_partition:
        state.lock(default, "ACCESS EXCLUSIVE")
    for key in state.relation(part).constraints:
        if key.target:
            state.lock_tree(key.target, "SHARE ROW EXCLUSIVE")
    relation = state.relation(part)
    state.put(replace(relation, parents=tuple(parent for parent in relation.parents if parent != table)))


_ACTIONS: dict[str, Callable[[CatalogAfter, str, Any], None]] = {
    "AT_DisableRowSecurity": _force_row_security,
    "AT_ForceRowSecurity": _force_row_security,
    "AT_NoForceRowSecurity": _force_row_security,
    "AT_AddColumn": add_column,
    **dict.fromkeys(("AT_ColumnDefault", "AT_AddIdentity", "AT_DropIdentity", "AT_DropExpression"), set_default),
    "AT_DropColumn": drop_column,
    "AT_AlterColumnType": change_type,
    "AT_AddConstraint": lambda state, table, command: add_constraint(state, table, command.def_),
    "AT_DropConstraint": _drop_constraint,
    "AT_ValidateConstraint": _validate,
    "AT_SetNotNull": lambda state, table, command: set_not_null(state, table, command.name),
    "AT_DropNotNull": _drop_not_null,
    "AT_AddInherit": _inherit,
    "AT_DropInherit": _inherit,
    "AT_AttachPartition": _attach,
    "AT_DetachPartition": _detach,
}


def _rename_schema(state: CatalogAfter, old: str, new: str) -> None:
    for name in [relation for relation in state.catalog.relations if relation.startswith(f"{old}.")]:
        state.rename(name, f"{new}{name.removeprefix(old)}")
    types = {
        f"{new}{name.removeprefix(old)}" if name.startswith(f"{old}.") else name: base
        for name, base in state.catalog.types.items()
    }
    state.catalog = replace(state.catalog, types=types)


def _rename_type(state: CatalogAfter, schema: str | None, name: str, new: str) -> None:
    old = state.catalog.find(schema, name, state.catalog.types)
    full = f"{old.removesuffix(quoted(name))}{quoted(new)}"
    for relation in [*state.catalog.relations.values()]:
        columns = {
            name: replace(column, type=f"{full}[]" if column.type.endswith("[]") else full)
            for name, column in relation.columns.items()
            if is_of(state.catalog, column.type, old)
        }
        if columns:
            state.put(replace(relation, columns={**relation.columns, **columns}))
    types = {full if name == old else name: base for name, base in state.catalog.types.items()}
    constrained = frozenset(full if name == old else name for name in state.catalog.constrained)
    state.catalog = replace(state.catalog, types=types, constrained=constrained)


def _rename_column(state: CatalogAfter, table: str, old: str, new: str) -> None:
    relation = state.relation(table)
    old_columns = relation.columns.items()
    columns = dict(
        (new, replace(column, was=column.was or name)) if name == old else (name, column)
        for name, column in old_columns
    )
    constraints = tuple(
        replace(constraint, columns=_with(constraint.columns, old, new), not_null=_with(constraint.not_null, old, new))
        for constraint in relation.constraints
    )
    state.put(replace(relation, columns=columns, constraints=constraints))
    for index in [other for other in state.catalog.relations.values() if other.table == table and old in other.key]:
        state.put(replace(index, key=_with(index.key, old, new)))


def _with(names: tuple[str, ...], old: str, new: str) -> tuple[str, ...]:
    return tuple(new if name == old else name for name in names)


def _rename_constraint(state: CatalogAfter, table: str, old: str, new: str) -> None:
    relation = state.relation(table)
    renamed = tuple(
        replace(constraint, name=new) if constraint.name == old else constraint for constraint in relation.constraints
    )
    state.put(replace(relation, constraints=renamed))
