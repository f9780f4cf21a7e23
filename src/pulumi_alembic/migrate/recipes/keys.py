"""Give an integer column of a key a wider type, together with the columns that refer to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pulumi_alembic.migrate.recipes.draft import Draft, block, execute
from pulumi_alembic.migrate.recipes.key_catalog import ForeignKey, KeyIndex, KeyTable, read_key
from pulumi_alembic.migrate.recipes.parts import PRESERVED, beside, validate
from pulumi_alembic.sql.catalog import quoted

if TYPE_CHECKING:
    from pulumi_alembic.database.connection import Connection
    from pulumi_alembic.migrate.recipes.table import Table

__all__ = ["change_key"]


def change_key(connection: Connection, table: Table, column: str, type: str) -> list[Draft]:
    """Return the revisions that give a column and each column that refers to it a wider integer type.

    Raises:
        RecipeError: something depends on one of the columns that the revisions would not move.

    """
    return _Change(type, *read_key(connection, table, column, type)).drafts()


@dataclass(frozen=True)
class _Change:
    """The tables whose columns get the type, the first one first, and the foreign keys between them."""

    type: str
    tables: Sequence[KeyTable]
    keys: Sequence[ForeignKey]

    def drafts(self) -> list[Draft]:
        """Return the revisions."""
        indexes = sorted(
            ((part.table, index) for part in self.tables for index in part.indexes),
            key=lambda pair: not pair[1].is_unique,
        )
        # A unique index cannot be built before the backfill, and nothing but contracts comes behind a contract.
        contract = any(index.is_unique for _, index in indexes)
        return [
            *(self._add(part) for part in self.tables),
            *(_build(table, index, contract=contract) for table, index in indexes),
            *(draft for key in self.keys for draft in _refer(key)),
            self._swap(),
            *(_drop(part) for part in self.tables),
        ]

    def _add(self, part: KeyTable) -> Draft:
        expand, alter = part.replacement.expand(), f"ALTER TABLE {part.table.sql}"
        added = [
            execute(f"{alter} ADD COLUMN {column.new.definition}{' NOT NULL DEFAULT 0' if column.old.required else ''}")
            for column in part.columns
        ]
        return replace(
            expand,
            message=f"add {part.table.name}.{part.names} as {self.type}",
            story="A trigger writes each value to the new column too, and a backfill sets the old rows. No code needs\n"
            "to know of it: a contract lets it take the place of the old one.",
            upgrade=(*added, *expand.upgrade[len(added) :]),
        )

    def _swap(self) -> Draft:
        first = self.tables[0]
        parts = [(part.table.sql, column) for part in self.tables for column in part.columns]
        indexes = [(part.table, index) for part in self.tables for index in part.indexes]
        creates, drops = zip(*(part.replacement.trigger() for part in self.tables), strict=True)
        ends = [execute(f"{key.alter} DROP CONSTRAINT {quoted(key.name)}") for key in self.keys]
        return Draft(
            f"change the type of {first.table.name}.{first.names}",
            "The new columns take the places and names of the old ones, with keys, indexes and defaults. The tables\n"
            "are locked for a moment, and no row is read. The downgrade reads each row under lock.",
            (
                *(drop for statements in drops for drop in statements),
                *ends,
                *(index.drop(table) for table, index in indexes),
                *(index.take(table) for table, index in indexes),
                *(statement for table, column in parts for statement in column.swap(table)),
                *(
                    execute(f"{key.alter} RENAME CONSTRAINT {quoted(key.new_name)} TO {quoted(key.name)}")
                    for key in self.keys
                ),
            ),
            (
                *ends,
                *(index.drop(table) for table, index in indexes),
                # The tables are locked from here on.
                *(_copy_back(part) for part in self.tables),
                *(statement for table, column in parts for statement in column.swap_back(table)),
                *(statement for table, index in indexes for statement in index.build_again(table)),
                *(statement for key in self.keys for statement in key.again()),
                *(create for statements in creates for create in statements),
            ),
            contract=True,
        )


def _copy_back(part: KeyTable) -> str:
    pairs = [(column.left, column.old.sql) for column in part.columns]
    set = ", ".join(f"{left} = {now}" for left, now in pairs)
    where = " OR ".join(f"{left} IS DISTINCT FROM {now}" for left, now in pairs)
    return execute(f"UPDATE {part.table.sql} SET {set} WHERE {where}")  # noqa: S608


def _build(table: Table, index: KeyIndex, *, contract: bool) -> Draft:
    return Draft(
        f"build {index.new}",
        f"The index is built beside readers and writers. It takes the place of {index.name} later.",
        (block(index.moved.replace(" INDEX ", " INDEX CONCURRENTLY ", 1)),),
        (block(f"DROP INDEX CONCURRENTLY {beside(table, index.new)}"),),
        contract=contract,
    )


def _refer(key: ForeignKey) -> list[Draft]:
    name = key.new_name
    add = Draft(
        f"add {name} to {key.table.name}",
        "New rows are tested from here on. Both tables are locked for a moment, and no row is read under that lock.",
        (execute(f"{key.alter} ADD CONSTRAINT {quoted(name)} {key.new} NOT VALID"),),
        (execute(f"{key.alter} DROP CONSTRAINT {quoted(name)}"),),
        contract=True,
    )
    return [add, validate(key.table, name, key.new)]


def _drop(part: KeyTable) -> Draft:
    alter = f"ALTER TABLE {part.table.sql}"
    return Draft(
        f"drop the old {part.table.name}.{part.names}",
        "No code uses the old column. Its values are preserved.",
        tuple(execute(f"{alter} DROP COLUMN {column.left}", "destroys-data", PRESERVED) for column in part.columns),
        tuple(execute(f"{alter} ADD COLUMN {column.left} {column.old.type}") for column in part.columns),
        contract=True,
    )
