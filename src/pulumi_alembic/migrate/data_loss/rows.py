"""Restore preserved rows to their table: all at once if they fit, otherwise each row that fits."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import psycopg
from psycopg import sql

from pulumi_alembic.migrate.data_loss.foreign_keys import ForeignKey
from pulumi_alembic.migrate.data_loss.session import Unfit, refusal
from pulumi_alembic.migrate.data_loss.target import WHY, Target

if TYPE_CHECKING:
    from pulumi_alembic.database.connection import Connection
    from pulumi_alembic.migrate.data_loss.preserved_table import Entry

__all__ = ["Part", "Rows", "mark_orphans"]

_UNIQUE = """
SELECT array_agg(attname::text ORDER BY place) FROM pg_index i
CROSS JOIN unnest(indkey::int2[]) WITH ORDINALITY AS k (number, place)
JOIN pg_attribute ON attrelid = indrelid AND attnum = number
WHERE indrelid = to_regclass(%s) AND indisunique AND indisvalid AND indpred IS NULL AND indexprs IS NULL
    AND place <= indnkeyatts
GROUP BY indexrelid, indisprimary ORDER BY indisprimary DESC, indexrelid
"""
_WHY = sql.Identifier(WHY).as_string(None)
_ORPHAN = "what it refers to in "

# Inserts the rows one after the other, notes which ones fail, and rolls all of them back.
_TRIAL = """
DO $rows$
DECLARE
    one tid;
    named text;
    places tid[] := '{{}}';
    reasons text[] := '{{}}';
BEGIN
    BEGIN
        FOR one IN SELECT ctid FROM {kept} WHERE {why} IS NULL LOOP
            BEGIN
                {insert} AND k.ctid = one;
            EXCEPTION WHEN OTHERS THEN
                IF SQLSTATE ~ '^(55P03|40|57P|08)' THEN RAISE; END IF;
                GET STACKED DIAGNOSTICS named = CONSTRAINT_NAME;
                places := places || one;
                -- Of a value that does not fit the message has the value.
                reasons := reasons || CASE WHEN SQLSTATE LIKE '22%' THEN 'a value does not fit (' || SQLSTATE || ')'
                    WHEN named <> '' THEN 'refused by ' || named ELSE SQLERRM END;
            END;
        END LOOP;
        RAISE SQLSTATE 'PA017';
    EXCEPTION WHEN SQLSTATE 'PA017' THEN NULL;
    END;
    UPDATE {kept} k SET {why} = f.reason FROM unnest(places, reasons) AS f (place, reason) WHERE k.ctid = f.place;
END
$rows$
"""


@dataclass
class Part:
    """The rows of one entry: `back` counts the restored ones, `names` are the columns that are written."""

    entry: Entry
    target: Target
    back: int = 0
    names: list[str] = field(init=False)

    def __post_init__(self) -> None:
        columns = self.target.columns
        self.names = [name for name in self.target.kept if name in columns and not columns[name].generated]

    def obstacle(self, session: Connection) -> str:
        """Return why none of the rows can be restored. Empty if some can be."""
        target, into = self.target, self.entry.into
        if not target.there:
            return f"there is no table {into}"
        for name, kept in target.kept.items():
            if name not in target.columns:
                some = f"SELECT FROM {self.entry.place} WHERE {kept.sql} IS NOT NULL LIMIT 1"
                if session.execute(some.encode()).fetchone() is not None:
                    return f"{into} has no column {kept.sql}"
        for name, column in target.columns.items():
            if column.required and name not in target.kept:
                return f"{into}.{column.sql} cannot be NULL, and was not there"
        return ""

    @property
    def insert(self) -> str:
        """The statement that inserts them. Conditions on `k`, the preserved table, can be appended."""
        columns = ", ".join(self.target.columns[name].sql for name in self.names)
        values = ", ".join(self.target.value(name) for name in self.names)
        return (
            f"INSERT INTO {self.entry.into} {columns and f'({columns})'} "
            f"SELECT {values} FROM {self.entry.place} k WHERE true"
        )

    def same(self, names: Iterable[str]) -> str:
        """Return the condition that the table's row `t` equals the preserved row `k` in these columns."""
        return " AND ".join(f"t.{self.target.columns[name].sql} = {self.target.value(name)}" for name in names)


class Rows:
    """The preserved rows of one table, as one part for each partition.

    Args:
        session: the session of the revision.
        parts: the entries and their target, which is the same for all.
        fresh: this revision created the table, with the script from then. All other rows come from the script.
        computed: the script computes all of the table's rows from other tables.

    """

    def __init__(self, session: Connection, parts: Sequence[Part], *, fresh: bool, computed: bool) -> None:
        self.parts = list(parts)
        self.fresh = fresh
        self.computed = computed
        self.into = parts[0].entry.into
        self.oid = parts[0].target.oid
        self._session = session
        constraints = session.execute(_UNIQUE, [self.into]).fetchall()
        self.unique = [names for (names,) in constraints if all({*names} <= {*part.names} for part in parts)]
        self.filled = False

    @property
    def taken(self) -> str:
        """Why no further row is inserted. Empty if some can be."""
        if self.computed:
            return f"{self.into} has the rows that the revision computes"
        if self.filled and not self.fresh and not self.unique:
            return f"there are rows in {self.into}, and no key that tells which"
        return ""

    def look(self) -> None:
        """Note whether the table has rows, while no policy hides them."""
        self.filled = self._session.execute(f"SELECT FROM {self.into} LIMIT 1".encode()).fetchone() is not None

    def clear(self, keys: Sequence[ForeignKey]) -> None:
        """Delete rows that only the script inserted. Rows that others refer to stay."""
        if not (self.fresh and self.filled and (same := self._same())):
            return
        free = "".join(f" AND NOT EXISTS ({_referring(key)})" for key in keys if key.parent == self.into)
        condition = "SELECT FROM same WHERE same.part = t.tableoid AND same.place = t.ctid"
        while self._session.execute(
            f"{same} DELETE FROM {self.into} t WHERE NOT EXISTS ({condition}){free}".encode()
        ).rowcount:
            pass

    def match(self) -> None:
        """Count rows that exist already as restored. If the table is `fresh`, overwrite rows with the same key."""
        if not self.filled:
            return
        if same := self._same():
            for part in self.parts:
                part.back += self._session.execute(
                    f"{same} DELETE FROM {part.entry.place} k USING same "
                    f"WHERE k.tableoid = same.kept_part AND k.ctid = same.kept_place".encode()
                ).rowcount
        if self.fresh and self.unique:
            for part in self.parts:
                self._overwrite(part, self.unique[0])

    def insert(self) -> None:
        """Insert all remaining rows. Raises psycopg.Error if one does not fit, Unfit if a type differs."""
        for part in self.parts:
            if not all(part.target.is_same(name) for name in part.names):
                raise Unfit
            part.back += self._session.execute(part.insert.encode()).rowcount
            self._session.execute(f"TRUNCATE {part.entry.place}".encode())

    def mark(self) -> None:
        """Note the reason of each row that is known not to fit."""
        for part in self.parts:
            place = part.entry.place
            self._session.execute(f"ALTER TABLE {place} ADD COLUMN IF NOT EXISTS {_WHY} text".encode())
            self._session.execute(f"UPDATE {place} SET {_WHY} = NULL WHERE {_WHY} IS NOT NULL".encode())
            try:
                with self._session.transaction():
                    for reason, condition in self._misfits(part):
                        _mark(self._session, part, reason, condition)
            except psycopg.Error as error:
                refusal(error)

    def forget_orphans(self) -> int:
        """Clear the reasons of rows whose parents can be restored by now, and return how many there are."""
        text = sql.Literal(f"{_ORPHAN}%").as_string(None)
        return sum(
            self._session.execute(
                f"UPDATE {part.entry.place} SET {_WHY} = NULL WHERE {_WHY} LIKE {text}".encode()
            ).rowcount
            for part in self.parts
        )

    def insert_unmarked(self) -> None:
        """Insert all rows without a reason. Raises psycopg.Error if one does not fit."""
        for part in self.parts:
            part.back += self._session.execute(f"{part.insert} AND k.{_WHY} IS NULL".encode()).rowcount
            self._session.execute(f"DELETE FROM {part.entry.place} WHERE {_WHY} IS NULL".encode())

    def try_each(self) -> None:
        """Try to insert each row by itself, and note the reason of each that fails."""
        for part in self.parts:
            insert = part.insert
            self._session.execute(_TRIAL.format(kept=part.entry.place, why=_WHY, insert=insert).encode())

    def _same(self) -> str:
        """Return a WITH clause that pairs equal rows of the table and the preserved ones, each once.

        A column that was preserved of another partition only had no value in this one. Empty if no column is left.
        """
        columns_by_name = {name: part.target.columns[name] for part in self.parts for name in part.names}
        if not columns_by_name:
            return ""
        columns = ", ".join(f"t.{column.sql}::text" for column in columns_by_name.values())
        kept = " UNION ALL ".join(
            f"SELECT k.tableoid, k.ctid, ROW({', '.join(_text(part, name) for name in columns_by_name)})::text "
            f"FROM {part.entry.place} k"
            for part in self.parts
        )
        number = "row_number() OVER (PARTITION BY text) AS number"
        return (
            f"WITH here AS (SELECT part, place, text, {number} FROM ("
            f"SELECT tableoid, ctid, ROW({columns})::text FROM {self.into} t) AS rows (part, place, text)), "
            f"kept AS (SELECT part, place, text, {number} FROM ({kept}) AS rows (part, place, text)), "
            "same AS (SELECT here.part, here.place, kept.part AS kept_part, kept.place AS kept_place "
            "FROM here JOIN kept USING (text, number))"
        )

    def _overwrite(self, part: Part, key: Sequence[str]) -> None:
        rest = [name for name in part.names if name not in key]
        sets = ", ".join(f"{part.target.columns[name].sql} = {part.target.value(name)}" for name in rest)
        place, same = part.entry.place, part.same(key)
        if sets:
            self._session.execute(f"UPDATE {self.into} t SET {sets} FROM {place} k WHERE {same}".encode())
        part.back += self._session.execute(f"DELETE FROM {place} k USING {self.into} t WHERE {same}".encode()).rowcount

    def _misfits(self, part: Part) -> Iterator[tuple[str, str]]:
        target = part.target
        for name in part.names:
            column = target.columns[name]
            if not target.is_same(name):
                yield f"{self.into}.{column.sql} is {column.full} now", target.is_cut(name)
            if column.not_null:
                yield f"{self.into}.{column.sql} cannot be NULL", f"k.{column.sql} IS NULL"
        for names in self.unique:
            key = ", ".join(target.columns[name].sql for name in names)
            yield f"a row of that {key} is there", f"EXISTS (SELECT FROM {self.into} t WHERE {part.same(names)})"


def _text(part: Part, name: str) -> str:
    return f"({part.target.value(name)})::text" if name in part.names else "NULL::text"


def mark_orphans(session: Connection, tables: Sequence[Rows], keys: Sequence[ForeignKey]) -> None:
    """Mark rows whose parent neither exists nor is preserved without a mark, and repeat until none is left.

    The unmarked rows can exist together, even if they refer to each other in a cycle.
    """
    parts = [(rows, part) for rows in tables for part in rows.parts]
    again = True
    while again:
        again = False
        for rows, part in parts:
            for key in keys:
                if key.child_oid == rows.oid and {*key.own} <= {*part.names}:
                    kept = [
                        orphaned for _, orphaned in parts if key.parent in (orphaned.entry.into, orphaned.entry.table)
                    ]
                    reason = f"{_ORPHAN}{key.parent} is gone ({key.name})"
                    again = _mark(session, part, reason, _orphan(part, key, kept)) > 0 or again


def _orphan(part: Part, key: ForeignKey, kept: Iterable[Part]) -> str:
    values = [part.target.value(name) for name in key.own]
    others = [sql.Identifier(name).as_string(None) for name in key.others]
    filled = " AND ".join(f"{value} IS NOT NULL" for value in values)
    same = " AND ".join(f"p.{other} = {value}" for other, value in zip(others, values, strict=True))
    missing = f"{filled} AND NOT EXISTS (SELECT FROM {key.parent} p WHERE {same})"
    for orphaned in kept:
        if {*key.others} <= {*orphaned.names}:
            theirs = [orphaned.target.value(name, alias="o") for name in key.others]
            same = " AND ".join(f"{other} = {value}" for other, value in zip(theirs, values, strict=True))
            missing += f" AND NOT EXISTS (SELECT FROM {orphaned.entry.place} o WHERE o.{_WHY} IS NULL AND {same})"
    if key.full and len(values) > 1:
        some = " OR ".join(f"{value} IS NOT NULL" for value in values)
        missing = f"({missing} OR (({some}) AND NOT ({filled})))"
    return missing


def _mark(session: Connection, part: Part, reason: str, condition: str) -> int:
    return session.execute(
        f"UPDATE {part.entry.place} k SET {_WHY} = {sql.Literal(reason).as_string(None)} "
        f"WHERE {_WHY} IS NULL AND {condition}".encode()
    ).rowcount


def _referring(key: ForeignKey) -> str:
    """Return the query for rows that refer to `t`, except `t` itself."""
    pairs = zip(key.own, key.others, strict=True)
    same = " AND ".join(
        f"c.{sql.Identifier(own).as_string(None)} = t.{sql.Identifier(other).as_string(None)}" for own, other in pairs
    )
    itself = " AND (c.tableoid, c.ctid) <> (t.tableoid, t.ctid)" if key.child_oid == key.parent_oid else ""
    return f"SELECT FROM {key.child} c WHERE {same}{itself}"
