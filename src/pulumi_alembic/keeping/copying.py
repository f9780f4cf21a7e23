"""Copying what goes into the schema `kept`: a table's rows, or the key and the values of columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from pulumi_alembic.keeping.columns import Column, read_columns
from pulumi_alembic.keeping.moving import revoke

if TYPE_CHECKING:
    from pulumi_alembic.database import Connection
    from pulumi_alembic.keeping.entry import Entry

__all__ = ["copy_rows", "copy_values", "key_of"]

_KEY = """
SELECT array_agg(attname::text ORDER BY place) FROM pg_constraint, unnest(conkey) WITH ORDINALITY AS k (number, place)
JOIN pg_attribute ON attnum = number WHERE attrelid = conrelid AND contype = 'p' AND conrelid = to_regclass(%s)
"""


def copy_rows(connection: Connection, entry: Entry) -> Entry:
    """Every row is in the kept table too, which is made here."""
    columns = [each for each in read_columns(connection, entry.table).values() if not each.virtual]
    return _copy(connection, entry, columns, "")


def copy_values(connection: Connection, entry: Entry) -> Entry:
    """What is not NULL in the columns is in the kept table too, which is made here, by the rows' primary key."""
    known = read_columns(connection, entry.table)
    some = " OR ".join(f"{known[each].sql} IS NOT NULL" for each in entry.columns)
    return _copy(connection, entry, [known[each] for each in (*entry.key, *entry.columns)], f" WHERE {some}")


def key_of(connection: Connection, table: str) -> tuple[str, ...]:
    """The columns of the primary key, in its order; none where there is none."""
    [(found,)] = connection.execute(_KEY, [table]).fetchall()
    return tuple(found or ())


def _copy(connection: Connection, entry: Entry, columns: Sequence[Column], where: str) -> Entry:
    values = ", ".join(f"{each.kept} AS {each.sql}" for each in columns)
    made = connection.execute(f"CREATE TABLE {entry.place} AS SELECT {values} FROM ONLY {entry.table}{where}".encode())
    revoke(connection, entry.place)
    return replace(entry, rows=made.rowcount)
