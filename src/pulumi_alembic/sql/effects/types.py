"""Changes of a column's type: whether they rewrite the table, lose values or break running code. Pure functions."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from pulumi_alembic.sql.catalog import Catalog, quoted
from pulumi_alembic.sql.parser import parse

__all__ = ["SERIAL", "constrained_domain", "is_of", "keeps_file", "loses", "reads_alike", "same_type", "type_text"]

SERIAL = frozenset({"serial", "serial2", "serial4", "serial8", "smallserial", "bigserial"})
"""Words for a type together with a sequence and a default."""

# Casts without a function in pg_cast of PostgreSQL 15, for common column types.
_SAME_BYTES = {("varchar", "text"), ("text", "varchar"), ("cidr", "inet"), ("int4", "oid"), ("oid", "int4")}
_WIDER = {("int2", "int4"), ("int2", "int8"), ("int4", "int8"), ("int2", "numeric"), ("int4", "numeric")} | {
    ("int8", "numeric"),
    ("float4", "float8"),
    ("date", "timestamp"),
    ("json", "jsonb"),
}
_ROUNDED = {
    *((real, whole) for real in ("numeric", "float4", "float8") for whole in ("int2", "int4", "int8")),
    *((number, "float4") for number in ("numeric", "float8", "int4", "int8")),
    *((stamp, part) for stamp in ("timestamp", "timestamptz") for part in ("date", "time", "timetz")),
    ("numeric", "float8"),
    ("interval", "time"),
}
_TIMES = {"timestamp", "timestamptz", "time", "timetz"}


@dataclass(frozen=True)
class _Type:
    name: str
    limits: tuple[int, ...]
    array: bool


def type_text(node: Any) -> str:
    """Return the type of a TypeName node as text that is parsed as the same type."""
    name = quoted(*(part.sval for part in node.names))
    limits = ",".join(str(limit) for limit in _limits(node))
    return f"{name}{f'({limits})' if limits else ''}{'[]' * len(node.arrayBounds or ())}"


def constrained_domain(catalog: Catalog, type_: str) -> bool:
    """Return whether the type is a domain with constraints, which each value must be checked against."""
    return catalog.find(*_split(type_), catalog.types) in catalog.constrained


def is_of(catalog: Catalog, type_: str, name: str) -> bool:
    """Return whether a column's type is the catalog's type with this full name, or an array of it."""
    return bool(type_) and catalog.find(*_split(type_), catalog.types) == name


def same_type(catalog: Catalog, first: str, second: str) -> bool:
    """Return whether two texts name the same type with the same limits. A domain differs from its base type."""
    return _named(catalog, first) == _named(catalog, second)


def keeps_file(catalog: Catalog, old: str, new: str) -> bool:
    """Return whether a column's type can change without a rewrite of the table. False for an unknown old type.

    ATColumnChangeRequiresRewrite of PostgreSQL 15's tablecmds.c: values have the same bytes, or a limit on the length
    of varchar, varbit, numeric or the times only grows.
    """
    if not old or constrained_domain(catalog, new):
        return False
    before, after = _base(catalog, old), _base(catalog, new)
    if before != _parsed(old):
        # The limits of a domain are ignored.
        before = replace(before, limits=())
    if before.array or after.array:
        return (before.array, before.name) == (after.array, after.name) and after.limits in ((), before.limits)
    if {before.name, after.name} == {"timestamp", "timestamptz"}:
        return catalog.utc and _grows(before, after)
    if (before.name, after.name) in _SAME_BYTES:
        return not after.limits
    return before.name == after.name and _grows(before, after)


def loses(catalog: Catalog, old: str, new: str, using: bool) -> bool:
    """Return whether values can change. A cast that rejects values that do not fit loses nothing.

    With `using`, an expression computes the values. Then only a wider type is known to hold all of the old ones.
    """
    if keeps_file(catalog, old, new):
        return False
    before, after = _base(catalog, old or "text"), _base(catalog, new)
    pair = (before.name, after.name)
    if using:
        return not old or not ((pair in _WIDER and not after.limits) or after.name == "text")
    scaled = before.name == after.name and after.name in _TIMES | {"numeric", "interval"}
    return pair in _ROUNDED or scaled or (pair in _WIDER and after.name == "numeric" and bool(after.limits[1:]))


def reads_alike(catalog: Catalog, old: str, new: str) -> bool:
    """Return whether code for the old type can still write all its values, and reads what it has written.

    True for a wider type of number and a longer text. False for an unknown type.
    """
    if not old or (constrained_domain(catalog, new) and not same_type(catalog, old, new)):
        return False
    before, after = _base(catalog, old), _base(catalog, new)
    if before == after:
        return True
    if before.array or after.array:
        return keeps_file(catalog, old, new) and before.name == after.name
    pair = (before.name, after.name)
    if pair in {("varchar", "text"), ("text", "varchar")}:
        return not after.limits
    if pair in _WIDER_NUMBERS:
        whole = after.limits[0] - (*after.limits, 0)[1] if after.limits else 0
        return not after.limits or whole >= _DIGITS.get(before.name, whole + 1)
    if pair == ("numeric", "numeric") and before.limits and after.limits:
        scales = [(*side.limits, 0)[1] for side in (before, after)]
        return scales[0] <= scales[1] and after.limits[0] - scales[1] >= before.limits[0] - scales[0]
    return before.name == after.name and _grows(before, after)


_WIDER_NUMBERS = {("int2", "int4"), ("int2", "int8"), ("int4", "int8")} | {
    *((whole, "numeric") for whole in ("int2", "int4", "int8")),
    *((whole, "float8") for whole in ("int2", "int4")),
}
_DIGITS = {"int2": 5, "int4": 10, "int8": 19}


def _grows(before: _Type, after: _Type) -> bool:
    if after.limits == before.limits or not after.limits:
        return after.limits == before.limits or after.name not in {"bpchar", "bit"}
    if not before.limits:
        return False
    if after.name == "numeric":
        scales = [(*side.limits, 0)[1] for side in (before, after)]
        return scales[0] == scales[1] and after.limits[0] >= before.limits[0]
    return after.name in _TIMES | {"varchar", "varbit"} and after.limits[0] >= before.limits[0]


def _base(catalog: Catalog, type_: str) -> _Type:
    """Return the type, or the base type of a domain."""
    parsed = _parsed(type_)
    base = catalog.types.get(catalog.find(*_split(type_), catalog.types), "")
    return _base(catalog, base) if base else parsed


def _named(catalog: Catalog, type_: str) -> tuple[str, tuple[int, ...], bool]:
    node = _node(type_)
    return catalog.find(*_split(type_), catalog.types), tuple(_limits(node)), bool(node.arrayBounds)


@lru_cache(1024)
def _node(type_: str) -> Any:
    [statement] = parse(f"SELECT NULL::{type_}")
    return statement.targetList[0].val.typeName


def _parsed(type_: str) -> _Type:
    node = _node(type_)
    schema, name = _split(type_)
    return _Type(quoted(schema, name) if schema else name, tuple(_limits(node)), bool(node.arrayBounds))


def _split(type_: str) -> tuple[str | None, str]:
    names = [name.sval for name in _node(type_).names]
    schema = names[-2] if len(names) > 1 and names[-2] != "pg_catalog" else None
    return schema, names[-1]


def _limits(node: Any) -> list[int]:
    values = [modifier.val for modifier in node.typmods or ()]
    return [value.ival for value in values if value is not None and value.tag == "Integer"]
