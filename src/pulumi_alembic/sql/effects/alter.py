"""ALTER TABLE and its kin: the lock of each action, on which tables, and what it does there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from pulumi_alembic.sql.catalog import Column, quoted
from pulumi_alembic.sql.effects.columns import add_column, change_type, drop_column, set_default
from pulumi_alembic.sql.effects.constraints import add_constraint, drop_constraint, set_not_null
from pulumi_alembic.sql.effects.queries import Scene

__all__ = ["alter", "move", "rename"]

# AlterTableGetLockLevel of PostgreSQL 15's tablecmds.c; all other actions take ACCESS EXCLUSIVE.
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
# reloptions.c: these storage parameters of a table need no more; user_catalog_table does.
_LIGHT_OPTIONS = ("autovacuum_", "toast.", "log_autovacuum", "vacuum_")
_LIGHT_NAMES = {"fillfactor", "toast_tuple_target", "parallel_workers"}
# ATPrepCmd: these act on the named table alone, also where it has children.
_ALONE = {
    "AT_ChangeOwner", "AT_SetRelOptions", "AT_ResetRelOptions", "AT_ReplaceRelOptions", "AT_ClusterOn",
    "AT_DropCluster", "AT_SetLogged", "AT_SetUnLogged", "AT_SetTableSpace", "AT_SetAccessMethod", "AT_AddInherit",
    "AT_DropInherit", "AT_AttachPartition", "AT_DetachPartition", "AT_DetachPartitionFinalize", "AT_ReplicaIdentity",
    "AT_EnableRowSecurity", "AT_DisableRowSecurity", "AT_ForceRowSecurity", "AT_NoForceRowSecurity", "AT_AddOf",
    "AT_DropOf", "AT_EnableRule", "AT_DisableRule", "AT_EnableAlwaysRule", "AT_EnableReplicaRule", "AT_GenericOptions",
}  # fmt: skip


def alter(scene: Scene, node: Any) -> None:
    """ALTER TABLE, VIEW, INDEX, SEQUENCE, TYPE …; the last three lock no table for what is theirs."""
    name = scene.name(node.relation)
    if node.missing_ok and scene.catalog.complete and name not in scene.catalog.relations:
        return
    kind = node.objtype
    if kind in {"OBJECT_INDEX", "OBJECT_SEQUENCE", "OBJECT_TYPE"}:
        for command in node.cmds:
            _part_of_no_table(scene, name, command)
        return
    for command in node.cmds:
        action = command.subtype
        alone = action in _ALONE or not node.relation.inh
        for each in [name] if alone else scene.tree(name):
            scene.lock(each, _mode(command))
            _act(scene, each, command)


def rename(scene: Scene, node: Any) -> None:
    """RENAME of a relation, or of a part of one."""
    kind = node.renameType.removeprefix("OBJECT_")
    if kind == "SCHEMA":
        _rename_schema(scene, quoted(node.subname), quoted(node.newname))
    if node.relation is None:
        return
    name = scene.name(node.relation)
    if kind in {"TABLE", "VIEW", "MATVIEW", "FOREIGN_TABLE", "SEQUENCE", "INDEX"}:
        scene.lock(name, "ACCESS EXCLUSIVE")
        scene.rename(name, scene.sibling(name, node.newname))
    elif kind in {"COLUMN", "TABCONSTRAINT"}:
        for each in scene.tree(name) if node.relation.inh else [name]:
            scene.lock(each, "ACCESS EXCLUSIVE")
            (_rename_column if kind == "COLUMN" else _rename_constraint)(scene, each, node.subname, node.newname)
    elif kind in {"TRIGGER", "POLICY", "RULE"}:
        scene.lock(name, "ACCESS EXCLUSIVE")
        triggers = scene.relation(name).triggers
        if kind == "TRIGGER":
            renamed = {node.newname if old == node.subname else old: runs for old, runs in triggers.items()}
            scene.put(replace(scene.relation(name), triggers=renamed))


def move(scene: Scene, node: Any) -> None:
    """SET SCHEMA."""
    if node.relation is None:
        return
    name = scene.name(node.relation)
    scene.lock(name, "ACCESS EXCLUSIVE")
    bare = node.relation.relname
    scene.rename(name, scene.catalog.find(node.newschema, bare))


def _part_of_no_table(scene: Scene, name: str, command: Any) -> None:
    action = command.subtype
    if action == "AT_DropColumn":
        scene.destroy(f"attribute {name}.{quoted(command.name)}")
    if action == "AT_AttachPartition":
        for each in (name, scene.name(command.def_.name)):
            scene.lock(scene.relation(each).table, "ACCESS SHARE")


def _mode(command: Any) -> str:
    action = command.subtype
    if action == "AT_AddConstraint" and command.def_.contype == "CONSTR_FOREIGN":
        return "SHARE ROW EXCLUSIVE"
    if action == "AT_DetachPartition" and command.def_.concurrent:
        return "SHARE UPDATE EXCLUSIVE"
    if action in {"AT_SetRelOptions", "AT_ResetRelOptions"}:
        names = [f"{each.defnamespace}.{each.defname}" if each.defnamespace else each.defname for each in command.def_]
        light = all(each in _LIGHT_NAMES or each.startswith(_LIGHT_OPTIONS) for each in names)
        return "SHARE UPDATE EXCLUSIVE" if light else "ACCESS EXCLUSIVE"
    return _MODES.get(action, "ACCESS EXCLUSIVE")


def _act(scene: Scene, table: str, command: Any) -> None:
    action = command.subtype
    if action in _REWRITING:
        scene.rewrite(table)
    elif action in _ACTIONS:
        _ACTIONS[action](scene, table, command)


# SET EXPRESSION is PostgreSQL 17's; of a virtual column, 18's, it writes nothing, and the stronger is told.
_REWRITING = {"AT_SetLogged", "AT_SetUnLogged", "AT_SetTableSpace", "AT_SetAccessMethod", "AT_SetExpression"}


def _drop_constraint(scene: Scene, table: str, command: Any) -> None:
    drop_constraint(scene, table, command.name, cascade=command.behavior == "DROP_CASCADE")


def _force_row_security(scene: Scene, table: str, command: Any) -> None:
    forced = command.subtype == "AT_ForceRowSecurity"
    scene.put(replace(scene.relation(table), forced=forced))


def _drop_not_null(scene: Scene, table: str, command: Any) -> None:
    known = scene.relation(table).columns.get(command.name, Column())
    scene.put_column(table, command.name, replace(known, not_null=False))


def _validate(scene: Scene, table: str, command: Any) -> None:
    scene_constraints = scene.relation(table).constraints
    for constraint in scene_constraints:
        if constraint.name == command.name and not constraint.validated:
            scene.scan(table)
            if constraint.target:
                scene.lock_tree(constraint.target, "ROW SHARE")
            scene.put_constraint(table, replace(constraint, validated=True))
    if command.name not in {each.name for each in scene_constraints}:
        scene.scan(table)


def _inherit(scene: Scene, table: str, command: Any) -> None:
    parent = scene.name(command.def_)
    relation = scene.relation(table)
    if command.subtype == "AT_AddInherit":
        scene.lock(parent, "SHARE UPDATE EXCLUSIVE")
        scene.put(replace(relation, parents=(*relation.parents, parent)))
    else:
        scene.lock(parent, "ACCESS SHARE")
        scene.put(replace(relation, parents=tuple(each for each in relation.parents if each != parent)))


def _attach(scene: Scene, table: str, command: Any) -> None:
    """The rows of the new part are tested, and those of the default one; a check that says the same spares that."""
    part = scene.name(command.def_.name)
    scene.lock_tree(part, "ACCESS EXCLUSIVE")
    bound = command.def_.bound
    for each in scene.tree(part):
        scene.scan(each)
    if default := scene.relation(table).default_partition:
        scene.lock_tree(default, "ACCESS EXCLUSIVE")
        for each in scene.tree(default):
            scene.scan(each)
    for key in scene.relation(table).constraints:
        if key.target:
            scene.lock_tree(key.target, "SHARE ROW EXCLUSIVE")
            scene.put_constraint(part, key)
    relation = scene.relation(part)
    scene.put(replace(relation, parents=(*relation.parents, table)))
    if bound is not None and bound.is_default:
        scene.put(replace(scene.relation(table), default_partition=part))


def _detach(scene: Scene, table: str, command: Any) -> None:
    part = scene.name(command.def_.name)
    scene.lock_tree(part, "ACCESS EXCLUSIVE")
    if default := scene.relation(table).default_partition:
        scene.lock(default, "ACCESS EXCLUSIVE")
    for key in scene.relation(part).constraints:
        if key.target:
            scene.lock_tree(key.target, "SHARE ROW EXCLUSIVE")
    relation = scene.relation(part)
    scene.put(replace(relation, parents=tuple(each for each in relation.parents if each != table)))


_ACTIONS: dict[str, Callable[[Scene, str, Any], None]] = {
    "AT_DisableRowSecurity": _force_row_security,
    "AT_ForceRowSecurity": _force_row_security,
    "AT_NoForceRowSecurity": _force_row_security,
    "AT_AddColumn": add_column,
    **dict.fromkeys(("AT_ColumnDefault", "AT_AddIdentity", "AT_DropIdentity", "AT_DropExpression"), set_default),
    "AT_DropColumn": drop_column,
    "AT_AlterColumnType": change_type,
    "AT_AddConstraint": lambda scene, table, command: add_constraint(scene, table, command.def_),
    "AT_DropConstraint": _drop_constraint,
    "AT_ValidateConstraint": _validate,
    "AT_SetNotNull": lambda scene, table, command: set_not_null(scene, table, command.name),
    "AT_DropNotNull": _drop_not_null,
    "AT_AddInherit": _inherit,
    "AT_DropInherit": _inherit,
    "AT_AttachPartition": _attach,
    "AT_DetachPartition": _detach,
}


def _rename_schema(scene: Scene, old: str, new: str) -> None:
    for name in [each for each in scene.catalog.relations if each.startswith(f"{old}.")]:
        scene.rename(name, f"{new}{name.removeprefix(old)}")
    types = {
        f"{new}{name.removeprefix(old)}" if name.startswith(f"{old}.") else name: base
        for name, base in scene.catalog.types.items()
    }
    scene.catalog = replace(scene.catalog, types=types)


def _rename_column(scene: Scene, table: str, old: str, new: str) -> None:
    relation = scene.relation(table)
    known = relation.columns.items()
    columns = dict((new, replace(each, was=each.was or name)) if name == old else (name, each) for name, each in known)
    constraints = tuple(
        replace(each, columns=_with(each.columns, old, new), not_null=_with(each.not_null, old, new))
        for each in relation.constraints
    )
    scene.put(replace(relation, columns=columns, constraints=constraints))


def _with(names: tuple[str, ...], old: str, new: str) -> tuple[str, ...]:
    return tuple(new if name == old else name for name in names)


def _rename_constraint(scene: Scene, table: str, old: str, new: str) -> None:
    relation = scene.relation(table)
    renamed = tuple(replace(each, name=new) if each.name == old else each for each in relation.constraints)
    scene.put(replace(relation, constraints=renamed))
