"""Rows and, kept before them, values of their columns: one kept table of both."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from psycopg import sql

from pulumi_alembic.keeping.columns import read_columns
from pulumi_alembic.keeping.entry import describe

if TYPE_CHECKING:
    from pulumi_alembic.database import Connection
    from pulumi_alembic.keeping.entry import Entry

__all__ = ["merge"]


def merge(session: Connection, rows: Entry, values: Entry) -> bool:
    """Whether the rows have the values from now on, so that these are kept no more by themselves."""
    there, known = read_columns(session, rows.place), read_columns(session, values.place)
    if {*values.columns} & {*there} or not {*values.key} <= {*there}:
        return False
    same = " AND ".join(f"r.{known[each].sql}::text = v.{known[each].sql}::text" for each in values.key)
    [(alone,)] = session.execute(
        # Counted, and not only looked for: the planner would take the first to be near, and look for each by itself.
        f"SELECT count(*) FROM {values.place} v WHERE NOT EXISTS (SELECT FROM {rows.place} r WHERE {same})".encode()
    ).fetchall()
    if alone:
        return False
    added = ", ".join(f"ADD COLUMN {known[each].sql} {known[each].full}" for each in values.columns)
    assigned = ", ".join(f"{known[each].sql} = v.{known[each].sql}" for each in values.columns)
    session.execute(f"ALTER TABLE {rows.place} {added}".encode())
    session.execute(f"UPDATE {rows.place} r SET {assigned} FROM {values.place} v WHERE {same}".encode())
    session.execute(sql.SQL("DROP TABLE {}").format(sql.SQL(values.place)))
    types = {name: of for name, of in values.types.items() if name in values.columns}
    describe(session, replace(rows, types={**rows.types, **types}))
    return True
