"""`batched_update`, for revisions: a long update of a table that is used meanwhile."""

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
    """`UPDATE table SET assignments WHERE where`, each row once, in transactions of about a fiftieth of a second.

    It walks from the first row to the one that is the last at its beginning, along `key`, the primary key unless
    another one is named; rows that are inserted meanwhile are for whoever inserts them. Where it is killed, the next
    run goes on behind the last row that was done. It has a block of its own, and so comes before the statements of the
    revision's transaction. It makes way for others: it neither holds a row for long nor waits long for one, and rests
    where somebody waits for it or a replica falls behind.

    `table`, `assignments` and `where` are SQL. `changed` says what is to happen where an interrupted run had other SQL
    here. Raises MigrationError, before anything is changed, if there is no such key.
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
