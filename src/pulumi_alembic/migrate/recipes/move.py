"""Move a column to another table: triggers keep both equal while code of both versions runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pulumi_alembic.errors import RecipeError
from pulumi_alembic.migrate.recipes.draft import Draft, execute
from pulumi_alembic.migrate.recipes.parts import PRESERVED, ROLLBACK, beside, inner, required, short
from pulumi_alembic.migrate.recipes.table import read_table
from pulumi_alembic.sql.catalog import quoted

if TYPE_CHECKING:
    from pulumi_alembic.database.connection import Connection
    from pulumi_alembic.migrate.recipes.table import Column, Table

__all__ = ["move_column"]

_LINKS = """
SELECT mine.attname, theirs.attname, confrelid = mine.attrelid AND theirs.attnotnull
FROM pg_constraint con
JOIN pg_attribute mine ON mine.attrelid = %(table)s::regclass
    AND (mine.attrelid, mine.attnum) IN ((conrelid, conkey[1]), (confrelid, confkey[1]))
JOIN pg_attribute theirs ON theirs.attrelid = %(other)s::regclass
    AND (theirs.attrelid, theirs.attnum) IN ((conrelid, conkey[1]), (confrelid, confkey[1]))
WHERE contype = 'f' AND cardinality(conkey) = 1 AND convalidated AND conrelid <> confrelid
    AND 2 = (
        SELECT count(DISTINCT indrelid) FROM pg_index
        WHERE indisunique AND indisvalid AND indimmediate AND indnkeyatts = 1 AND indpred IS NULL
            AND (indrelid, indkey[0]) IN ((mine.attrelid, mine.attnum), (theirs.attrelid, theirs.attnum)))
ORDER BY 1, 2
"""


def move_column(connection: Connection, table: Table, given: Mapping[str, str]) -> list[Draft]:
    """Move a column to a table whose rows belong to those of its table by a foreign key, one to one.

    Raises:
        RecipeError: the tables have no such key, or something is built on the column.

    """
    column, other = table.movable(given["COLUMN"]), read_table(connection, given["OTHER"])
    built = [f"the index {index.name}" for index in table.indexes_of(column)]
    if built := [*built, *(["a default"] if column.default is not None else [])]:
        raise RecipeError(f"{table.full}.{column.sql} has {built[0]}. Drop that first")
    for part in (table, other):
        part.require_key()
    other.require_new(column.name)
    links = connection.execute(_LINKS, {"table": table.full, "other": other.full}).fetchall()
    if len(links) != 1:
        raise RecipeError(
            f"{len(links) or 'no'} foreign keys of one column, unique on both sides, are between {table.full} and "
            f"{other.full}: this recipe moves values by exactly one"
        )
    [(mine, theirs, complete)] = links
    source, target = _Side(table, quoted(mine)), _Side(other, quoted(theirs))
    return _Move(source, target, column, required=column.required and complete).drafts()


@dataclass(frozen=True)
class _Side:
    """A table, and its column that has the same value in the row of the other table."""

    table: Table
    link: str


@dataclass(frozen=True)
class _Move:
    """A column that moves from a table to another one. `required` is whether it can be NOT NULL there."""

    source: _Side
    target: _Side
    column: Column
    required: bool

    def drafts(self) -> list[Draft]:
        """Return the revisions."""
        return [self._expand(), *(required(self.target.table, self.column) if self.required else ()), self._contract()]

    def _expand(self) -> Draft:
        source, target, column = self.source.table, self.target.table, self.column
        creates, drops = self._triggers()
        alter = f"ALTER TABLE {source.sql} ALTER COLUMN {column.sql}"
        not_null = "adding-not-nullable-field", "a rollback of an expand, with the rows that it still allows"
        value = self._value("FOR SHARE")
        set, where = f"{column.sql} = {value}", f"{column.sql} IS DISTINCT FROM {self._value()}"
        return Draft(
            f"add {column.name} to {target.name}",
            f"Triggers keep the values in both tables equal, and a backfill sets the old rows. Once it is verified,\n"
            f"deploy code that uses {target.name}. Code of both versions runs until the contract.\n\n"
            "If both versions write the value of one row at the same moment, one of them can get a deadlock error\n"
            "(SQLSTATE 40P01), and succeeds when it tries again.",
            (
                execute(f"ALTER TABLE {target.sql} ADD COLUMN {column.definition}"),
                *([execute(f"{alter} DROP NOT NULL")] if column.required else ()),
                *creates,
                f'backfill(\n    "{inner(target.sql)}",\n    set="{inner(set)}",\n    where="{inner(where)}",\n)',
            ),
            (
                *drops,
                *([execute(f"{alter} SET NOT NULL", *not_null)] if column.required else ()),
                execute(f"ALTER TABLE {target.sql} DROP COLUMN {column.sql}"),
            ),
            uses=("backfill",),
        )

    def _contract(self) -> Draft:
        source, target, column = self.source, self.target, self.column
        creates, drops = self._triggers()
        alter = f"ALTER TABLE {source.table.sql}"
        old, new = quoted(source.table.name), quoted(target.table.name)
        same = f"{new}.{target.link} = {old}.{source.link}"
        lost = (
            f"SELECT FROM {source.table.sql} WHERE {old}.{column.sql} IS NOT NULL "  # noqa: S608
            f"AND NOT EXISTS (SELECT FROM {target.table.sql} WHERE {same})"
        )
        message = f"each row of {source.table.full} with a {column.name} has a row in {target.table.full}"
        value = f"(SELECT {new}.{column.sql} FROM {target.table.sql} WHERE {same})"  # noqa: S608
        return Draft(
            f"drop {source.table.name}.{column.name}",
            f"No code uses {column.name} in {source.table.name} any longer. The downgrade reads it from "
            f"{target.table.name}.",
            (
                f'ensure(\n    "{inner(f"SELECT NOT EXISTS ({lost})")}",\n    "{inner(message)}",\n)',
                *drops,
                execute(f"{alter} DROP COLUMN {column.sql}", "destroys-data", PRESERVED),
            ),
            (
                execute(f"{alter} ADD COLUMN {column.definition}"),
                execute(f"UPDATE {source.table.sql} SET {column.sql} = {value}", "unbatched-update", ROLLBACK),  # noqa: S608
                *creates,
            ),
            contract=True,
            uses=("ensure",),
        )

    def _value(self, lock: str = "") -> str:
        """Return the value of a row of the target as SQL, with a clause that locks the row that has it."""
        source, target, new = self.source, self.target, quoted(self.target.table.name)
        condition = f"source.{source.link} = {new}.{target.link}"
        query = f"SELECT source.{self.column.sql} FROM {source.table.sql} AS source WHERE {condition}"  # noqa: S608
        return f"({' '.join(filter(None, [query, lock]))})"

    def _triggers(self) -> tuple[list[str], list[str]]:
        """Return statements that create the triggers, and statements that drop them."""
        sides = (self.source, self.target), (self.target, self.source)
        return (
            [statement for side, other in sides for statement in self._creates(side, other)],
            [statement for side, _ in sides for statement in self._drops(side)],
        )

    def _creates(self, side: _Side, other: _Side) -> Iterable[str]:
        """Return statements that let a row take the value of the other table if it has none, and write it there."""
        column, table = self.column.sql, side.table
        fill, sync = self._names(side)
        same = f"other.{other.link} = NEW.{side.link}"
        yield _function(
            beside(table, fill),
            f"    IF NEW.{column} IS NULL THEN\n"  # noqa: S608
            # The lock lets a concurrent change of the value wait, which would not see this row.
            f"        NEW.{column} := (SELECT {column} FROM {other.table.full} AS other WHERE {same} FOR SHARE);\n"
            f"    END IF;\n    RETURN NEW;\n",
        )
        yield _function(
            beside(table, sync),
            f"    UPDATE {other.table.full} AS other SET {column} = NEW.{column}\n"  # noqa: S608
            f"    WHERE {same} AND other.{column} IS DISTINCT FROM NEW.{column}\n"
            # A new row without a value is one of code that knows the other table.
            f"        AND (TG_OP = 'UPDATE' OR NEW.{column} IS NOT NULL);\n    RETURN NULL;\n",
        )
        for name, when in ((fill, "BEFORE INSERT"), (sync, f"AFTER INSERT OR UPDATE OF {column}")):
            yield execute(
                f"\nCREATE TRIGGER {quoted(name)} {when} ON {table.sql}\n"
                f"FOR EACH ROW EXECUTE FUNCTION {beside(table, name)}()\n"
            )

    def _drops(self, side: _Side) -> Iterable[str]:
        for name in self._names(side):
            yield execute(f"DROP TRIGGER {quoted(name)} ON {side.table.sql}")
            yield execute(f"DROP FUNCTION {beside(side.table, name)}()")

    def _names(self, side: _Side) -> list[str]:
        return [short(f"{side.table.name}_{self.column.name}_{word}") for word in ("fill", "sync")]


def _function(name: str, body: str) -> str:
    # Code that can write one of the tables does not need rights on the other one.
    return execute(
        f"\nCREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql\n"
        f"SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$\nBEGIN\n{body}END $$\n"
    )
