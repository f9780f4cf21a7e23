"""The recipes: what each writes. Tables and columns are as the database has them; a phase says when a revision runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from pulumi_alembic.errors import RecipeError
from pulumi_alembic.migrate.recipes.draft import Draft, block, execute
from pulumi_alembic.migrate.recipes.table import Column, Table, read_table, require_accepted, wider_type
from pulumi_alembic.sql.catalog import quoted
from pulumi_alembic.sql.parser import ParseError, nodes, parse

if TYPE_CHECKING:
    from pulumi_alembic.database.connection import Connection

__all__ = ["RECIPES", "Recipe"]

_LONGEST = 63
"""Bytes of a name in PostgreSQL."""


Recipe = Callable[["Connection", Table, Mapping[str, str]], list[Draft]]


def _rename_column(_: Connection, table: Table, given: Mapping[str, str]) -> list[Draft]:
    old = table.movable(given["OLD"])
    table.require_new(given["NEW"])
    table.require_key()
    if old.default is not None and not old.required:
        raise RecipeError(
            f"{table.full}.{old.sql} can be NULL and has a default: a row without a value is then no other than one "
            "with NULL. Drop the default, or set the column NOT NULL first"
        )
    new = replace(old, name=given["NEW"])
    synchronised = _synchronised(table, new, f"""\
    IF TG_OP = 'INSERT' THEN
        IF NEW.{new.sql} IS NULL THEN
            NEW.{new.sql} := NEW.{old.sql};
        ELSE
            NEW.{old.sql} := NEW.{new.sql};
        END IF;
    ELSIF NEW.{new.sql} IS DISTINCT FROM OLD.{new.sql} THEN
        NEW.{old.sql} := NEW.{new.sql};
    ELSE
        NEW.{new.sql} := NEW.{old.sql};
    END IF;
""", old, new)  # fmt: skip
    return [
        Draft(
            f"add {new.name} beside {table.name}.{old.name}",
            "A trigger keeps both columns equal, and a backfill sets the old rows. Once it is verified, deploy code\n"
            f"that uses {new.name}. Code of both versions runs until the contract drops {old.name}.",
            (
                execute(f"ALTER TABLE {table.sql} ADD COLUMN {new.definition}"),
                *synchronised[0],
                _backfill(table, old, new),
            ),
            (*synchronised[1], execute(f"ALTER TABLE {table.sql} DROP COLUMN {new.sql}")),
            uses=("backfill",),
        ),
        *_required(table, new),
        _drop_old(table, old, new, synchronised),
    ]


def _change_type(connection: Connection, table: Table, given: Mapping[str, str]) -> list[Draft]:
    old = table.movable(given["COLUMN"])
    type = wider_type(connection, old.type, given["TYPE"])
    table.require_key()
    new = replace(old, name=_short(f"{old.name}_new"), type=type)
    table.require_new(new.name)
    synchronised = _synchronised(table, new, f"    NEW.{new.sql} := NEW.{old.sql};\n", old)
    drop = _drop_old(table, old, new, synchronised)
    rename = f"ALTER TABLE {table.sql} RENAME COLUMN"
    allowed = "renaming-column", "the trigger that wrote it is dropped in the same transaction"
    return [
        Draft(
            f"add {table.name}.{old.name} as {type}",
            f"A trigger writes each value to {new.name} too, and a backfill sets the old rows. No code needs to know\n"
            f"of it: the contract lets {new.name} take the place of {old.name}.",
            (
                execute(f"ALTER TABLE {table.sql} ADD COLUMN {new.definition}"),
                *synchronised[0],
                _backfill(table, old, new),
            ),
            (*synchronised[1], execute(f"ALTER TABLE {table.sql} DROP COLUMN {new.sql}")),
            uses=("backfill",),
        ),
        *_required(table, new),
        replace(
            drop,
            message=f"change the type of {table.name}.{old.name}",
            story=f"{new.name} takes the place of {old.name}. The values of before are preserved.",
            upgrade=(*drop.upgrade, execute(f"{rename} {new.sql} TO {old.sql}", *allowed)),
            downgrade=(execute(f"{rename} {old.sql} TO {new.sql}"), *drop.downgrade),
        ),
    ]


def _set_not_null(_: Connection, table: Table, given: Mapping[str, str]) -> list[Draft]:
    column = table.column(given["COLUMN"])
    if column.required:
        raise RecipeError(f"{table.full}.{column.sql} is NOT NULL already")
    check = _short(f"{table.name}_{column.name}_not_null")
    drafts = _constraint(table, check, f"CHECK ({column.sql} IS NOT NULL)", f"{column.sql} IS NULL")
    return [*drafts, _take_over(table, column, check)]


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
    return _constraint(table, check, f"CHECK ({condition})", f"NOT ({condition})")


def _add_foreign_key(connection: Connection, table: Table, given: Mapping[str, str]) -> list[Draft]:
    column, other = table.column(given["COLUMN"]), read_table(connection, given["OTHER"])
    target = other.column(given["KEY"])
    name = _short(f"{table.name}_{column.name}_fkey")
    return _constraint(
        table,
        name,
        f"FOREIGN KEY ({column.sql}) REFERENCES {other.sql} ({target.sql})",
        f"{column.sql} NOT IN (SELECT {target.sql} FROM {other.sql} WHERE {target.sql} IS NOT NULL)",  # noqa: S608
    )


def _constraint(table: Table, name: str, definition: str, violated: str) -> list[Draft]:
    """A constraint of old rows too; `violated` is true of a row that it refuses."""
    query = _inner(f"SELECT NOT EXISTS (SELECT FROM {table.sql} WHERE {violated})")  # noqa: S608
    message = _inner(f"each row of {table.full} satisfies {name}")
    return [
        Draft(
            f"add {name} to {table.name}",
            "New rows are tested from here on. The table is locked for a moment, and no row is read under that lock.",
            (
                f'ensure(\n    "{query}",\n    "{message}",\n)',
                execute(f"ALTER TABLE {table.sql} ADD CONSTRAINT {quoted(name)} {definition} NOT VALID"),
            ),
            (execute(f"ALTER TABLE {table.sql} DROP CONSTRAINT {quoted(name)}"),),
            contract=True,
            uses=("ensure",),
        ),
        _validate(table, name, definition),
    ]


def _add_unique(_: Connection, table: Table, given: Mapping[str, str]) -> list[Draft]:
    columns = [table.column(name.strip()) for name in given["COLUMNS"].split(",")]
    name = _short("_".join([table.name, *(column.name for column in columns), "key"]))
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
        what = ", ".join(column.users) or "the server computes it"
        raise RecipeError(f"{table.full}.{column.sql}: drop first what is built on it: {what}")
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
            (execute(f"ALTER TABLE {table.sql} DROP COLUMN {column.sql}", "destroys-data", _PRESERVED),),
            (execute(f"ALTER TABLE {table.sql} ADD COLUMN {column.definition}{default}{not_null}"),),
            contract=True,
        ),
    ]


def _synchronised(table: Table, new: Column, body: str, *columns: Column) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Statements that create a trigger of these columns, and statements that drop it."""
    name = _short(f"{table.name}_{new.name}_sync")
    function = _beside(table, name)
    of = ", ".join(column.sql for column in columns)
    creates = (
        execute(
            f"\nCREATE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog AS $$\n"
            f"BEGIN\n{body}    RETURN NEW;\nEND $$\n"
        ),
        execute(
            f"\nCREATE TRIGGER {quoted(name)} BEFORE INSERT OR UPDATE OF {of} ON {table.sql}\n"
            f"FOR EACH ROW EXECUTE FUNCTION {function}()\n"
        ),
    )
    return creates, (execute(f"DROP TRIGGER {quoted(name)} ON {table.sql}"), execute(f"DROP FUNCTION {function}()"))


def _backfill(table: Table, old: Column, new: Column) -> str:
    value = old.sql if old.type == new.type else f"{old.sql}::{new.type}"
    return (
        f'backfill(\n    "{_inner(table.sql)}",\n    set="{_inner(f"{new.sql} = {value}")}",\n'
        f'    where="{_inner(f"{new.sql} IS DISTINCT FROM {value}")}",\n)'
    )


def _required(table: Table, column: Column) -> list[Draft]:
    """What makes a new column NOT NULL whose old rows are set, as the old one is."""
    if not column.required:
        return []
    check, definition = _short(f"{table.name}_{column.name}_not_null"), f"CHECK ({column.sql} IS NOT NULL)"
    first = Draft(
        f"refuse NULL in {table.name}.{column.name}",
        "The backfill before it is verified. The table is locked for a moment, and no row is read.",
        (execute(f"ALTER TABLE {table.sql} ADD CONSTRAINT {quoted(check)} {definition} NOT VALID"),),
        (execute(f"ALTER TABLE {table.sql} DROP CONSTRAINT {quoted(check)}"),),
        contract=True,
    )
    return [first, _validate(table, check, definition), _take_over(table, column, check)]


def _validate(table: Table, constraint: str, definition: str) -> Draft:
    alter = f"ALTER TABLE {table.sql}"
    return Draft(
        f"validate {constraint}",
        "The server reads each row, beside readers and writers.",
        (execute(f"{alter} VALIDATE CONSTRAINT {quoted(constraint)}"),),
        (
            execute(f"{alter} DROP CONSTRAINT {quoted(constraint)}"),
            execute(f"{alter} ADD CONSTRAINT {quoted(constraint)} {definition} NOT VALID"),
        ),
        contract=True,
    )


def _take_over(table: Table, column: Column, check: str) -> Draft:
    alter = f"ALTER TABLE {table.sql}"
    return Draft(
        f"set {table.name}.{column.name} not null",
        "The valid CHECK tells the server that no row is NULL: the table is locked for a moment, and no row is read.",
        (
            execute(f"{alter} ALTER COLUMN {column.sql} SET NOT NULL"),
            execute(f"{alter} DROP CONSTRAINT {quoted(check)}"),
        ),
        (
            execute(
                f"{alter} ADD CONSTRAINT {quoted(check)} CHECK ({column.sql} IS NOT NULL)",
                "constraint-missing-not-valid",
                "the column is NOT NULL until the next statement",
            ),
            execute(f"{alter} ALTER COLUMN {column.sql} DROP NOT NULL"),
        ),
        contract=True,
    )


def _drop_old(table: Table, old: Column, new: Column, synchronised: tuple[tuple[str, ...], tuple[str, ...]]) -> Draft:
    """The contract of a column that another one replaces."""
    alter, value = f"ALTER TABLE {table.sql}", new.sql if old.type == new.type else f"{new.sql}::{old.type}"
    default = [execute(f"{alter} ALTER COLUMN {new.sql} SET DEFAULT {old.default}")] if old.default is not None else []
    no_default = [execute(f"{alter} ALTER COLUMN {new.sql} DROP DEFAULT")] if default else []
    required = [execute(f"{alter} ALTER COLUMN {old.sql} SET NOT NULL", "adding-not-nullable-field", _ROLLBACK)]
    with_default = [execute(f"{alter} ALTER COLUMN {old.sql} SET DEFAULT {old.default}")] if default else []
    return Draft(
        f"drop {table.name}.{old.name}",
        f"No code uses {old.name} any longer. The downgrade computes it from {new.name}.",
        (*synchronised[1], execute(f"{alter} DROP COLUMN {old.sql}", "destroys-data", _PRESERVED), *default),
        (
            *no_default,
            execute(f"{alter} ADD COLUMN {old.definition}"),
            execute(f"UPDATE {table.sql} SET {old.sql} = {value}", "unbatched-update", _ROLLBACK),  # noqa: S608
            *(required if old.required else ()),
            *with_default,
            *synchronised[0],
        ),
        contract=True,
    )


_PRESERVED = "the contract preserves the values"
_ROLLBACK = "code of the previous version needs the whole column at once"


def _beside(table: Table, name: str) -> str:
    """The name in the table's schema, where the table is named with one."""
    schema, dot, _ = table.sql.rpartition(".")
    return f"{schema}{dot}{quoted(name)}"


def _inner(sql: str) -> str:
    """For a string in double quotes."""
    return sql.replace("\\", "\\\\").replace('"', '\\"')


def _short(name: str) -> str:
    while len(name.encode()) > _LONGEST:
        name = name[:-1]
    return name


def _is_constant(expression: str) -> bool:
    try:
        trees = parse(f"SELECT {expression}")
    except ParseError:
        return False
    return len(trees) == 1 and not any(nodes(trees, "FuncCall", "ColumnRef", "SubLink", "SQLValueFunction", "RangeVar"))


RECIPES: Mapping[str, Recipe] = {
    "rename-column": _rename_column,
    "change-type": _change_type,
    "set-not-null": _set_not_null,
    "add-not-null-column": _add_not_null_column,
    "add-check": _add_check,
    "add-foreign-key": _add_foreign_key,
    "add-unique": _add_unique,
    "drop-column": _drop_column,
}
"""By the name of a recipe what makes its drafts of the words that were typed behind the table."""
