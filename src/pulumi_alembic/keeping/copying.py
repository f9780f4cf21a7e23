"""Copying what goes into the schema `kept`: a table's rows, or the key and the values of columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from psycopg import sql

from pulumi_alembic.keeping.columns import Column
from pulumi_alembic.keeping.entry import numbers
from pulumi_alembic.keeping.moving import revoke

if TYPE_CHECKING:
    from pulumi_alembic.database import Connection
    from pulumi_alembic.keeping.entry import Entry
    from pulumi_alembic.keeping.source import Source

__all__ = ["copy_rows", "copy_values", "key_of", "unhidden"]

_FORCED = "SELECT relforcerowsecurity FROM pg_class WHERE oid = to_regclass(%s)"
_KEY = """
SELECT array_agg(attname::text ORDER BY place) FROM pg_constraint, unnest(conkey) WITH ORDINALITY AS k (number, place)
JOIN pg_attribute ON attnum = number WHERE attrelid = conrelid AND contype = 'p' AND conrelid = to_regclass(%s)
"""


def copy_rows(connection: Connection, entry: Entry, source: Source) -> Entry:
    """Every row is in the kept table too, which is made here."""
    number = _copy(connection, entry, source, [each for each in source.columns.values() if not each.virtual])
    return replace(entry, rows=number)


def copy_values(connection: Connection, entry: Entry, source: Source, names: Sequence[str]) -> Entry:
    """What is in these columns of each row is in the kept table too, which is made here, by the rows' primary key.

    NULL as well: the next upgrade may fill the column.
    """
    _copy(connection, entry, source, [source.columns[name] for name in names])
    counts = numbers(connection, entry, entry.columns)
    return replace(entry, rows=sum(counts.values()), counts=counts)


@contextmanager
def unhidden(connection: Connection, table: str) -> Iterator[None]:
    """Within the block the table's owner sees all of its rows."""
    forced = connection.execute(_FORCED, [table]).fetchone() == (True,)
    if forced:
        connection.execute(f"ALTER TABLE ONLY {table} NO FORCE ROW LEVEL SECURITY".encode())
    yield
    if forced:
        connection.execute(f"ALTER TABLE ONLY {table} FORCE ROW LEVEL SECURITY".encode())


def key_of(connection: Connection, table: str) -> tuple[str, ...]:
    """The columns of the primary key, in its order; none where there is none."""
    [(found,)] = connection.execute(_KEY, [table]).fetchall()
    return tuple(found or ())


def _copy(connection: Connection, entry: Entry, source: Source, columns: Sequence[Column]) -> int:
    names = (sql.Identifier(source.called(each.name)).as_string(None) for each in columns)
    values = ", ".join(f"{each.kept} AS {name}" for each, name in zip(columns, names, strict=True))
    with unhidden(connection, source.table):
        made = connection.execute(f"CREATE TABLE {entry.place} AS SELECT {values} FROM ONLY {source.table}".encode())
    revoke(connection, entry.place)
    return made.rowcount
