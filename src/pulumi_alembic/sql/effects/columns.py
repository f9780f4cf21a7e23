"""Effects of adding, dropping and changing columns."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from pulumi_alembic.sql.catalog import FIXED, FRESH, Column, quoted
from pulumi_alembic.sql.effects.constraints import add_constraint
from pulumi_alembic.sql.effects.drops import remove_column
from pulumi_alembic.sql.effects.queries import CatalogAfter, is_volatile, visit
from pulumi_alembic.sql.effects.types import SERIAL, constrained_domain, keeps_file, loses, type_text

__all__ = ["add_column", "change_type", "define_column", "drop_column", "set_default"]


def define_column(state: CatalogAfter, table: str, node: Any) -> None:
    """Add a column to a table that the same statement creates, and that has no rows yet."""
    _learn(state, table, node)
    for constraint in node.constraints or ():
        add_constraint(state, table, constraint, node.colname, filled=False)


def add_column(state: CatalogAfter, table: str, command: Any) -> None:
    """Apply ADD COLUMN. The table is rewritten if rows can have different values, or each value must be checked.

    PostgreSQL 15 manual, ALTER TABLE, notes: a volatile default, a stored generated column, an identity column, a
    domain with constraints. `serial` is a volatile default.
    """
    node = command.def_
    if command.missing_ok and node.colname in state.relation(table).columns:
        return
    _learn(state, table, node)
    kinds = {declared.contype: declared for declared in node.constraints or ()}
    default = kinds.get("CONSTR_DEFAULT")
    generated = kinds.get("CONSTR_GENERATED")
    if (
        (default and is_volatile(state, default.raw_expr))
        or (generated and generated.generated_kind != "v")
        or "CONSTR_IDENTITY" in kinds
        or _is_serial(node)
        or constrained_domain(state.catalog, type_text(node.typeName))
    ):
        state.rewrite(table)
    if default:
        visit(state, default.raw_expr)
    if "CONSTR_NOTNULL" in kinds and not default:
        state.scan(table)
    for constraint in node.constraints or ():
        valued = constraint.contype != "CONSTR_FOREIGN" or bool(default) or _is_serial(node)
        add_constraint(state, table, constraint, node.colname, filled=valued)


def drop_column(state: CatalogAfter, table: str, command: Any) -> None:
    """Apply DROP COLUMN. It deletes the values and constraints, and with CASCADE dependent views and keys."""
    column, cascade = command.name, command.behavior == "DROP_CASCADE"
    relation = state.relation(table)
    if command.missing_ok and relation.columns and column not in relation.columns:
        return
    remove_column(state, table, column, cascade=cascade)


def change_type(state: CatalogAfter, table: str, command: Any) -> None:
    """Apply ALTER COLUMN TYPE. The table is rewritten unless each value keeps its bytes. CHECKs scan it again."""
    node, column = command.def_, command.name
    current = state.relation(table).columns.get(column, Column())
    new = type_text(node.typeName)
    using = node.raw_default
    plain = using is None or _is_column(using, column)
    if using is not None:
        visit(state, using)
    if not plain and not _casts(using, column, new):
        state.rewrite(table)
        state.destroy(f"values of {table}.{quoted(column)}")
    elif loses(state.catalog, current.type, new, not plain):
        state.destroy(f"values of {table}.{quoted(column)}")
    same = keeps_file(state.catalog, current.type, new)
    if not same:
        state.rewrite(table)
    _constrained_again(state, table, column, same=same)
    state.put_column(table, column, replace(current, type=new))


def _constrained_again(state: CatalogAfter, table: str, column: str, *, same: bool) -> None:
    """Recreate constraints of the column.

    Validated ones are checked again, and both tables of a foreign key are locked.

    A foreign key is not checked again if the values are the `same`.
    """
    for constraint in state.relation(table).constraints:
        if column not in constraint.columns:
            continue
        if constraint.validated and (constraint.kind == "c" or (constraint.target and not same)):
            state.scan(table)
        if constraint.target:
            state.lock_tree(constraint.target, "ACCESS EXCLUSIVE")
        for child, key in state.catalog.referencing(table) if constraint.kind in "pu" else ():
            state.lock_tree(child.name, "ACCESS EXCLUSIVE")
            for relation in state.tree(child.name) if key.validated and not same else ():
                state.scan(relation)


def _learn(state: CatalogAfter, table: str, node: Any) -> None:
    type_ = type_text(node.typeName) if node.typeName else ""
    required = any(constraint.contype in _REQUIRING for constraint in node.constraints or ())
    learned = Column(_SERIAL_TYPES.get(type_, type_), required or type_ in SERIAL, new=True)
    state.put_column(table, node.colname, replace(learned, default=_default(state, node, type_)))


def _default(state: CatalogAfter, node: Any, type_: str) -> str:
    kinds = {constraint.contype: constraint for constraint in node.constraints or ()}
    if type_ in SERIAL or "CONSTR_IDENTITY" in kinds:
        return FRESH
    if "CONSTR_GENERATED" in kinds:
        return FIXED
    default = kinds.get("CONSTR_DEFAULT")
    return kind_of_default(state, default.raw_expr) if default else ""


def kind_of_default(state: CatalogAfter, expression: Any) -> str:
    """Return the kind of a default, for `Column.default`."""
    constant = expression is not None and expression.tag == "A_Const"
    if expression is None or (constant and expression.isnull):
        return ""
    return FRESH if is_volatile(state, expression) else FIXED


def set_default(state: CatalogAfter, table: str, command: Any) -> None:
    """Apply ALTER COLUMN SET or DROP DEFAULT, or the corresponding action on an identity."""
    current = state.relation(table).columns.get(command.name, Column())
    expression = command.def_ if command.subtype == "AT_ColumnDefault" else None
    default = FRESH if command.subtype == "AT_AddIdentity" else kind_of_default(state, expression)
    state.put_column(table, command.name, replace(current, default=default))


_REQUIRING = {"CONSTR_NOTNULL", "CONSTR_PRIMARY", "CONSTR_IDENTITY"}
_SERIAL_TYPES = {
    **dict.fromkeys(("smallserial", "serial2"), "int2"),
    **dict.fromkeys(("serial", "serial4"), "int4"),
    **dict.fromkeys(("bigserial", "serial8"), "int8"),
}


def _is_serial(node: Any) -> bool:
    return len(node.typeName.names) == 1 and node.typeName.names[0].sval in SERIAL


def _is_column(expression: Any, column: str) -> bool:
    return bool(expression.tag == "ColumnRef" and expression.fields[-1].sval == column)


def _casts(expression: Any, column: str, new: str) -> bool:
    """Return whether the expression is only a cast of the column to its new type."""
    return expression.tag == "TypeCast" and _is_column(expression.arg, column) and type_text(expression.typeName) == new
