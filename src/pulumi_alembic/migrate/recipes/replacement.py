"""Replace columns by others: a trigger keeps both equal while code of both versions runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pulumi_alembic.errors import RecipeError
from pulumi_alembic.migrate.recipes.draft import Draft, block, execute
from pulumi_alembic.migrate.recipes.parts import INDEX_AGAIN, PRESERVED, ROLLBACK, beside, inner, required, short
from pulumi_alembic.migrate.recipes.table import Column, Index, Table, require_accepted
from pulumi_alembic.sql.catalog import quoted
from pulumi_alembic.sql.parser import nodes, parse

if TYPE_CHECKING:
    from pulumi_alembic.database.connection import Connection

__all__ = ["Replacement", "change_type"]


@dataclass(frozen=True)
class Replacement:
    """The `new` columns of a table that replace the `old` ones.

    Args:
        table: the table of both.
        old: the columns that the contract drops.
        new: the columns that the expand adds. The contract sets their defaults.
        forward: for each new column, its value as SQL of the old ones.
        backward: for each old column, its value as SQL of the new ones.
        both: whether code writes the new columns while code of the previous version runs.

    """

    table: Table
    old: Sequence[Column]
    new: Sequence[Column]
    forward: Sequence[str]
    backward: Sequence[str]
    both: bool = True

    def require_new(self) -> None:
        """Raise RecipeError if the table has no primary key, or already has one of the new columns."""
        self.table.require_key()
        for column in self.new:
            self.table.require_new(column.name)

    def require_accepted(self, connection: Connection) -> None:
        """Raise RecipeError as `require_new` does, or if the server rejects the SQL."""
        self.require_new()
        values = f"SELECT {', '.join(self.backward)} FROM {self._computed()} LIMIT 0"  # noqa: S608
        equal = "SELECT NULL::{0} IS DISTINCT FROM NULL::{0}"
        types = (equal.format(column.type) for column in (*self.old, *self.new))
        for query in (values, *types):
            require_accepted(connection, query)

    def require_reversible(self, connection: Connection) -> None:
        """Raise RecipeError if computing forward and backward changes the values of a row in this database."""
        names, back = _listed(self.old), ", ".join(self.backward)
        query = f"SELECT count(*) FROM {self._computed()} WHERE ({names}) IS DISTINCT FROM ({back})"  # noqa: S608
        [(rows,)] = connection.execute(query.encode()).fetchall()
        if rows:
            raise RecipeError(
                f"in {rows:,} rows of {self.table.full} {back} does not give back {names}: code of before would read "
                "other values. Write expressions that do"
            )

    def _computed(self) -> str:
        values = ", ".join(f"{value} AS {column.sql}" for column, value in zip(self.new, self.forward, strict=True))
        return f"(SELECT {_listed(self.old)}, {values} FROM {self.table.sql}) AS computed"  # noqa: S608

    def expand(self) -> Draft:
        """Return the revision that adds the new columns."""
        old, new = (", ".join(column.name for column in columns) for columns in (self.old, self.new))
        creates, drops = self.trigger()
        alter = f"ALTER TABLE {self.table.sql}"
        return Draft(
            f"add {new} beside {self.table.name}.{old}",
            "A trigger keeps the columns equal, and a backfill sets the old rows. Once it is verified, deploy code\n"
            f"that uses {new}. Code of both versions runs until the contract drops {old}.",
            (
                *(execute(f"{alter} ADD COLUMN {column.definition}") for column in self.new),
                *creates,
                self._backfill(),
            ),
            (*drops, *(execute(f"{alter} DROP COLUMN {column.sql}") for column in self.new)),
            uses=("backfill",),
        )

    def indexes(self) -> list[Draft]:
        """Return the revisions that build the indexes of the old column on the new one."""
        return [
            Draft(
                f"build {name}",
                "The index is built beside readers and writers. The contract gives it the name of the old one.",
                (block(index.moved(name, self.old[0], self.new[0])),),
                (block(f"DROP INDEX CONCURRENTLY {beside(self.table, name)}"),),
            )
            for index, name in self._indexes()
        ]

    def _indexes(self) -> list[tuple[Index, str]]:
        """Return each index of the old columns, and its name as long as both are there."""
        indexes = [index for column in self.old for index in self.table.indexes_of(column)]
        return [(index, short(f"{index.name}_new")) for index in indexes]

    def contract(self) -> Draft:
        """Return the revision that drops the old columns."""
        old, new = (", ".join(column.name for column in columns) for columns in (self.old, self.new))
        creates, drops = self.trigger()
        alter = f"ALTER TABLE {self.table.sql}"
        defaults = [column for column in self.new if column.default is not None]
        values = ", ".join(f"{column.sql} = {value}" for column, value in zip(self.old, self.backward, strict=True))
        not_null = "adding-not-nullable-field", ROLLBACK
        return Draft(
            f"drop {self.table.name}.{old}",
            f"No code uses {old} any longer. The downgrade computes it from {new}.",
            (
                *drops,
                *(execute(f"{alter} DROP COLUMN {column.sql}", "destroys-data", PRESERVED) for column in self.old),
                *(execute(f"{alter} ALTER COLUMN {column.sql} SET DEFAULT {column.default}") for column in defaults),
                *(
                    execute(f"ALTER INDEX {beside(self.table, name)} RENAME TO {quoted(index.name)}")
                    for index, name in self._indexes()
                ),
            ),
            (
                *(
                    execute(f"ALTER INDEX {beside(self.table, index.name)} RENAME TO {quoted(name)}")
                    for index, name in self._indexes()
                ),
                *(execute(f"{alter} ALTER COLUMN {column.sql} DROP DEFAULT") for column in defaults),
                *(execute(f"{alter} ADD COLUMN {column.definition}") for column in self.old),
                execute(f"UPDATE {self.table.sql} SET {values}", "unbatched-update", ROLLBACK),  # noqa: S608
                *(
                    execute(f"{alter} ALTER COLUMN {column.sql} SET NOT NULL", *not_null)
                    for column in self.old
                    if column.required
                ),
                *(
                    execute(f"{alter} ALTER COLUMN {column.sql} SET DEFAULT {column.default}")
                    for column in self.old
                    if column.default is not None
                ),
                *(execute(index.definition, *INDEX_AGAIN) for index, _ in self._indexes()),
                *creates,
            ),
            contract=True,
        )

    def trigger(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Return statements that create the trigger, and statements that drop it."""
        name = short(f"{self.table.name}_{'_'.join(column.name for column in self.new)}_sync")
        function = beside(self.table, name)
        written = _listed((*self.old, *self.new) if self.both else self.old)
        body = self._both_ways() if self.both else self._assigned(self.new, self.forward)
        path = "" if self._plain else " SET search_path = pg_catalog"
        creates = (
            execute(
                f"\nCREATE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql{path} AS $$\n"
                f"BEGIN\n{body}    RETURN NEW;\nEND $$\n"
            ),
            execute(
                f"\nCREATE TRIGGER {quoted(name)} BEFORE INSERT OR UPDATE OF {written} ON {self.table.sql}\n"
                f"FOR EACH ROW EXECUTE FUNCTION {function}()\n"
            ),
        )
        drops = execute(f"DROP TRIGGER {quoted(name)} ON {self.table.sql}"), execute(f"DROP FUNCTION {function}()")
        return creates, drops

    def _both_ways(self) -> str:
        empty = " AND ".join(f"NEW.{column.sql} IS NULL" for column in self.new)
        forth, back = self._assigned(self.new, self.forward), self._assigned(self.old, self.backward)
        computed = ", ".join(map(self._value, self.forward))
        new, old = _listed(self.new, "NEW."), _listed(self.old, "NEW.")
        return (
            f"    IF TG_OP OPERATOR(pg_catalog.=) 'INSERT' THEN\n        IF {empty} THEN\n        {_indented(forth)}\n"
            f"        ELSE\n        {_indented(back)}\n        END IF;\n"
            f"    ELSIF {self._differ(new, _listed(self.new, 'OLD.'))}\n"
            f"        AND {self._differ(new, computed)} THEN\n"
            f"    {_indented(back)}\n    ELSIF {self._differ(old, _listed(self.old, 'OLD.'))} THEN\n"
            f"    {_indented(forth)}\n    END IF;\n"
        )

    def _assigned(self, columns: Sequence[Column], values: Sequence[str]) -> str:
        return "".join(
            f"    NEW.{column.sql} := {self._value(value)};\n" for column, value in zip(columns, values, strict=True)
        )

    @property
    def _plain(self) -> bool:
        """Whether the trigger only assigns columns to each other.

        It then looks up no name, and needs no search_path of its own, which takes time for each row.
        """
        return all(self._copied(value) for value in (*self.forward, *self.backward))

    def _differ(self, values: str, others: str) -> str:
        """Return the condition that lists of values differ."""
        if self._plain:
            # IS DISTINCT FROM would look up the operator = in the session's search_path.
            return f"pg_catalog.record_image_ne(ROW({values}), ROW({others}))"
        return f"({values}) IS DISTINCT FROM ({others})"

    def _value(self, value: str) -> str:
        """Return the value as the trigger computes it."""
        return (
            self._copied(value)
            or _of_new_row(value)
            or (
                f"(SELECT {value} FROM (SELECT NEW.*) AS {quoted(self.table.name)})"  # noqa: S608
            )
        )

    def _copied(self, value: str) -> str:
        """Return the column that is the whole value, empty if there is none.

        A cast needs no words, because the server casts what is assigned.
        """
        columns = (*self.old, *self.new)
        for column in columns:
            if value in {column.sql, *(f"{column.sql}::{other.type}" for other in columns)}:
                return f"NEW.{column.sql}"
        return ""

    def _backfill(self) -> str:
        pairs = [*zip((column.sql for column in self.new), self.forward, strict=True)]
        set = ", ".join(f"{column} = {value}" for column, value in pairs)
        where = " OR ".join(f"{column} IS DISTINCT FROM {value}" for column, value in pairs)
        return f'backfill(\n    "{inner(self.table.sql)}",\n    set="{inner(set)}",\n    where="{inner(where)}",\n)'


def change_type(table: Table, old: Column, new: Column, values: tuple[str, str]) -> list[Draft]:
    """Return revisions that change a column's type by a `new` column, which gets the name of the `old` one at the end.

    `values` are the value of `new` as SQL of `old`, and the reverse.
    """
    replacement = Replacement(table, (old,), (new,), values[:1], values[1:], both=False)
    replacement.require_new()
    expand, contract = replacement.expand(), replacement.contract()
    rename = f"ALTER TABLE {table.sql} RENAME COLUMN"
    allowed = "renaming-column", "the trigger that wrote it is dropped in the same transaction"
    return [
        replace(
            expand,
            message=f"add {table.name}.{old.name} as {new.type}",
            story=f"A trigger writes each value to {new.name} too, and a backfill sets the old rows. No code needs to\n"
            f"know of it: the contract lets {new.name} take the place of {old.name}.",
        ),
        *replacement.indexes(),
        *required(table, new),
        replace(
            contract,
            message=f"change the type of {table.name}.{old.name}",
            story=f"{new.name} takes the place of {old.name}. The values of before are preserved.",
            upgrade=(*contract.upgrade, execute(f"{rename} {new.sql} TO {old.sql}", *allowed)),
            downgrade=(execute(f"{rename} {old.sql} TO {new.sql}"), *contract.downgrade),
        ),
    ]


def _listed(columns: Sequence[Column], prefix: str = "") -> str:
    return ", ".join(prefix + column.sql for column in columns)


def _of_new_row(expression: str) -> str:
    """Return the expression with NEW before each column, empty if a name can mean something else than a column.

    PL/pgSQL evaluates such an expression without a query, in half the time.
    """
    select = f"SELECT {expression}"
    trees = parse(select)
    columns = [*nodes(trees, "ColumnRef")]
    if any(nodes(trees, "SubLink")) or any([field.tag for field in column.fields] != ["String"] for column in columns):
        return ""
    for position in sorted((column.location for column in columns), reverse=True):
        select = f"{select[:position]}NEW.{select[position:]}"
    return select.removeprefix("SELECT ")


def _indented(lines: str) -> str:
    return lines.rstrip("\n").replace("\n", "\n        ")
