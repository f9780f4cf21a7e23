"""Puts kept values of columns back into the rows that they are of, where nobody has written another one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
from psycopg import sql

from pulumi_alembic.keeping.leftover import left_of
from pulumi_alembic.keeping.session import refusal
from pulumi_alembic.keeping.target import WHY, Target

if TYPE_CHECKING:
    from pulumi_alembic.database import Connection
    from pulumi_alembic.keeping.entry import Entry

__all__ = ["put_values_back"]

_VOLATILE = """
SELECT EXISTS (
    SELECT FROM pg_attrdef a JOIN pg_depend d ON classid = 'pg_attrdef'::regclass AND objid = a.oid
    JOIN pg_proc p ON refclassid = 'pg_proc'::regclass AND refobjid = p.oid
    WHERE adrelid = to_regclass(%s) AND adnum = %s AND provolatile = 'v'
)
"""
_ONE_BY_ONE = """
DO $values$
DECLARE
    one tid;
    named text;
BEGIN
    FOR one IN SELECT ctid FROM {kept} LOOP
        BEGIN
            {update} AND k.ctid = one;
        EXCEPTION WHEN OTHERS THEN
            GET STACKED DIAGNOSTICS named = CONSTRAINT_NAME;
            UPDATE {kept} SET {why} = CASE WHEN SQLSTATE LIKE '22%' THEN 'a value does not fit (' || SQLSTATE || ')'
                WHEN named <> '' THEN 'refused by ' || named ELSE SQLERRM END
            WHERE ctid = one;
        END;
    END LOOP;
END
$values$
"""


def put_values_back(session: Connection, entry: Entry) -> tuple[int, Entry | None]:
    """How many values went back, and what is left of the entry."""
    target = Target(session, entry)
    missing = [name for name in (*entry.key, *entry.columns) if name not in target.columns]
    if not target.there or missing:
        what = f"column {entry.into}.{target.kept[missing[0]].sql}" if target.there else f"table {entry.into}"
        return 0, left_of(session, entry, f"there is no {what}")
    why = sql.Identifier(WHY).as_string(None)
    session.execute(f"ALTER TABLE {entry.place} ADD COLUMN IF NOT EXISTS {why} text".encode())
    session.execute(f"UPDATE {entry.place} SET {why} = NULL WHERE {why} IS NOT NULL".encode())
    before = _number(session, entry, target)
    with target.quiet():
        for name in entry.columns:
            if not target.columns[name].generated:
                _write(session, entry, target, name, why)
        _forget(session, entry, target, why)
    return before - _number(session, entry, target), left_of(session, entry)


def _write(session: Connection, entry: Entry, target: Target, name: str, why: str) -> None:
    column = target.columns[name]
    cut = "" if target.is_same(name) else f" AND NOT ({target.is_cut(name)})"
    update = (
        f"UPDATE {entry.into} t SET {column.sql} = {target.value(name)} FROM {entry.place} k "
        f"WHERE {_same_row(entry, target)} AND k.{column.sql} IS NOT NULL "
        f"AND (t.{column.sql} IS NULL OR t.{column.sql}::text = ({_default(session, entry, target, name)})::text){cut}"
    )
    try:
        with session.transaction():
            session.execute(update.encode())
    except psycopg.Error as error:
        refusal(error)
        session.execute(_ONE_BY_ONE.format(kept=entry.place, why=why, update=update).encode())


def _default(session: Connection, entry: Entry, target: Target, name: str) -> str:
    """What a new row has in the column; NULL where that is another value each time."""
    column = target.columns[name]
    if column.default is None:
        return "NULL"
    [(volatile,)] = session.execute(_VOLATILE, [entry.into, column.number]).fetchall()
    return "NULL" if volatile else f"({column.default})::{column.full}"


def _forget(session: Connection, entry: Entry, target: Target, why: str) -> None:
    """What is in place is kept no more; of the rest it is told why it stays."""
    row = _same_row(entry, target)
    for name in entry.columns:
        column = target.columns[name]
        there = "true" if column.generated else f"t.{column.sql}::text = ({target.value(name, exactly=True)})::text"
        try:
            with session.transaction():
                session.execute(
                    f"UPDATE {entry.place} k SET {column.sql} = NULL FROM {entry.into} t "
                    f"WHERE {row} AND k.{column.sql} IS NOT NULL AND {there}".encode()
                )
        except psycopg.Error as error:
            refusal(error)
    nothing = " AND ".join(f"{target.kept[name].sql} IS NULL" for name in entry.columns)
    session.execute(f"DELETE FROM {entry.place} WHERE {nothing}".encode())
    session.execute(
        f"UPDATE {entry.place} k SET {why} = CASE WHEN EXISTS (SELECT FROM {entry.into} t WHERE {row}) "
        f"THEN 'another value is there' ELSE 'its row is gone' END WHERE {why} IS NULL".encode()
    )


def _same_row(entry: Entry, target: Target) -> str:
    return " AND ".join(f"t.{target.columns[name].sql} = {target.value(name)}" for name in entry.key)


def _number(session: Connection, entry: Entry, target: Target) -> int:
    counted = " + ".join(f"count({target.kept[name].sql})" for name in entry.columns)
    [(number,)] = session.execute(f"SELECT {counted} FROM {entry.place}".encode()).fetchall()
    return int(number)
