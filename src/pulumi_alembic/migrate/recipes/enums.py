"""Recipes for enum types: add a value, or replace the column to remove or rename a value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pulumi_alembic.errors import RecipeError
from pulumi_alembic.migrate.recipes.draft import Draft, block, execute
from pulumi_alembic.migrate.recipes.parts import constraint, inner, literal, required, short
from pulumi_alembic.migrate.recipes.replacement import Replacement, change_type
from pulumi_alembic.sql.catalog import quoted

if TYPE_CHECKING:
    from pulumi_alembic.database.connection import Connection
    from pulumi_alembic.migrate.recipes.table import Column, Table

__all__ = ["add_value", "remove_value", "rename_value"]

_TYPE = """
SELECT quote_ident(n.nspname), typname,
    ARRAY(SELECT enumlabel FROM pg_enum WHERE enumtypid = t.oid ORDER BY enumsortorder),
    ARRAY(
        SELECT pg_describe_object(classid, objid, objsubid) FROM pg_depend
        WHERE refclassid = 'pg_type'::regclass AND refobjid IN (t.oid, typarray) AND deptype <> 'i'
            AND (classid, objid) <> ('pg_class'::regclass, %(table)s::regclass) AND classid <> 'pg_attrdef'::regclass
        UNION SELECT attname FROM pg_attribute
        WHERE attrelid = %(table)s::regclass AND atttypid IN (t.oid, typarray) AND attname <> %(column)s
        ORDER BY 1
    )
FROM pg_type t JOIN pg_namespace n ON n.oid = typnamespace WHERE t.oid = to_regtype(%(type)s) AND typtype = 'e'
"""


@dataclass(frozen=True)
class _Enum:
    """An enum type, its labels in order, and the objects that use it, except the column."""

    schema: str
    name: str
    labels: Sequence[str]
    users: Sequence[str]

    @property
    def sql(self) -> str:
        return f"{self.schema}.{quoted(self.name)}"

    def named(self, name: str) -> str:
        """Return the name of another type in the same schema."""
        return f"{self.schema}.{quoted(name)}"

    def require_label(self, label: str) -> None:
        if label not in self.labels:
            raise RecipeError(f"{self.sql} has no value {label}. It has: {', '.join(self.labels)}")


def add_value(connection: Connection, table: Table, given: Mapping[str, str]) -> list[Draft]:
    """Add a value to the enum type of a column."""
    column = table.column(given["COLUMN"])
    enum, value = _enum(connection, table, column), given["VALUE"]
    if value in enum.labels:
        raise RecipeError(f"{enum.sql} has the value {value} already")
    if enum.users:
        raise RecipeError(f"{enum.sql} is used by {', '.join(enum.users)} too: write the downgrade by hand")
    old, alter = enum.named(short(f"{enum.name}_old")), f"ALTER TABLE {table.sql} ALTER COLUMN {column.sql}"
    default = column.default is not None
    query = inner(f"SELECT NOT EXISTS (SELECT FROM {table.sql} WHERE {column.sql} = {literal(value)})")  # noqa: S608
    allowed = "changing-column-type", "a rollback: a value cannot be dropped from a type"
    return [
        Draft(
            f"add {value} to {enum.name}",
            f"Code of before does not know {value}. Write it once no such code runs.\n"
            "The downgrade rewrites the table, and fails while a row has the value.",
            (
                block(
                    f"ALTER TYPE {enum.sql} ADD VALUE IF NOT EXISTS {literal(value)} AFTER {literal(enum.labels[-1])}"
                ),
            ),
            (
                f'ensure("{query}", "no row of {inner(table.full)} has the value {inner(value)}")',
                execute(f"ALTER TYPE {enum.sql} RENAME TO {quoted(short(f'{enum.name}_old'))}"),
                execute(_create(enum.sql, enum.labels)),
                *([execute(f"{alter} DROP DEFAULT")] if default else ()),
                execute(f"{alter} TYPE {enum.sql} USING {column.sql}::text::{enum.sql}", *allowed),
                *([execute(f"{alter} SET DEFAULT {column.default}")] if default else ()),
                execute(f"DROP TYPE {old}"),
            ),
            uses=("ensure",),
        )
    ]


def rename_value(connection: Connection, table: Table, given: Mapping[str, str]) -> list[Draft]:
    """Replace a column by one whose enum type has another name for a value."""
    old, name = table.movable(given["COLUMN"]), given["NAME"]
    enum = _enum(connection, table, old)
    enum.require_label(given["OLD"])
    labels = [given["NEW"] if label == given["OLD"] else label for label in enum.labels]
    if len({*labels}) < len(labels):
        raise RecipeError(f"{enum.sql} has the value {given['NEW']} already")
    type = _new_type(connection, enum, f"{table.name}_{name}")
    forward = _mapped(old.sql, given["OLD"], given["NEW"])
    new = replace(old, name=name, type=type, default=_default(connection, old, forward, type))
    backward = f"{_mapped(new.sql, given['NEW'], given['OLD'])}::{enum.sql}"
    replacement = Replacement(table, (old,), (new,), (f"{forward}::{type}",), (backward,))
    replacement.require_new()
    expand, contract = replacement.expand(), replacement.contract()
    return [_creates(expand, type, labels), *replacement.indexes(), *required(table, new), _drops(contract, enum)]


def remove_value(connection: Connection, table: Table, given: Mapping[str, str]) -> list[Draft]:
    """Replace a column by one whose enum type lacks a value. It has the same name in the end."""
    old, value = table.movable(given["COLUMN"]), given["VALUE"]
    enum = _enum(connection, table, old)
    enum.require_label(value)
    type = _new_type(connection, enum, f"{enum.name}_new")
    forward = f"nullif({old.sql}::text, {literal(value)})"
    default = _default(connection, old, forward, type)
    if old.default is not None and default is None:
        raise RecipeError(f"{value} is the default of {table.full}.{old.sql}. Change that first")
    new = replace(old, name=short(f"{old.name}_new"), type=type, default=default)
    values = f"{forward}::{type}", f"{new.sql}::text::{enum.sql}"
    expand, *filled, contract = change_type(table, old, new, values)
    name, alter = short(f"{table.name}_{old.name}_not_{value}"), f"ALTER TABLE {table.sql}"
    condition = f"{old.sql} <> {literal(value)}"
    check = f"CHECK ({condition})"
    contract = replace(
        _drops(contract, enum, renamed=type),
        message=f"remove {value} from {table.name}.{old.name}",
    )
    add = execute(
        f"{alter} ADD CONSTRAINT {quoted(name)} {check}",
        "constraint-missing-not-valid",
        "no row can have the value until then",
    )
    return [
        _creates(expand, type, [label for label in enum.labels if label != value]),
        *(draft for draft in filled if not draft.contract),
        *constraint(table, name, check, f"NOT ({condition})"),
        *(draft for draft in filled if draft.contract),
        replace(
            contract,
            upgrade=(execute(f"{alter} DROP CONSTRAINT {quoted(name)}"), *contract.upgrade),
            downgrade=(*contract.downgrade, add),
        ),
    ]


def _creates(expand: Draft, type: str, labels: Sequence[str]) -> Draft:
    return replace(
        expand,
        upgrade=(execute(_create(type, labels)), *expand.upgrade),
        downgrade=(*expand.downgrade, execute(f"DROP TYPE {type}")),
    )


def _drops(contract: Draft, enum: _Enum, renamed: str = "") -> Draft:
    """Return the contract that also drops the old type if nothing else uses it.

    The type `renamed` then gets its name.
    """
    if enum.users:
        return contract
    drop, create = [execute(f"DROP TYPE {enum.sql}")], [execute(_create(enum.sql, enum.labels))]
    if renamed:
        name = renamed.removeprefix(f"{enum.schema}.")
        drop.append(execute(f"ALTER TYPE {renamed} RENAME TO {quoted(enum.name)}"))
        create.insert(0, execute(f"ALTER TYPE {enum.sql} RENAME TO {name}"))
    return replace(contract, upgrade=(*contract.upgrade, *drop), downgrade=(*create, *contract.downgrade))


def _default(connection: Connection, old: Column, forward: str, type: str) -> str | None:
    """Return the default of the new column: `forward` applied to the old default."""
    if old.default is None:
        return None
    query = f"SELECT {forward} FROM (SELECT {old.default} AS {old.sql}) AS row"  # noqa: S608
    [(value,)] = connection.execute(query.encode()).fetchall()
    return None if value is None else f"{literal(value)}::{type}"


def _enum(connection: Connection, table: Table, column: Column) -> _Enum:
    values = {"table": table.sql, "column": column.name, "type": column.type}
    row = connection.execute(_TYPE, values).fetchone()
    if row is None:
        raise RecipeError(f"{table.full}.{column.sql} is of the type {column.type}, which is no enum")
    return _Enum(*row)


def _new_type(connection: Connection, enum: _Enum, name: str) -> str:
    type = enum.named(short(name))
    if connection.execute("SELECT to_regtype(%s)", [type]).fetchone() != (None,):
        raise RecipeError(f"there is a type {type} already")
    return type


def _create(type: str, labels: Sequence[str]) -> str:
    return f"CREATE TYPE {type} AS ENUM ({', '.join(map(literal, labels))})"


def _mapped(column: str, old: str, new: str) -> str:
    """Return the SQL of the column's value as text with one label replaced."""
    return f"(CASE {column}::text WHEN {literal(old)} THEN {literal(new)} ELSE {column}::text END)"
