"""Restore preserved values of columns to their rows, without overwriting values that were written since."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import psycopg
from psycopg import sql

from pulumi_alembic.migrate.data_loss.preserved_table import Entry, numbers
from pulumi_alembic.migrate.data_loss.session import refusal
from pulumi_alembic.migrate.data_loss.target import WHY, Target

if TYPE_CHECKING:
    from pulumi_alembic.database.connection import Connection

__all__ = ["Values", "not_unique", "write", "write_each"]

_VOLATILE = """
SELECT EXISTS (
    SELECT FROM pg_attrdef a JOIN pg_depend d ON classid = 'pg_attrdef'::regclass AND objid = a.oid
    JOIN pg_proc p ON refclassid = 'pg_proc'::regclass AND refobjid = p.oid
    WHERE adrelid = to_regclass(%s) AND adnum = %s AND provolatile = 'v'
)
"""
# Foreign keys that refer to the unique columns are dropped first and added last.
_UNIQUE = """
WITH mine AS (
    SELECT i.indexrelid, c.oid AS con, c.conname FROM pg_index i
    LEFT JOIN pg_constraint c ON conindid = indexrelid AND conrelid = indrelid AND contype IN ('p', 'u', 'x')
    WHERE indrelid = %(table)s::oid AND (indisunique OR indisexclusion) AND NOT indisprimary AND EXISTS (
        SELECT FROM pg_depend WHERE refclassid = 'pg_class'::regclass AND refobjid = indrelid
            AND refobjsubid = ANY (%(columns)s) AND (
                (classid = 'pg_class'::regclass AND objid = indexrelid)
                OR (classid = 'pg_constraint'::regclass AND objid = c.oid)))
), parts AS (
    SELECT 1 AS step, f.oid, conrelid AS rel, f.conname, 'pg_constraint' AS of, pg_get_constraintdef(f.oid) AS def
    FROM pg_constraint f JOIN mine ON conindid = indexrelid WHERE contype = 'f' AND conparentid = 0
    UNION ALL SELECT 2, con, %(table)s::oid, conname, 'pg_constraint', pg_get_constraintdef(con)
    FROM mine WHERE con IS NOT NULL
    UNION ALL SELECT 3, indexrelid, NULL, NULL, 'pg_class', pg_get_indexdef(indexrelid) FROM mine WHERE con IS NULL
)
SELECT CASE WHEN rel IS NULL THEN format('DROP INDEX %%s', oid::regclass)
        ELSE format('ALTER TABLE %%s DROP CONSTRAINT %%I', rel::regclass, conname) END,
    CASE WHEN rel IS NULL THEN def
        ELSE format('ALTER TABLE %%s ADD CONSTRAINT %%I %%s', rel::regclass, conname, def) END,
    CASE WHEN rel IS NULL THEN format('COMMENT ON INDEX %%s IS %%L', oid::regclass, obj_description(oid, of))
        ELSE format('COMMENT ON CONSTRAINT %%I ON %%s IS %%L', conname, rel::regclass, obj_description(oid, of)) END,
    obj_description(oid, of) IS NOT NULL
FROM parts ORDER BY step, oid
"""
_ONE_BY_ONE = """
DO $values$
DECLARE
    one tid;
    named text;
BEGIN
    FOR one IN SELECT ctid FROM {kept}{where} LOOP
        BEGIN
            {update} AND k.ctid = one;
        EXCEPTION WHEN OTHERS THEN
            IF SQLSTATE ~ '^(55P03|40|57P|08)' THEN RAISE; END IF;
            GET STACKED DIAGNOSTICS named = CONSTRAINT_NAME;
            UPDATE {kept} SET {why} = CASE WHEN SQLSTATE LIKE '22%' THEN 'a value does not fit (' || SQLSTATE || ')'
                WHEN named <> '' THEN 'refused by ' || named ELSE SQLERRM END
            WHERE ctid = one;
        END;
    END LOOP;
END
$values$
"""
_WHY = sql.Identifier(WHY).as_string(None)


class Values:
    """The preserved values of one entry.

    A value replaces NULL or the column's default. In a fresh column it replaces every value, because only the script
    wrote there. In a computed column nothing is restored.

    Args:
        session: the session of the revision.
        entry: what is preserved.
        target: the table to restore to.
        fresh: columns that this revision created, with the script from then. NULL is restored too.
        computed: columns that the script computes.

    Attributes:
        back: how many values were restored, by column. After `prepare`, how many there are.

    """

    def __init__(
        self, session: Connection, entry: Entry, target: Target, fresh: Collection[str], computed: Collection[str]
    ) -> None:
        self.entry = entry
        self.target = target
        self.fresh = fresh
        self.computed = computed
        self.back: dict[str, int] = {}
        self._session = session
        self._defaults: dict[str, str] = {}

    @property
    def obstacle(self) -> str:
        """Why none of the values can be restored. Empty if some can be."""
        if not self.target.there:
            return f"there is no table {self.entry.into}"
        for name in self.entry.key:
            if name not in self.target.columns:
                return f"there is no column {self.entry.into}.{self.target.kept[name].sql}"
        return "" if self.names else f"there is no column {self._missing[0]}"

    @property
    def names(self) -> list[str]:
        """The preserved columns that exist in the table."""
        return [name for name in self.entry.columns if name in self.target.columns]

    @property
    def _missing(self) -> list[str]:
        absent = [name for name in self.entry.columns if name not in self.target.columns]
        return [f"{self.entry.into}.{self.target.kept[name].sql}" for name in absent]

    def prepare(self) -> None:
        """Add a column for reasons to the preserved table, and count the values of each column."""
        place = self.entry.place
        self._session.execute(f"ALTER TABLE {place} ADD COLUMN IF NOT EXISTS {_WHY} text".encode())
        self._session.execute(f"UPDATE {place} SET {_WHY} = NULL WHERE {_WHY} IS NOT NULL".encode())
        self.back = numbers(self._session, self.entry, self.entry.columns)

    def same_row(self, alias: str = "k", row: str = "t") -> str:
        """Return the condition that a preserved row and a row of the table have the same key."""
        pairs = ((self.target.columns[name].sql, self.target.value(name, alias=alias)) for name in self.entry.key)
        return " AND ".join(f"{row}.{column} = {value}" for column, value in pairs)

    def sets(self, alias: str = "k", names: Collection[str] | None = None) -> Iterator[tuple[str, str, str]]:
        """Yield the column, its new value and the condition on which it is written."""
        for name in self.names if names is None else names:
            column = self.target.columns[name]
            if column.generated or name in self.computed:
                continue
            value, exists = self.target.value(name, alias=alias), f"{alias}.{self.target.kept[name].sql} IS NOT NULL"
            if name in self.fresh:
                when = f"t.{column.sql}::text IS DISTINCT FROM ({value})::text" + (f" AND {exists}" * column.not_null)
            else:
                default = f"t.{column.sql}::text = ({self._default(name)})::text"
                when = f"{exists} AND (t.{column.sql} IS NULL OR {default})"
            if not self.target.is_same(name):
                when += f" AND NOT ({self.target.is_cut(name, alias=alias)})"
            yield column.sql, value, when

    def forget(self) -> None:
        """Delete restored values from the preserved table, count them, and note the reason of each remaining one."""
        row, place, into = self.same_row(), self.entry.place, self.entry.into
        for name in self.names:
            column = self.target.columns[name]
            same = f"t.{column.sql}::text = ({self.target.value(name, exactly=True)})::text"
            exists = "true" if column.generated else same
            try:
                with self._session.transaction():
                    self._session.execute(
                        f"UPDATE {place} k SET {column.sql} = NULL FROM {into} t "
                        f"WHERE {row} AND k.{column.sql} IS NOT NULL AND {exists}".encode()
                    )
            except psycopg.Error as error:
                refusal(error)
        nothing = " AND ".join(f"{self.target.kept[name].sql} IS NULL" for name in self.entry.columns)
        self._session.execute(f"DELETE FROM {place} WHERE {nothing}".encode())
        reason = f"CASE WHEN EXISTS (SELECT FROM {into} t WHERE {row}) THEN %s ELSE 'its row is gone' END"
        other = f"there is no column {self._missing[0]}" if self._missing else "another value is there"
        reason = reason.replace("%s", sql.Literal(other).as_string(None))
        self._session.execute(f"UPDATE {place} k SET {_WHY} = {reason} WHERE {_WHY} IS NULL".encode())
        left = numbers(self._session, self.entry, self.entry.columns)
        self.back = {name: number - left[name] for name, number in self.back.items()}

    def _default(self, name: str) -> str:
        """Return the SQL of the column's default. NULL if it is volatile."""
        if name not in self._defaults:
            column = self.target.columns[name]
            volatile = column.default is None or self._session.execute(
                _VOLATILE, [self.entry.into, column.number]
            ).fetchone() == (True,)
            self._defaults[name] = "NULL" if volatile else f"({column.default})::{column.full}"
        return self._defaults[name]


def write(session: Connection, parts: Sequence[Values]) -> None:
    """Write the values of one table, with as few statements as possible, because a check can cover several columns.

    Raises psycopg.Error if one of the values does not fit. Two rows that swap a unique value fit within `not_unique`.
    """
    batches: list[list[Values]] = []
    for part in parts:
        fitting = (candidate for candidate in batches if not any({*part.names} & {*other.names} for other in candidate))
        if (batch := next(fitting, None)) is None:
            batches.append(batch := [])
        batch.append(part)
    for batch in batches:
        if update := _update(batch):
            session.execute(update.encode())


def write_each(session: Connection, values: Values) -> None:
    """Write each row's values by themselves, then each column of refused rows, and note the reason of the rest."""
    place = values.entry.place
    names = {"kept": place, "why": _WHY}
    if update := _update([values]):
        session.execute(_ONE_BY_ONE.format(update=update, where="", **names).encode())
    for name in values.names if len(values.names) > 1 else ():
        if update := _update([values], [name]):
            where = f" WHERE {_WHY} IS NOT NULL"
            session.execute(_ONE_BY_ONE.format(update=update, where=where, **names).encode())


def _update(several: Sequence[Values], names: Collection[str] | None = None) -> str:
    """Return the UPDATE that writes them. For a single entry, conditions on `k` can be appended."""
    into = several[0].entry.into
    aliases = ["k"] if len(several) == 1 else [f"k{number}" for number, _ in enumerate(several)]
    sets, some = [], []
    for alias, part in zip(aliases, several, strict=True):
        for column, value, when in part.sets(alias, names):
            condition = "true" if len(several) == 1 else f"{alias}.ctid IS NOT NULL"
            sets.append(f"{column} = CASE WHEN {condition} AND {when} THEN {value} ELSE t.{column} END")
            some.append(f"({condition} AND {when})")
    if not sets:
        return ""
    if len(several) == 1:
        source = f"FROM {several[0].entry.place} k WHERE {several[0].same_row()}"
    else:
        joins = " ".join(
            f"LEFT JOIN {part.entry.place} {alias} ON {part.same_row(alias, 'o')}"
            for alias, part in zip(aliases, several, strict=True)
        )
        source = f"FROM {into} o {joins} WHERE t.tableoid = o.tableoid AND t.ctid = o.ctid"
    return f"UPDATE {into} t SET {', '.join(sets)} {source} AND ({' OR '.join(some)})"


@contextmanager
def not_unique(session: Connection, parts: Sequence[Values]) -> Iterator[None]:
    """Drop unique constraints and indexes of the fresh columns of one table, and create them again after the block.

    No check of a foreign key may be pending before the block. Those from within it are done at its end.
    """
    numbers = [part.target.columns[name].number for part in parts for name in part.fresh]
    names = {"table": parts[0].target.oid, "columns": numbers}
    constraints = session.execute(_UNIQUE, names).fetchall() if numbers else []
    for drop, *_ in constraints:
        session.execute(drop.encode())
    yield
    if constraints:
        # A table with pending checks cannot be altered.
        session.execute("SET CONSTRAINTS ALL IMMEDIATE")
    for _, add, comment, commented in reversed(constraints):
        session.execute(add.encode())
        if commented:
            session.execute(comment.encode())
    if constraints:
        session.execute("SET CONSTRAINTS ALL DEFERRED")
