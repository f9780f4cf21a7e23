"""The steps of one run of Alembic: which one runs, which are left, and whether it committed anything on its own."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import psycopg
import sqlalchemy as sa

from pulumi_alembic.database.connection import VERSION_TABLE
from pulumi_alembic.errors import MigrationError, Moved
from pulumi_alembic.scripts.plan import revision_text

if TYPE_CHECKING:
    from alembic.runtime.migration import MigrationContext, RevisionStep

    from pulumi_alembic.database.connection import Aborted, Session
    from pulumi_alembic.database.sessions import Wait

__all__ = ["Running"]

IDLE = psycopg.pq.TransactionStatus.IDLE


class Running:
    """Follows one run through all of its attempts: each step of it is committed once, in order.

    `step` is the revision that runs, None before the first. `committed` says that a part of it is in the database for
    good, whatever becomes of the rest: by commit(), or by a COMMIT among its statements. `outside` says that it began
    a block, whose effect the next run finds. `statements` counts those of this attempt at it. `aborted` is the error
    that aborted the transaction of the last attempt, which its script may have caught, and `wait_ended` the wait before
    its first revision that a limit ended. `on_steps` gets the steps,
    before the first, and the session of this attempt; `on_step` each of them, before each of its attempts. `on_begin`
    is called then too, and is that of the attempt.
    """

    def __init__(
        self,
        on_steps: Callable[[list[Any], Session], None],
        on_step: Callable[[RevisionStep], None],
    ) -> None:
        self.step: RevisionStep | None = None
        self.committed = False
        self.outside = False
        self.statements = 0
        self.aborted: Aborted | None = None
        self.wait_ended: Wait | None = None
        self.on_begin: Callable[[], None] = lambda: None
        self._begun = 0.0
        self._on_steps = on_steps
        self._on_step = on_step
        self._left: list[Any] | None = None
        self._before: frozenset[str] = frozenset()
        self._after: frozenset[str] | None = None

    @property
    def name(self) -> str:
        """The id of the revision that runs; empty before the first."""
        return str(self.step.revision.revision) if self.step is not None else ""

    @property
    def upgrades(self) -> bool:
        """Whether a revision runs, and upward."""
        return self.step is not None and self.step.is_upgrade

    @property
    def following(self) -> tuple[str, ...]:
        """The ids of the revisions that are still to run after it, in order."""
        return tuple(str(step.revision.revision) for step in (self._left or [])[1:] if hasattr(step, "revision"))

    @property
    def before(self) -> tuple[str, ...]:
        """The heads that the step begins at."""
        return tuple(sorted(self._before))

    @property
    def seconds(self) -> float:
        """Since this attempt at the step began."""
        return time.monotonic() - self._begun

    @property
    def complete(self) -> bool:
        """Whether the step has run, so that the next commit is its end."""
        return self._after is not None

    def follow(self, context: MigrationContext, engine: sa.Engine, session: Session) -> None:
        """Begin an attempt with the run of `context`, which uses `engine`, whose only connection is `session`."""
        # Private in Alembic 1.20, and the only place that knows the step also where the commit itself fails.
        steps = context._migrations_fn
        context._migrations_fn = lambda heads, of: self._run(heads, session, context, lambda: steps(heads, of))  # type: ignore[misc]

        def after_statement(_: Any, __: Any, statement: str, *___: Any) -> None:
            self.statements += VERSION_TABLE not in statement
            if session.info.transaction_status == IDLE:
                self.committed = True

        def before_commit(_: Any) -> None:
            # The commit after the version was recorded is Alembic's own, the end of the step.
            self.committed = self.committed or self._after is None

        sa.event.listen(engine, "after_cursor_execute", after_statement)
        sa.event.listen(engine, "commit", before_commit)

    def recorded(self, context: MigrationContext, heads: set[str]) -> None:
        """The step has run, and `heads` are recorded in its transaction: only the commit is to come.

        Raises MigrationError where the step had ended that transaction, so that what was recorded would be lost.
        """
        connection = context.connection
        if connection is not None and connection.get_transaction() is not context._transaction:
            raise MigrationError(
                "the revision ended its transaction by commit() or rollback(), so that its version cannot be recorded "
                "with it. For a statement that cannot run in a transaction: with op.get_context().autocommit_block(): …"
            )
        self._after = frozenset(heads)

    def stamped(self, heads: set[str]) -> None:
        """As `recorded`, of a stamp, which runs no revision."""
        self._after = frozenset(heads)

    def _run(
        self, heads: Sequence[str], session: Session, context: MigrationContext, steps: Callable[[], Any]
    ) -> Iterator[Any]:
        """The steps that are left, given the heads that the database has at the beginning of this attempt.

        They are counted once: run again, `alembic upgrade +1` would mean one more.
        """
        if self._left is None:
            self._left, self._before = list(steps()), frozenset(heads)
            self._on_steps(self._left, session)
        elif frozenset(heads) == self._after:
            # What looked like a failure was a commit whose answer got lost.
            self._next()
        elif frozenset(heads) != self._before:
            raise Moved(
                f"another migration brought the database from {revision_text(tuple(self._before))} to "
                f"{revision_text(heads)} while the connection was lost"
            )
        if self._left and not heads and context.connection is not None:
            # Alembic has just created its table, which is no part of the first revision.
            context.connection.commit()
        while self._left:
            # A stamp runs no revision.
            self.step = self._left[0] if hasattr(self._left[0], "revision") else None
            self.committed, self.outside, self._after = False, False, None
            self.statements, self._begun = 0, time.monotonic()
            if self.step is not None:
                self._on_step(self.step)
                self.on_begin()
            yield self._left[0]
            self._next()

    def _next(self) -> None:
        assert self._left  # noqa: S101 - it is a step of these that has ended
        del self._left[0]
        self._before = self._after if self._after is not None else self._before
