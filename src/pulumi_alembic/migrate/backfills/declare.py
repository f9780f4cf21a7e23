"""`backfill`, a function for revisions: declare an update that is done later, beside the running application."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from alembic import op

from pulumi_alembic.errors import MigrationError
from pulumi_alembic.migrate.blocks.keys import find_key
from pulumi_alembic.migrate.blocks.walk import doubled
from pulumi_alembic.sql.outside_transaction import BACKFILL, assigned

if TYPE_CHECKING:
    from pulumi_alembic.database.connection import Session
    from pulumi_alembic.migrate.blocks.keys import Key
    from pulumi_alembic.migrate.blocks.statement import Phases

__all__ = ["backfill"]

_TRIED = 1000
"""Among so many rows the revision looks for one that the backfill would change. It holds its locks meanwhile."""

_FULL_NAME = """
SELECT format('%%I.%%I', n.nspname, c.relname), c.relname
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = to_regclass(%s)
"""


def backfill(table: str, *, set: str, where: str, key: str | Sequence[str] | None = None) -> None:
    """Declare that `UPDATE table SET set WHERE where` is to be done in short transactions, beside the application.

    The revision does not wait for the backfill. Only a table with at most 1,000 rows is updated at once. The stack's
    update works at the backfill for a limited time (`backfill_in_update`). `pulumi-alembic backfill run` works until it
    is verified, which means that a scan finds no row for `where`. A contract that comes after it waits for that.

    Args:
        table: the table, as SQL.
        set: the assignments, as SQL. They must make `where` false, so that each row is changed once.
        where: the condition of the rows that are still to be done, as SQL.
        key: the column or columns of a unique index without NULL, which the backfill walks along. The primary key by
            default.

    Raises:
        MigrationError: there is no such table or key, the assignments change the key, or `where` stays true for a
            changed row. The revision is rolled back.

    """
    context = op.get_context()
    statement = f"UPDATE {table} SET {set} WHERE {where}"  # noqa: S608 - the revision's own SQL
    if context.as_sql:
        op.execute(f"{statement} {BACKFILL}")
        return
    if recorder := context.opts.get("recorder"):
        recorder.backfill(statement)
        return
    phases: Phases = context.opts["phases"]
    columns = [key] if isinstance(key, str) else key
    key_columns = find_key(phases.session, table, columns, "backfill")
    if moved := {name.strip('"') for name in assigned(set)} & {*key_columns.names}:
        raise MigrationError(
            f"backfill of {table}: it walks along {', '.join(sorted(moved))}, and so cannot change it: key=…"
        )
    full, name = _named(phases.session, table)
    _refuse_endless(phases.session, full, name, set, where, key_columns)
    done = _done_at_once(phases.session, full, set, where)
    phases.ask_for(statement, {"table": full, "set": set, "where": where, "key": [*key_columns.names]}, done)


def _named(session: Session, table: str) -> tuple[str, str]:
    row = session.execute(_FULL_NAME, [table]).fetchone()
    assert row is not None  # noqa: S101 - its key was found
    return row[0], row[1]


def _done_at_once(session: Session, table: str, set: str, where: str) -> int | None:
    """Update a small table in the revision itself, as in a new database.

    Return the number of rows, None if it is large.
    """
    counted = f"SELECT count(*) FROM (SELECT FROM {table} LIMIT {_TRIED + 1}) AS sample"  # noqa: S608
    [(rows,)] = session.execute(counted.encode()).fetchall()
    if rows > _TRIED:
        return None
    return session.execute(f"UPDATE {table} SET {set} WHERE {where}".encode()).rowcount  # noqa: S608


def _refuse_endless(session: Session, table: str, name: str, set: str, where: str, key: Key) -> None:
    """Update one row, raise MigrationError if `where` is still true, and undo it.

    Syntax errors show in an empty table too.
    """
    columns = doubled(", ".join(key.columns))
    condition, alias = doubled(where), doubled('"' + name.replace('"', '""') + '"')
    some = f"(SELECT * FROM {doubled(table)} LIMIT {_TRIED}) AS {alias}"  # noqa: S608
    attempt = (
        f"UPDATE {doubled(table)} SET {doubled(set)} WHERE ({columns}) IN "  # noqa: S608
        f"(SELECT {columns} FROM {some} WHERE ({condition}) LIMIT 1) RETURNING ({condition})"
    )
    with session.transaction(force_rollback=True):
        still = session.execute(attempt.encode(), []).fetchone()
    if still != (True,):
        return
    raise MigrationError(
        f"backfill of {table}: `where` is still true for a row that was set, so it would never end. Write a condition "
        f'that the assignments make false, such as: where="{next(iter(assigned(set)), "column")} IS NULL"'
    )
