"""Compare the tables and columns before and after a statement whose text does not show what it drops."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pulumi_alembic.migrate.data_loss.losses import Loss

if TYPE_CHECKING:
    from pulumi_alembic.database.connection import Connection

__all__ = ["Names", "Tables", "gone", "names", "present"]

Tables = Mapping[str, tuple[str, int | None, int, Mapping[str, str] | None]]
"""By table oid: name, relfilenode, rows deleted so far in this transaction, and columns by their number."""

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
"""By table oid: the name as SQL, and the unquoted names of its columns by their number."""

_NAMES = r"""
SELECT c.oid::bigint, quote_ident(nspname) || '.' || quote_ident(relname), (
    SELECT json_object_agg(attnum, attname) FROM pg_attribute
    WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped
)
FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
WHERE relkind IN ('r', 'p') AND relpersistence <> 't' AND nspname <> 'information_schema' AND nspname NOT LIKE 'pg\_%'
"""


def names(connection: Connection) -> Names:
    """Return the current names of all tables and their columns."""
    rows = connection.execute(_NAMES.encode()).fetchall()
    return {oid: (name, {int(at): column for at, column in (columns or {}).items()}) for oid, name, columns in rows}


def present(connection: Connection) -> Tables:
    """Return the tables that store rows themselves, as this session sees them."""
    [(tables,)] = connection.execute(_PRESENT.encode()).fetchall()
    return tables or {}


def gone(before: Tables, now: Tables) -> tuple[list[Loss], list[Loss]]:
    """Return what was dropped since `before`, and the tables that were rewritten or had rows deleted.

    TRUNCATE and each rewrite of a table give it another relfilenode.
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
