"""Functions for revisions that change many rows in short transactions: `batched_update`, `_delete` and `_insert`."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from alembic import op

from pulumi_alembic.database.connection import read_catalog
from pulumi_alembic.errors import DataLoss, MigrationError
from pulumi_alembic.migrate.blocks.keys import find_key
from pulumi_alembic.migrate.blocks.walk import Walk
from pulumi_alembic.sql.outside_transaction import BATCHED, assigned

if TYPE_CHECKING:
    from pulumi_alembic.migrate.blocks.statement import Phases

__all__ = ["batched_delete", "batched_insert", "batched_update"]

_Columns = str | Sequence[str] | None
_Changed = Literal["continue", "restart"] | None


def batched_update(
    table: str, assignments: str, *, where: str = "true", key: _Columns = None, changed: _Changed = None
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
    action = f"UPDATE {table} SET {assignments}"  # noqa: S608 - the revision's own SQL
    columns = {name.strip('"') for name in assigned(assignments)}
    _Batches("batched_update", table, action, where, key, changed).run(columns)


def batched_delete(table: str, *, where: str, key: _Columns = None, changed: _Changed = None) -> None:
    """Run `DELETE FROM table WHERE where` in transactions of about 10 ms, as `batched_update` runs an UPDATE.

    Args:
        table: the table, as SQL.
        where: the condition of the rows to delete, as SQL.
        key: the column or columns of a unique index without NULL. The primary key by default.
        changed: what to do if an interrupted run had other SQL: `continue` after its rows, or `restart`.

    Raises:
        DataLoss: the condition names no column, so that it deletes every row, and the revision is not allowed to.
        MigrationError: as `batched_update`.

    """
    _Batches("batched_delete", table, f"DELETE FROM {table}", where, key, changed).run()  # noqa: S608 - the revision's


def batched_insert(
    into: str, values: str, *, source: str, where: str = "true", key: _Columns = None, changed: _Changed = None
) -> None:
    """Run `INSERT INTO into SELECT values FROM source WHERE where` in transactions of about 10 ms.

    It walks along the key of `source` as `batched_update` does: each row that was there at the beginning is inserted
    once, even after interruptions.

    Args:
        into: the table and its columns, as SQL, such as `old_tasks (id, title)`.
        values: the values of these columns, as SQL of the source's columns.
        source: the table whose rows are read, as SQL.
        where: the condition of the rows to read, as SQL.
        key: the column or columns of a unique index of the source without NULL. The primary key by default.
        changed: what to do if an interrupted run had other SQL: `continue` after its rows, or `restart`.

    Raises:
        MigrationError: as `batched_update`.

    """
    action = f"INSERT INTO {into} SELECT {values} FROM {source}"  # noqa: S608 - the revision's own SQL
    _Batches("batched_insert", source, action, where, key, changed).run()


@dataclass(frozen=True)
class _Batches:
    """One call.

    Args:
        function: its name, for messages.
        table: the table that it walks along.
        action: the statement without a condition.

    """

    function: str
    table: str
    action: str
    where: str
    key: _Columns
    changed: _Changed

    def run(self, assigned: Collection[str] = ()) -> None:
        """Do it, or record it for a preview. `assigned` are the columns of `table` that it changes."""
        context = op.get_context()
        statement = f"{self.action} WHERE {self.where}"
        if context.as_sql:
            op.execute(f"{statement} {BATCHED}")
            return
        if recorder := context.opts.get("recorder"):
            recorder.batched(statement)
            return
        phases: Phases = context.opts["phases"]
        columns = [self.key] if isinstance(self.key, str) else self.key
        key = find_key(phases.session, self.table, columns, self.function)
        if moved := {*assigned} & {*key.names}:
            raise MigrationError(
                f"{self.function} of {self.table}: it walks along {', '.join(sorted(moved))}, and so cannot change it: "
                "key=…"
            )
        self._refuse_loss(phases, statement)
        with phases.batched(context, statement, self.changed) as attempt:
            if not attempt.done:
                walk = Walk(phases.session, self.table, self.action, self.where, key)
                walk.run(attempt.id, phases.request.job.policy, phases.tell)

    def _refuse_loss(self, phases: Phases, statement: str) -> None:
        """Raise DataLoss if it deletes each row of a table, which a revision must be allowed to do."""
        if self.function != batched_delete.__name__ or phases.may_lose:
            return
        from pulumi_alembic.migrate.data_loss.losses import losses
        from pulumi_alembic.sql.effects import effects

        catalog = read_catalog(phases.session)
        if lost := losses(effects(statement, catalog).destroys, catalog):
            phases.refuse(DataLoss(f"it would delete {', '.join(loss.described(None) for loss in lost)}"))
