"""The revision that runs: which one it is, and whether it committed anything on its own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import psycopg
import sqlalchemy as sa

from pulumi_alembic.errors import MigrationError

if TYPE_CHECKING:
    from alembic.runtime.migration import MigrationContext, RevisionStep

__all__ = ["Running"]

IDLE = psycopg.pq.TransactionStatus.IDLE


class Running:
    """Follows one run of Alembic: `step` is the revision that runs, None before the first.

    `committed` says that a part of it is in the database for good, whatever becomes of the rest: by an
    autocommit_block, by commit(), or by a COMMIT among its statements.
    """

    def __init__(self) -> None:
        self.step: RevisionStep | None = None
        self.committed = False
        self._recorded = False

    def follow(self, context: MigrationContext, engine: sa.Engine, session: psycopg.Connection[Any]) -> None:
        """Begin with the run of `context`, which uses `engine`, whose only connection is `session`."""
        # Private in Alembic 1.20, and the only place that knows the step also where the commit itself fails.
        steps = context._migrations_fn

        def watched(heads: Any, context: MigrationContext) -> Iterator[RevisionStep]:
            for step in steps(heads, context):  # type: ignore[misc]
                # A stamp runs no revision.
                self.step = step if hasattr(step, "revision") else None
                self.committed = self._recorded = False
                yield step

        def after_statement(*_: Any) -> None:
            if session.info.transaction_status == IDLE:
                self.committed = True

        def before_commit(_: Any) -> None:
            # The commit after the version was recorded is Alembic's own, the end of the step.
            self.committed = self.committed or not self._recorded

        context._migrations_fn = watched
        sa.event.listen(engine, "after_cursor_execute", after_statement)
        sa.event.listen(engine, "commit", before_commit)

    def recorded(self, context: MigrationContext) -> None:
        """The step has run, and its version is recorded in its transaction: only the commit is to come.

        Raises MigrationError where the step had ended that transaction, so that what was recorded would be lost.
        """
        connection = context.connection
        if connection is not None and connection.get_transaction() is not context._transaction:
            raise MigrationError(
                "the revision ended its transaction by commit() or rollback(), so that its version cannot be recorded "
                "with it. For a statement that cannot run in a transaction: with op.get_context().autocommit_block(): …"
            )
        self._recorded = True
