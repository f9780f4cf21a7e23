"""Drafts and SQL that several recipes share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pulumi_alembic.migrate.recipes.draft import Draft, execute
from pulumi_alembic.sql.catalog import quoted

if TYPE_CHECKING:
    from pulumi_alembic.migrate.recipes.table import Column, Table

__all__ = [
    "INDEX_AGAIN",
    "PRESERVED",
    "ROLLBACK",
    "beside",
    "constraint",
    "inner",
    "literal",
    "required",
    "short",
    "take_over",
    "validate",
]

_LONGEST = 63
"""The most bytes of a name in PostgreSQL."""

PRESERVED = "the contract preserves the values"
ROLLBACK = "code of the previous version needs the whole column at once"
INDEX_AGAIN = "require-concurrent-index-creation", "code of the previous version needs the index at once"


def constraint(table: Table, name: str, definition: str, violated: str) -> list[Draft]:
    """Return drafts that add a constraint and validate it. `violated` is the condition of a row that breaks it."""
    query = inner(f"SELECT NOT EXISTS (SELECT FROM {table.sql} WHERE {violated})")  # noqa: S608
    message = inner(f"each row of {table.full} satisfies {name}")
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
        validate(table, name, definition),
    ]


def required(table: Table, column: Column) -> list[Draft]:
    """Return drafts that make a new column NOT NULL like the old one, once its rows are set."""
    if not column.required:
        return []
    check, definition = short(f"{table.name}_{column.name}_not_null"), f"CHECK ({column.sql} IS NOT NULL)"
    first = Draft(
        f"refuse NULL in {table.name}.{column.name}",
        "The backfill before it is verified. The table is locked for a moment, and no row is read.",
        (execute(f"ALTER TABLE {table.sql} ADD CONSTRAINT {quoted(check)} {definition} NOT VALID"),),
        (execute(f"ALTER TABLE {table.sql} DROP CONSTRAINT {quoted(check)}"),),
        contract=True,
    )
    return [first, validate(table, check, definition), take_over(table, column, check)]


def validate(table: Table, constraint: str, definition: str) -> Draft:
    """Return the contract that validates a constraint."""
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


def take_over(table: Table, column: Column, check: str) -> Draft:
    """Return the contract that sets a column NOT NULL and drops the CHECK that proves it."""
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


def beside(table: Table, name: str) -> str:
    """Return the name in the table's schema, if the table's own name has a schema."""
    schema, dot, _ = table.sql.rpartition(".")
    return f"{schema}{dot}{quoted(name)}"


def inner(sql: str) -> str:
    """Escape the text for a string in double quotes."""
    return sql.replace("\\", "\\\\").replace('"', '\\"')


def short(name: str) -> str:
    """Truncate the name as PostgreSQL does."""
    while len(name.encode()) > _LONGEST:
        name = name[:-1]
    return name


def literal(text: str) -> str:
    """Return the text as an SQL string."""
    return "'" + text.replace("'", "''") + "'"
