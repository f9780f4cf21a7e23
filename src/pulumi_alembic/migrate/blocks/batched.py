"""`batched_update`, a function for revisions: a long update of a table that others use meanwhile."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from alembic import op

from pulumi_alembic.errors import MigrationError
from pulumi_alembic.migrate.blocks.keys import find_key
from pulumi_alembic.migrate.blocks.walk import Walk
from pulumi_alembic.sql.outside_transaction import BATCHED, assigned

if TYPE_CHECKING:
    from pulumi_alembic.migrate.blocks.statement import Phases

__all__ = ["batched_update"]


def batched_update(
    table: str,
    assignments: str,
    *,
    where: str = "true",
    key: str | Sequence[str] | None = None,
    changed: Literal["continue", "restart"] | None = None,
) -> None:
    """Run `UPDATE table SET assignments WHERE where` once for each row, in transactions of about 10 ms.

    It walks along the key up to the row that was the last one at the beginning. Rows inserted meanwhile are not
    updated. After an interruption, the next run continues after the last committed row. It runs in a block of its own,
    so it comes before the statements of the revision's transaction.

    It yields to other sessions: it holds no row for long, and waits for none for long. It rests if a session waits for
    it or a replica falls behind.

    Args:
        table: the table, as SQL.
        assignments: as SQL. They must not change the key.
        where: the condition of the rows to update, as SQL.
        key: the column or columns of a unique index without NULL. The primary key by default.
        changed: what to do if an interrupted run had other SQL: `continue` after its rows, or `restart`.

    Raises:
        MigrationError: there is no such key, or the SQL was changed and `changed` does not say what to do. Nothing is
            changed.

    """
    context = op.get_context()
    statement = f"UPDATE {table} SET {assignments} WHERE {where}"  # noqa: S608 - the revision's own SQL
    if context.as_sql:
        op.execute(f"{statement} {BATCHED}")
        return
    if recorder := context.opts.get("recorder"):
        recorder.batched(statement)
        return
    phases: Phases = context.opts["phases"]
    columns = [key] if isinstance(key, str) else key
    key_columns = find_key(phases.session, table, columns)
    if moved := {name.strip('"') for name in assigned(assignments)} & set(key_columns.names):
        raise MigrationError(
            f"batched_update of {table}: it walks along {', '.join(sorted(moved))}, and so cannot change it: key=…"
        )
    with phases.batched(context, statement, changed) as attempt:
        if not attempt.done:
            walk = Walk(phases.session, table, assignments, where, key_columns)
            walk.run(attempt.id, phases.request.job.policy, phases.tell)
