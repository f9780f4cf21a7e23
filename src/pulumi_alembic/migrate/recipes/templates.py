"""The recipes: each returns drafts of revisions for a table of the database."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from pulumi_alembic.errors import RecipeError
from pulumi_alembic.migrate.recipes import enums, tables
from pulumi_alembic.migrate.recipes.draft import Draft, block, execute
from pulumi_alembic.migrate.recipes.key_catalog import NARROWER
from pulumi_alembic.migrate.recipes.keys import change_key
from pulumi_alembic.migrate.recipes.move import move_column
from pulumi_alembic.migrate.recipes.parts import INDEX_AGAIN, PRESERVED, constraint, required, short, take_over
from pulumi_alembic.migrate.recipes.replacement import Replacement, change_type
from pulumi_alembic.migrate.recipes.table import (
    Table,
    computed_column,
    read_table,
    require_accepted,
    wider_type,
)
from pulumi_alembic.sql.catalog import quoted
from pulumi_alembic.sql.parser import ParseError, nodes, parse

if TYPE_CHECKING:
    from pulumi_alembic.database.connection import Connection

__all__ = ["RECIPES", "Recipe"]

Recipe = Callable[["Connection", Table, Mapping[str, str]], list[Draft]]


def _rename_column(connection: Connection, table: Table, given: Mapping[str, str]) -> list[Draft]:
    old = table.movable(given["OLD"])
    if old.default is not None and not old.required:
        raise RecipeError(
            f"{table.full}.{old.sql} can be NULL and has a default: a row without a value is then no other than one "
            "with NULL. Drop the default, or set the column NOT NULL first"
        )
    new = replace(old, name=given["NEW"])
    replacement = Replacement(table, (old,), (new,), (old.sql,), (new.sql,))
    replacement.require_accepted(connection)
    return [replacement.expand(), *replacement.indexes(), *required(table, new), replacement.contract()]


def _change_type(connection: Connection, table: Table, given: Mapping[str, str]) -> list[Draft]:
    old = table.column(given["COLUMN"])
    type = wider_type(connection, old.type, given["TYPE"])
    if old.users and old.type in NARROWER.get(type, ()):
        return change_key(connection, table, old.name, type)
    table.movable(old.name)
    new = replace(old, name=short(f"{old.name}_new"), type=type)
    return change_type(table, old, new, (f"{old.sql}::{type}", f"{new.sql}::{old.type}"))


def _split_column(connection: Connection, table: Table, given: Mapping[str, str]) -> list[Draft]:
    old = table.movable(given["COLUMN"])
    forward = given["FIRST_VALUE"], given["SECOND_VALUE"]
    new = [
        computed_column(connection, table, given[name], value)
        for name, value in zip(("FIRST", "SECOND"), forward, strict=True)
    ]
    return _replaced(connection, Replacement(table, (old,), new, forward, (given["VALUE"],)))


def _merge_columns(connection: Connection, table: Table, given: Mapping[str, str]) -> list[Draft]:
    old = [table.movable(given[name]) for name in ("FIRST", "SECOND")]
    new = computed_column(connection, table, given["NEW"], given["VALUE"])
    backward = given["FIRST_VALUE"], given["SECOND_VALUE"]
    return _replaced(connection, Replacement(table, old, (new,), (given["VALUE"],), backward))


def _replaced(connection: Connection, replacement: Replacement) -> list[Draft]:
    for column in replacement.old:
        indexes = [f"the index {index.name}" for index in replacement.table.indexes_of(column)]
        if parts := [*indexes, *(["a default"] if column.default is not None else ())]:
            raise RecipeError(f"{replacement.table.full}.{column.sql} has {parts[0]}. Drop that first")
    replacement.require_accepted(connection)
    replacement.require_reversible(connection)
    return [replacement.expand(), replacement.contract()]


def _set_not_null(_: Connection, table: Table, given: Mapping[str, str]) -> list[Draft]:
    column = table.column(given["COLUMN"])
    if column.required:
        raise RecipeError(f"{table.full}.{column.sql} is NOT NULL already")
    check = short(f"{table.name}_{column.name}_not_null")
    drafts = constraint(table, check, f"CHECK ({column.sql} IS NOT NULL)", f"{column.sql} IS NULL")
    return [*drafts, take_over(table, column, check)]


def _add_not_null_column(connection: Connection, table: Table, given: Mapping[str, str]) -> list[Draft]:
    table.require_new(given["COLUMN"])
    if not _is_constant(given["DEFAULT"]):
        raise RecipeError(
            f"the default {given['DEFAULT']} is not a constant: the server would rewrite the table. Add the column "
            "without NOT NULL, fill it in, then: pulumi-alembic new set-not-null"
        )
    require_accepted(connection, f"SELECT CAST({given['DEFAULT']} AS {given['TYPE']})")
    column = f"{quoted(given['COLUMN'])} {given['TYPE']} NOT NULL DEFAULT {given['DEFAULT']}"
    return [
        Draft(
            f"add {table.name}.{given['COLUMN']}",
            "Old rows, and those of code that does not know the column, have the default. The server stores it once:\n"
            "the table is locked for a moment, and no row is written.",
            (execute(f"ALTER TABLE {table.sql} ADD COLUMN {column}"),),
            (execute(f"ALTER TABLE {table.sql} DROP COLUMN {quoted(given['COLUMN'])}"),),
        )
    ]


def _add_check(connection: Connection, table: Table, given: Mapping[str, str]) -> list[Draft]:
    check, condition = given["NAME"], given["CONDITION"]
    require_accepted(connection, f"SELECT FROM {table.sql} WHERE NOT ({condition}) LIMIT 0")
    return constraint(table, check, f"CHECK ({condition})", f"NOT ({condition})")


def _add_foreign_key(connection: Connection, table: Table, given: Mapping[str, str]) -> list[Draft]:
    column, other = table.column(given["COLUMN"]), read_table(connection, given["OTHER"])
    target = other.column(given["KEY"])
    name = short(f"{table.name}_{column.name}_fkey")
    return constraint(
        table,
        name,
        f"FOREIGN KEY ({column.sql}) REFERENCES {other.sql} ({target.sql})",
        f"{column.sql} NOT IN (SELECT {target.sql} FROM {other.sql} WHERE {target.sql} IS NOT NULL)",  # noqa: S608
    )


def _add_unique(_: Connection, table: Table, given: Mapping[str, str]) -> list[Draft]:
    columns = [table.column(name.strip()) for name in given["COLUMNS"].split(",")]
    name = short("_".join([table.name, *(column.name for column in columns), "key"]))
    listed = ", ".join(column.sql for column in columns)
    return [
        Draft(
            f"add {name} to {table.name}",
            "The index is built beside readers and writers, and duplicates fail it. Then it becomes the constraint:\n"
            "the table is locked for a moment.",
            (
                block(f"CREATE UNIQUE INDEX CONCURRENTLY {quoted(name)} ON {table.sql} ({listed})"),
                execute(f"ALTER TABLE {table.sql} ADD CONSTRAINT {quoted(name)} UNIQUE USING INDEX {quoted(name)}"),
            ),
            (execute(f"ALTER TABLE {table.sql} DROP CONSTRAINT {quoted(name)}"),),
            contract=True,
        ),
    ]


def _drop_column(_: Connection, table: Table, given: Mapping[str, str]) -> list[Draft]:
    column = table.column(given["COLUMN"])
    table.require_key()
    if column.users or column.computed:
        dependents = ", ".join(column.users) or "the server computes it"
        raise RecipeError(f"{table.full}.{column.sql}: drop first what is built on it: {dependents}")
    needed = column.required and column.default is None
    default = f" DEFAULT {column.default}" if column.default is not None else ""
    not_null = " NOT NULL" if default and column.required else ""
    more = [
        Draft(
            f"let {table.name}.{column.name} be NULL",
            f"Code that does not know {column.name} can add rows from here on.",
            (execute(f"ALTER TABLE {table.sql} ALTER COLUMN {column.sql} DROP NOT NULL"),),
            (
                execute(
                    f"ALTER TABLE {table.sql} ALTER COLUMN {column.sql} SET NOT NULL",
                    "adding-not-nullable-field",
                    "a rollback of an expand, with the rows that it still allows",
                ),
            ),
        )
    ]
    return [
        *(more if needed else ()),
        Draft(
            f"drop {table.name}.{column.name}",
            f"No code uses {column.name} any longer. Its values are preserved, and the downgrade restores them.",
            (execute(f"ALTER TABLE {table.sql} DROP COLUMN {column.sql}", "destroys-data", PRESERVED),),
            (
                execute(f"ALTER TABLE {table.sql} ADD COLUMN {column.definition}{default}{not_null}"),
                *(execute(index.definition, *INDEX_AGAIN) for index in table.indexes_of(column)),
            ),
            contract=True,
        ),
    ]


def _is_constant(expression: str) -> bool:
    try:
        trees = parse(f"SELECT {expression}")
    except ParseError:
        return False
    return len(trees) == 1 and not any(nodes(trees, "FuncCall", "ColumnRef", "SubLink", "SQLValueFunction", "RangeVar"))


RECIPES: Mapping[str, Recipe] = {
    "rename-column": _rename_column,
    "change-type": _change_type,
    "split-column": _split_column,
    "merge-columns": _merge_columns,
    "move-column": move_column,
    "set-not-null": _set_not_null,
    "add-not-null-column": _add_not_null_column,
    "add-check": _add_check,
    "add-foreign-key": _add_foreign_key,
    "add-unique": _add_unique,
    "drop-column": _drop_column,
    "add-enum-value": enums.add_value,
    "rename-enum-value": enums.rename_value,
    "remove-enum-value": enums.remove_value,
    "rename-table": tables.rename,
    "drop-table": tables.drop,
    "replace-index": tables.replace_index,
}
"""By the name of a recipe, the function that makes its drafts from the arguments after the table."""
