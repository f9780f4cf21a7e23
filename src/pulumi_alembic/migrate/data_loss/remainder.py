"""What remains preserved after a restore: the rest of a table, or rows merged with the values of their columns."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from psycopg import sql

from pulumi_alembic.migrate.data_loss.columns import read_columns
from pulumi_alembic.migrate.data_loss.preserved_table import Entry, describe, numbers
from pulumi_alembic.migrate.data_loss.target import WHY

if TYPE_CHECKING:
    from pulumi_alembic.database.connection import Connection
    from pulumi_alembic.migrate.data_loss.preserved_table import Entry

__all__ = ["left_of", "merge"]


def left_of(session: Connection, entry: Entry, reason: str = "") -> Entry | None:
    """Return what remains of the entry, with its reasons. None if nothing remains. Its table is dropped then.

    The remainder gets another name, because an older backup has the whole table under the old one.

    Args:
        session: the session of the revision.
        entry: what was restored from.
        reason: why nothing was restored. Empty if each row has its own reason.

    """
    why = sql.Identifier(WHY).as_string(None)
    columns = ", ".join(sql.Identifier(column).as_string(None) for column in entry.columns)
    number = f"coalesce(sum(num_nonnulls({columns})), 0)::bigint" if columns else "count(*)"
    if reason:
        [(count,)] = session.execute(f"SELECT {number} FROM {entry.place}".encode()).fetchall()
        reasons = {reason: count} if count else {}
    elif WHY in read_columns(session, entry.place):
        rows = session.execute(f"SELECT {why}, {number} FROM {entry.place} GROUP BY 1 ORDER BY 2 DESC, 1".encode())
        reasons = dict(rows.fetchall())
    else:
        reasons = {}
    if not reasons:
        session.execute(f"DROP TABLE {entry.place}".encode())
        return None
    total = sum(reasons.values())
    counts = numbers(session, entry, entry.columns) if entry.columns else {}
    left = replace(entry, why=reasons, waits="", rows=total, counts=counts)
    if not reason and total != entry.rows:
        left = replace(left, name=_next(entry.name))
        new = sql.Identifier(left.name).as_string(None)
        session.execute(f"ALTER TABLE {entry.place} RENAME TO {new}".encode())
    [(size,)] = session.execute("SELECT pg_table_size(%s)", [left.place]).fetchall()
    left = replace(left, bytes=size)
    describe(session, left)
    return left


def _next(name: str) -> str:
    match = re.fullmatch(r"(.*_[0-9a-f]{8})(?:_(\d+))?", name)
    return f"{match[1]}_{int(match[2] or 1) + 1}" if match else f"{name}_2"


def merge(session: Connection, rows: Entry, values: Entry) -> bool:
    """Return whether the preserved values were added to the preserved rows. Their own table is dropped then."""
    row_columns, value_columns = read_columns(session, rows.place), read_columns(session, values.place)
    if {*values.columns} & {*row_columns} or not {*values.key} <= {*row_columns}:
        return False
    same = " AND ".join(
        f"r.{value_columns[column].sql}::text = v.{value_columns[column].sql}::text" for column in values.key
    )
    [(alone,)] = session.execute(
        # count(*) instead of EXISTS: for the first row only, the planner would choose a nested loop.
        f"SELECT count(*) FROM {values.place} v WHERE NOT EXISTS (SELECT FROM {rows.place} r WHERE {same})".encode()
    ).fetchall()
    if alone:
        return False
    added = ", ".join(
        f"ADD COLUMN {value_columns[column].sql} {value_columns[column].full}" for column in values.columns
    )
    assigned = ", ".join(f"{value_columns[column].sql} = v.{value_columns[column].sql}" for column in values.columns)
    session.execute(f"ALTER TABLE {rows.place} {added}".encode())
    session.execute(f"UPDATE {rows.place} r SET {assigned} FROM {values.place} v WHERE {same}".encode())
    session.execute(sql.SQL("DROP TABLE {}").format(sql.SQL(values.place)))
    types = {name: of for name, of in values.types.items() if name in values.columns}
    describe(session, replace(rows, types={**rows.types, **types}))
    return True
