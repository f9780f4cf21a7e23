"""Evaluate whether a CHECK can reject a row, with SQL's three truth values TRUE, FALSE and NULL. Pure functions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import product
from typing import Any

from pulumi_alembic.sql.parser import nodes

__all__ = ["ALWAYS", "EITHER", "NEVER", "can_refuse", "columns_of"]

ALWAYS, NEVER, EITHER = frozenset({True}), frozenset({False}), frozenset({True, False})
"""Whether a column is NULL in written rows: the possible truth values."""

_Values = frozenset[bool | None]
_ANY: _Values = frozenset({True, False, None})
_STRICT = frozenset(
    {
        *("abs", "btrim", "char_length", "character_length", "extract", "date_part", "lower", "length", "ltrim", "md5"),
        *("octet_length", "rtrim", "substr", "substring", "trim", "upper"),
    }
)
"""Functions that return NULL for NULL."""


def columns_of(expression: Any) -> set[str]:
    """Return the columns that an expression mentions."""
    last = [node.fields[-1] for node in nodes(expression, "ColumnRef")]
    return {part.sval for part in last if part.sval is not None}


def can_refuse(expression: Any, null: Mapping[str, frozenset[bool]]) -> bool:
    """Return whether the expression can be FALSE for a row.

    `null` contains for each column whether it is NULL there.
    """
    names = sorted(columns_of(expression))
    if len(names) >= _MANY:
        return False in _values(expression, null)
    rows = product(*(null.get(name, EITHER) for name in names))
    return any(False in _values(expression, _row(names, row)) for row in rows)


def _row(names: Iterable[str], row: Iterable[bool]) -> dict[str, frozenset[bool]]:
    return {name: ALWAYS if is_null else NEVER for name, is_null in zip(names, row, strict=True)}


def _values(node: Any, null: Mapping[str, frozenset[bool]]) -> _Values:
    kind = node.tag
    if kind == "BoolExpr":
        parts = [_values(argument, null) for argument in node.args]
        return frozenset(_JOINED[node.boolop](values) for values in product(*parts)) if len(parts) < _MANY else _ANY
    if kind == "NullTest":
        wants_null = node.nulltesttype == "IS_NULL"
        return frozenset(outcome is wants_null for outcome in _nullness(node.arg, null))
    if kind == "A_Const":
        return frozenset({None}) if node.isnull else frozenset({bool(node.val.boolval)})
    if kind == "TypeCast":
        return _values(node.arg, null)
    if kind in {"A_Expr", "ColumnRef"}:
        nullness = _nullness(node, null)
        return frozenset({None}) if nullness == ALWAYS else _ANY
    return _ANY


_MANY = 7
"""From this number of columns, or operands of AND or OR, on, their combinations are not tried one by one."""


def _and(values: Sequence[bool | None]) -> bool | None:
    return False if False in values else None if None in values else True


def _or(values: Sequence[bool | None]) -> bool | None:
    return True if True in values else None if None in values else False


def _not(values: Sequence[bool | None]) -> bool | None:
    return None if None in values else not values[0]


_JOINED: dict[str, Callable[[Sequence[bool | None]], bool | None]] = {
    "AND_EXPR": _and,
    "OR_EXPR": _or,
    "NOT_EXPR": _not,
}


def _nullness(node: Any, null: Mapping[str, frozenset[bool]]) -> frozenset[bool]:
    """Return whether an expression is NULL."""
    kind = node.tag
    if kind == "ColumnRef":
        return null.get(node.fields[-1].sval, EITHER)
    if kind == "A_Const":
        return ALWAYS if node.isnull else NEVER
    if kind == "TypeCast":
        return _nullness(node.arg, null)
    if kind == "A_Expr" and node.kind not in {"AEXPR_DISTINCT", "AEXPR_NOT_DISTINCT", "AEXPR_NULLIF"}:
        # `IN` and `BETWEEN` have a list on their right, whose NULLs are not considered.
        sides = [node.lexpr] if isinstance(node.rexpr, list) else [node.lexpr, node.rexpr]
        outcomes = [_nullness(side, null) for side in sides if side is not None]
        return ALWAYS if ALWAYS in outcomes else EITHER
    if kind == "FuncCall" and node.funcname[-1].sval in _STRICT:
        return ALWAYS if any(_nullness(argument, null) == ALWAYS for argument in node.args or ()) else EITHER
    return EITHER
