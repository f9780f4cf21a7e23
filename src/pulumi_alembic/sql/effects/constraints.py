"""Effects of adding and dropping constraints: locks and scans."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from pulumi_alembic.sql.catalog import Column, Constraint, Relation
from pulumi_alembic.sql.effects.queries import CatalogAfter, visit
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


def add_constraint(state: CatalogAfter, table: str, node: Any, column: str = "", *, filled: bool = True) -> None:
    """Add a constraint to a table.

    PostgreSQL 15 manual, ALTER TABLE: rows are checked by a scan, which NOT VALID postpones. A foreign key also locks
    the table that it refers to.

    Args:
        state: the catalog and effects so far.
        table: its full name.
        node: the tree of the constraint.
        column: the column whose definition has the constraint.
        filled: whether the table can have rows to check.

    """
    kind = _KINDS.get(node.contype)
    if kind is None:
        return
    constraint = _constraint(state, table, node, kind, column)
    tested = filled and constraint.validated
    if constraint.target:
        state.lock_tree(constraint.target, "SHARE ROW EXCLUSIVE")
    if kind == "c":
        visit(state, node.raw_expr)
    for name in constraint.columns if kind in "pn" else ():
        set_not_null(state, table, name, filled=tested)
    if tested and kind != "n" and not node.indexname:
        state.scan(table)
    state.put_constraint(table, constraint)
    if constraint.index:
        state.put(Relation(constraint.index, "i", table=table))


def drop_constraint(state: CatalogAfter, table: str, name: str, *, cascade: bool = False) -> None:
    """Drop a constraint. A foreign key's triggers are dropped on both tables, with the same strength of lock."""
    for constraint in state.relation(table).constraints:
        if constraint.name == name:
            _drop(state, table, constraint, cascade=cascade)


def set_not_null(state: CatalogAfter, table: str, column: str, *, filled: bool = True) -> None:
    """Make a column NOT NULL. A `filled` table is scanned unless a constraint proves that there are no NULLs."""
    current = state.relation(table).columns.get(column, Column())
    if filled and not current.not_null and not is_proven_not_null(state, table, column):
        state.scan(table)
    state.put_column(table, column, replace(current, not_null=True))


def is_proven_not_null(state: CatalogAfter, table: str, column: str) -> bool:
    """Return whether a validated CHECK requires `column IS NOT NULL`, by itself or joined by AND.

    PostgreSQL 12 release notes: SET NOT NULL then needs no scan.
    """
    return any(
        constraint.validated and column in constraint.not_null for constraint in state.relation(table).constraints
    )


def is_inherited(state: CatalogAfter, table: str, constraint: Constraint) -> bool:
    """Return whether a foreign key is that of the partitioned table, which then has the other table's triggers."""
    above = [
        parent_constraint
        for parent in state.relation(table).parents
        for parent_constraint in state.relation(parent).constraints
    ]
    return any(
        (parent_constraint.target, parent_constraint.columns) == (constraint.target, constraint.columns)
        for parent_constraint in above
    )


def _drop(state: CatalogAfter, table: str, constraint: Constraint, *, cascade: bool) -> None:
    relation = state.relation(table)
    state.put(replace(relation, constraints=tuple(other for other in relation.constraints if other != constraint)))
    if constraint.target:
        state.lock_tree(constraint.target, "ACCESS EXCLUSIVE")
    if constraint.index:
        state.forget(constraint.index)
    if cascade and constraint.kind in "pu":
        for child, key in list(state.catalog.referencing(table)):
            state.lock_tree(child.name, "ACCESS EXCLUSIVE")
            _drop(state, child.name, key, cascade=False)


def _constraint(state: CatalogAfter, table: str, node: Any, kind: str, column: str) -> Constraint:
    valid = not node.skip_validation
    columns = tuple(part.sval for part in (node.fk_attrs if kind == "f" else node.keys) or ()) or (column,)
    if node.indexname:
        columns = state.relation(state.sibling(table, node.indexname)).key or columns
    if kind == "c":
        columns = tuple(dict.fromkeys(_named(node.raw_expr)))
    name = node.conname or _default_name(table, columns, kind)
    if kind == "f":
        actions = (node.fk_del_action or "a", node.fk_upd_action or "a")
        return Constraint(name, kind, columns, state.name(node.pktable), "", *actions, valid)
    index = state.sibling(table, node.indexname or name) if kind in "pux" else ""
    not_null = _not_null(node.raw_expr) if kind == "c" else ()
    return Constraint(name, kind, columns, index=index, validated=valid, not_null=not_null)


def _named(expression: Any) -> list[str]:
    """Return the columns that the expression mentions, without expanding `*`."""
    last = [node.fields[-1] for node in nodes(expression, "ColumnRef")]
    return [part.sval for part in last if part.sval is not None]


def _default_name(table: str, columns: tuple[str, ...], kind: str) -> str:
    """Return the generated name, as ChooseConstraintName of PostgreSQL 15, if it is short enough and not taken."""
    bare = table.rpartition(".")[2].strip('"')
    parts = () if kind == "p" else columns if kind in "fux" else columns[:1]
    return "_".join([bare, *(part for part in parts if part), _SUFFIXES[kind]])


def _conditions(expression: Any) -> list[Any]:
    if expression.tag == "BoolExpr" and expression.boolop == "AND_EXPR":
        return [part for argument in expression.args for part in _conditions(argument)]
    return [expression]


def _not_null(expression: Any) -> tuple[str, ...]:
    """Return the columns for which the expression requires IS NOT NULL, by itself or joined by AND."""
    tests = [condition for condition in _conditions(expression) if condition.tag == "NullTest"]
    arguments = [test.arg for test in tests if test.nulltesttype == "IS_NOT_NULL"]
    return tuple(argument.fields[-1].sval for argument in arguments if argument.tag == "ColumnRef")
