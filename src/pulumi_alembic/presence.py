"""Which tables and columns are there: told twice, before and after what shows in no text, it says what went between."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pulumi_alembic.losses import Loss

if TYPE_CHECKING:
    from pulumi_alembic.database import Connection

__all__ = ["Tables", "gone", "present"]

Tables = Mapping[str, tuple[str, int | None, Mapping[str, str] | None]]
"""Each table by its number: its name, the number of its file, and its columns by theirs."""

_PRESENT = r"""
SELECT json_object_agg(c.oid, json_build_array(quote_ident(nspname) || '.' || quote_ident(relname), relfilenode, (
    SELECT json_object_agg(attnum, quote_ident(attname)) FROM pg_attribute
    WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped
)))
FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
WHERE relkind = 'r' AND relpersistence <> 't' AND nspname <> 'information_schema' AND nspname NOT LIKE 'pg\_%'
"""

_IS_EMPTY = "SELECT pg_relation_size(%s::oid) = 0"


def present(connection: Connection) -> Tables:
    """The tables that have rows of their own, as the session sees them."""
    [(found,)] = connection.execute(_PRESENT.encode()).fetchall()
    return found or {}


def gone(connection: Connection, before: Tables) -> list[Loss]:
    """What of `before` is there no more: tables, columns, and all rows of a table that was emptied."""
    found: list[Loss] = []
    now = present(connection)
    for number, (name, file, columns) in before.items():
        _, file_now, columns_now = now.get(number, (name, None, {}))
        moved = file_now not in (None, file)
        if file_now is None or (moved and connection.execute(_IS_EMPTY, [number]).fetchone() == (True,)):
            found.append(Loss(name))
        else:
            found += [Loss(name, column) for at, column in (columns or {}).items() if at not in (columns_now or {})]
    return found
