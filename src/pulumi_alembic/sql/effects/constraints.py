"""Constraints: what adding one to a table, or dropping it, locks and reads."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from pulumi_alembic.sql.catalog import Column, Constraint, Relation
from pulumi_alembic.sql.effects.queries import Scene, visit
from pulumi_alembic.sql.parser import nodes

__all__ = ["add_constraint", "drop_constraint", "is_inherited", "is_proven_not_null", "set_not_null"]

_KINDS = {
    "CONSTR_CHECK": "c",
    "CONSTR_FOREIGN": "f",
    "CONSTR_PRIMARY": "p",
    "CONSTR_UNIQUE": "u",
    "CONSTR_EXCLUSION": "x",
    "CONSTR_NOTNULL": "n",
}
_SUFFIXES = {"c": "check", "f": "fkey", "p": "pkey", "u": "key", "x": "excl", "n": "not_null"}


def add_constraint(scene: Scene, table: str, node: Any, column: str = "", *, filled: bool = True) -> None:
    """A constraint of a table, or of the `column` that it stands at; `filled` where there may be rows that it is for.

    PostgreSQL 15 manual, ALTER TABLE: rows are tested by a scan, which NOT VALID puts off; a foreign key locks the
    table that it names as well.
    """
    kind = _KINDS.get(node.contype)
    if kind is None:
        return
    constraint = _constraint(scene, table, node, kind, column)
    tested = filled and constraint.validated
    if constraint.target:
        scene.lock_tree(constraint.target, "SHARE ROW EXCLUSIVE")
    if kind == "c":
        visit(scene, node.raw_expr)
    for each in constraint.columns if kind in "pn" else ():
        set_not_null(scene, table, each, filled=tested)
    if tested and kind != "n" and not node.indexname:
        scene.scan(table)
    scene.put_constraint(table, constraint)
    if constraint.index:
        scene.put(Relation(constraint.index, "i", table=table))


def drop_constraint(scene: Scene, table: str, name: str, *, cascade: bool = False) -> None:
    """A constraint goes; a foreign key's triggers go from the table that it names too, whose locks are as strong."""
    for constraint in scene.relation(table).constraints:
        if constraint.name == name:
            _drop(scene, table, constraint, cascade=cascade)


def set_not_null(scene: Scene, table: str, column: str, *, filled: bool = True) -> None:
    """A column refuses nulls from now on; a `filled` table is scanned where nothing proves that there are none."""
    known = scene.relation(table).columns.get(column, Column())
    if filled and not known.not_null and not is_proven_not_null(scene, table, column):
        scene.scan(table)
    scene.put_column(table, column, replace(known, not_null=True))


def is_proven_not_null(scene: Scene, table: str, column: str) -> bool:
    """Whether a valid check says `column IS NOT NULL`, alone or among conditions that all hold.

    PostgreSQL 12 release notes: SET NOT NULL then needs no scan.
    """
    return any(each.validated and column in each.not_null for each in scene.relation(table).constraints)


def is_inherited(scene: Scene, table: str, constraint: Constraint) -> bool:
    """Whether a foreign key is that of the partitioned table above, which then has the triggers of the other table."""
    above = [each for parent in scene.relation(table).parents for each in scene.relation(parent).constraints]
    return any((each.target, each.columns) == (constraint.target, constraint.columns) for each in above)


def _drop(scene: Scene, table: str, constraint: Constraint, *, cascade: bool) -> None:
    relation = scene.relation(table)
    scene.put(replace(relation, constraints=tuple(each for each in relation.constraints if each != constraint)))
    if constraint.target:
        scene.lock_tree(constraint.target, "ACCESS EXCLUSIVE")
    if constraint.index:
        scene.forget(constraint.index)
    if cascade and constraint.kind in "pu":
        for held, key in list(scene.catalog.referencing(table)):
            scene.lock_tree(held.name, "ACCESS EXCLUSIVE")
            _drop(scene, held.name, key, cascade=False)


def _constraint(scene: Scene, table: str, node: Any, kind: str, column: str) -> Constraint:
    valid = not node.skip_validation
    columns = tuple(each.sval for each in (node.fk_attrs if kind == "f" else node.keys) or ()) or (column,)
    if kind == "c":
        columns = tuple(dict.fromkeys(_named(node.raw_expr)))
    name = node.conname or _default_name(table, columns, kind)
    if kind == "f":
        actions = (node.fk_del_action or "a", node.fk_upd_action or "a")
        return Constraint(name, kind, columns, scene.name(node.pktable), "", *actions, valid)
    index = scene.sibling(table, node.indexname or name) if kind in "pux" else ""
    not_null = _not_null(node.raw_expr) if kind == "c" else ()
    return Constraint(name, kind, columns, index=index, validated=valid, not_null=not_null)


def _named(expression: Any) -> list[str]:
    """The columns that it names; those behind a `*` are not looked up."""
    last = [each.fields[-1] for each in nodes(expression, "ColumnRef")]
    return [each.sval for each in last if each.sval is not None]


def _default_name(table: str, columns: tuple[str, ...], kind: str) -> str:
    """ChooseConstraintName of PostgreSQL 15, for names that need no cutting and are not taken."""
    bare = table.rpartition(".")[2].strip('"')
    parts = () if kind == "p" else columns if kind in "fux" else columns[:1]
    return "_".join([bare, *(each for each in parts if each), _SUFFIXES[kind]])


def _conditions(expression: Any) -> list[Any]:
    if expression.tag == "BoolExpr" and expression.boolop == "AND_EXPR":
        return [part for each in expression.args for part in _conditions(each)]
    return [expression]


def _not_null(expression: Any) -> tuple[str, ...]:
    """The columns of which it says IS NOT NULL, alone or joined to others by AND."""
    tests = [each for each in _conditions(expression) if each.tag == "NullTest"]
    found = [each.arg for each in tests if each.nulltesttype == "IS_NOT_NULL"]
    return tuple(each.fields[-1].sval for each in found if each.tag == "ColumnRef")
