"""Puts kept rows back into their table: all at once where they fit, else each that does."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import psycopg
from psycopg import sql

from pulumi_alembic.keeping.leftover import left_of
from pulumi_alembic.keeping.sequences import set_sequences
from pulumi_alembic.keeping.session import refusal
from pulumi_alembic.keeping.target import WHY, Target

if TYPE_CHECKING:
    from pulumi_alembic.database import Connection
    from pulumi_alembic.keeping.entry import Entry

__all__ = ["is_taken", "put_rows_back"]

_UNIQUE = """
SELECT array_agg(attname::text ORDER BY place) FROM pg_index i
CROSS JOIN unnest(indkey::int2[]) WITH ORDINALITY AS k (number, place)
JOIN pg_attribute ON attrelid = indrelid AND attnum = number
WHERE indrelid = to_regclass(%s) AND indisunique AND indisvalid AND indpred IS NULL AND indexprs IS NULL
    AND place <= indnkeyatts
GROUP BY indexrelid
"""
_PARENTS = """
SELECT conname, quote_ident(nspname) || '.' || quote_ident(relname), confrelid = conrelid,
    (SELECT array_agg(attname::text ORDER BY place) FROM unnest(conkey) WITH ORDINALITY AS k (number, place)
     JOIN pg_attribute ON attrelid = conrelid AND attnum = number),
    (SELECT array_agg(attname::text ORDER BY place) FROM unnest(confkey) WITH ORDINALITY AS k (number, place)
     JOIN pg_attribute ON attrelid = confrelid AND attnum = number)
FROM pg_constraint JOIN pg_class c ON c.oid = confrelid JOIN pg_namespace n ON n.oid = relnamespace
WHERE contype = 'f' AND conrelid = to_regclass(%s)
"""

# In passes: a row that another one of the table refers to may come behind it.
_ONE_BY_ONE = """
DO $rows$
DECLARE
    one tid;
    went bigint := 1;
    named text;
BEGIN
    WHILE went > 0 LOOP
        went := 0;
        UPDATE {kept} SET {why} = NULL WHERE {why} LIKE 'refused by a foreign key%';
        FOR one IN SELECT ctid FROM {kept} WHERE {why} IS NULL LOOP
            BEGIN
                {insert} AND k.ctid = one;
                DELETE FROM {kept} WHERE ctid = one;
                went := went + 1;
            EXCEPTION WHEN OTHERS THEN
                GET STACKED DIAGNOSTICS named = CONSTRAINT_NAME;
                -- Of a value that does not fit the message has the value.
                UPDATE {kept} SET {why} = CASE
                    WHEN SQLSTATE = '23503' THEN 'refused by a foreign key, ' || named
                    WHEN SQLSTATE LIKE '22%' THEN 'a value does not fit (' || SQLSTATE || ')'
                    WHEN named <> '' THEN 'refused by ' || named ELSE SQLERRM END
                WHERE ctid = one;
            END;
        END LOOP;
    END LOOP;
END
$rows$
"""


def is_taken(session: Connection, table: str) -> bool:
    """Whether there are rows, and no key to tell which of the kept ones are among them."""
    if session.execute("SELECT to_regclass(%s)", [table]).fetchone() == (None,):
        return False
    if session.execute(_UNIQUE, [table]).fetchone() is not None:
        return False
    try:
        with session.transaction():
            return session.execute(f"SELECT FROM {table} LIMIT 1".encode()).fetchone() is not None
    except psycopg.errors.InsufficientPrivilege:
        # A policy may hide them from the owner too.
        return True


def put_rows_back(session: Connection, entry: Entry, *, taken: bool) -> tuple[int, Entry | None]:
    """How many rows went back, and what is left of the entry; the sequences go on behind its values.

    None of them goes into a table that was `taken`.
    """
    target = Target(session, entry)
    taken_by = f"there are rows in {entry.into}, and no key that tells which" if taken else ""
    if reason := taken_by or _obstacle(session, entry, target):
        return 0, left_of(session, entry, reason)
    rows = _Rows(session, entry, target)
    with target.quiet():
        rows.at_once() or rows.by_marks() or rows.one_by_one()
    set_sequences(session, entry)
    return rows.went, left_of(session, entry)


def _obstacle(session: Connection, entry: Entry, target: Target) -> str:
    """Why none of the rows can go back; empty where some may."""
    if not target.there:
        return f"there is no table {entry.into}"
    for name, kept in target.kept.items():
        if name not in target.columns:
            some = f"SELECT FROM {entry.place} WHERE {kept.sql} IS NOT NULL LIMIT 1"
            if session.execute(some.encode()).fetchone() is not None:
                return f"{entry.into} has no column {kept.sql}"
    for name, column in target.columns.items():
        if column.required and name not in target.kept:
            return f"{entry.into}.{column.sql} cannot be NULL, and was not there"
    return ""


class _Rows:
    """The ways to put them back, the quickest first: each is True where it did."""

    def __init__(self, session: Connection, entry: Entry, target: Target) -> None:
        self.went = 0
        self._session = session
        self._entry = entry
        self._target = target
        self._names = [name for name in target.kept if name in target.columns and not target.columns[name].generated]
        self._why = sql.Identifier(WHY).as_string(None)
        self._marked = False
        columns = ", ".join(target.column(name).sql for name in self._names)
        values = ", ".join(target.value(name) for name in self._names)
        self._insert = (
            f"INSERT INTO {entry.into} {columns and f'({columns})'} OVERRIDING SYSTEM VALUE "
            f"SELECT {values} FROM {entry.place} k WHERE true"
        )

    def at_once(self) -> bool:
        """All of them, where each value is as it was."""
        if not all(self._target.is_same(name) for name in self._names):
            return False
        return self._tried(self._insert, f"TRUNCATE {self._entry.place}")

    def by_marks(self) -> bool:
        """All but those that are known not to fit."""
        self._session.execute(f"ALTER TABLE {self._entry.place} ADD COLUMN IF NOT EXISTS {self._why} text".encode())
        self._session.execute(
            f"UPDATE {self._entry.place} SET {self._why} = NULL WHERE {self._why} IS NOT NULL".encode()
        )
        try:
            with self._session.transaction():
                for reason, condition in self._misfits():
                    self._mark(reason, condition)
                self._mark_orphans()
        except psycopg.Error as error:
            refusal(error)
            return False
        left = f"DELETE FROM {self._entry.place} WHERE {self._why} IS NULL"
        return self._tried(f"{self._insert} AND k.{self._why} IS NULL", left)

    def one_by_one(self) -> bool:
        """Each by itself, of those without a mark."""
        count = f"SELECT count(*) FROM {self._entry.place}".encode()
        [(before,)] = self._session.execute(count).fetchall()
        self._session.execute(_ONE_BY_ONE.format(kept=self._entry.place, why=self._why, insert=self._insert).encode())
        [(after,)] = self._session.execute(count).fetchall()
        self.went = before - after
        return True

    def _tried(self, insert: str, clear: str) -> bool:
        try:
            with self._session.transaction():
                self.went = self._session.execute(insert.encode()).rowcount
                self._session.execute(clear.encode())
        except psycopg.Error as error:
            refusal(error)
            self.went = 0
            return False
        return True

    def _mark(self, reason: str, condition: str) -> int:
        return self._session.execute(
            f"UPDATE {self._entry.place} k SET {self._why} = {sql.Literal(reason).as_string(None)} "
            f"WHERE {self._why} IS NULL AND {condition}".encode()
        ).rowcount

    def _misfits(self) -> Iterator[tuple[str, str]]:
        target, into = self._target, self._entry.into
        for name in self._names:
            column = target.column(name)
            if not target.is_same(name):
                yield f"{into}.{column.sql} is {column.full} now", target.is_cut(name)
            if column.not_null:
                yield f"{into}.{column.sql} cannot be NULL", f"k.{column.sql} IS NULL"
        for (names,) in self._session.execute(_UNIQUE, [into]).fetchall():
            if {*names} <= {*self._names}:
                same = " AND ".join(f"t.{target.column(name).sql} = {target.value(name)}" for name in names)
                key = ", ".join(target.column(name).sql for name in names)
                yield f"a row of that {key} is there", f"EXISTS (SELECT FROM {into} t WHERE {same})"

    def _mark_orphans(self) -> None:
        """Those that refer to what is not there, then those of the same table that refer to them, and so on."""
        found = self._session.execute(_PARENTS, [self._entry.into]).fetchall()
        again = True
        while again:
            again = False
            for name, parent, itself, own, others in found:
                if {*own} <= {*self._names} and (not itself or {*others} <= {*self._names}):
                    marked = self._mark(
                        f"what it refers to in {parent} is gone ({name})", self._orphan(parent, itself, own, others)
                    )
                    again = again or (itself and marked > 0)

    def _orphan(self, parent: str, itself: bool, own: list[str], others: list[str]) -> str:
        values = [self._target.value(name) for name in own]
        columns = [sql.Identifier(name).as_string(None) for name in others]
        filled = " AND ".join(f"{value} IS NOT NULL" for value in values)
        same = " AND ".join(f"p.{column} = {value}" for column, value in zip(columns, values, strict=True))
        missing = f"{filled} AND NOT EXISTS (SELECT FROM {parent} p WHERE {same})"
        if not itself:
            return missing
        kept = [self._target.value(name).replace("k.", "o.", 1) for name in others]
        same = " AND ".join(f"{other} = {value}" for other, value in zip(kept, values, strict=True))
        return f"{missing} AND NOT EXISTS (SELECT FROM {self._entry.place} o WHERE o.{self._why} IS NULL AND {same})"
