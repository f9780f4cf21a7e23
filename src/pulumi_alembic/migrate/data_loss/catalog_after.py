"""Which tables and columns are there: told twice, before and after what shows in no text, it says what went between."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pulumi_alembic.migrate.data_loss.losses import Loss

if TYPE_CHECKING:
    from pulumi_alembic.database.connection import Connection

__all__ = ["Names", "Tables", "gone", "names", "present"]

Tables = Mapping[str, tuple[str, int | None, int, Mapping[str, str] | None]]
"""Each table by its number: its name, the number of its file, rows deleted so far, and its columns by their numbers."""

_PRESENT = r"""
SELECT json_object_agg(c.oid, json_build_array(
    quote_ident(nspname) || '.' || quote_ident(relname), relfilenode, pg_stat_get_xact_tuples_deleted(c.oid), (
        SELECT json_object_agg(attnum, quote_ident(attname)) FROM pg_attribute
        WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped
    )
))
FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
WHERE relkind = 'r' AND relpersistence <> 't' AND nspname <> 'information_schema' AND nspname NOT LIKE 'pg\_%'
"""

Names = Mapping[int, tuple[str, Mapping[int, str]]]
"""Each table by its number: its name in SQL, and the names of its columns, which are not in SQL, by their numbers."""

_NAMES = r"""
SELECT c.oid::bigint, quote_ident(nspname) || '.' || quote_ident(relname), (
    SELECT json_object_agg(attnum, attname) FROM pg_attribute
    WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped
)
FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
WHERE relkind IN ('r', 'p') AND relpersistence <> 't' AND nspname <> 'information_schema' AND nspname NOT LIKE 'pg\_%'
"""


def names(connection: Connection) -> Names:
    """What the tables and their columns are called now."""
    rows = connection.execute(_NAMES.encode()).fetchall()
    return {oid: (name, {int(at): column for at, column in (columns or {}).items()}) for oid, name, columns in rows}


def present(connection: Connection) -> Tables:
    """The tables that have rows of their own, as the session sees them."""
    [(tables,)] = connection.execute(_PRESENT.encode()).fetchall()
    return tables or {}


def gone(before: Tables, now: Tables) -> tuple[list[Loss], list[Loss]]:
    """What of `before` is there no more; and the tables that have another file, or that rows were deleted from.

    A file is another one after TRUNCATE, and after what writes every row again.
    """
    lost: list[Loss] = []
    touched: list[Loss] = []
    for number, (name, file, deleted, columns) in before.items():
        if number not in now:
            lost.append(Loss(name))
            continue
        _, file_now, deleted_now, columns_now = now[number]
        lost += [
            Loss(name, column, only=True) for at, column in (columns or {}).items() if at not in (columns_now or {})
        ]
        if file_now != file or deleted_now > deleted:
            touched.append(Loss(name))
    return lost, touched
