"""The steps of one run of Alembic: the running one, the remaining ones, and whether a step committed on its own."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

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
    """Follows a run through all its attempts: each step is committed once, in order.

    Args:
        on_steps: gets all steps before the first one, and the session of this attempt.
        on_step: gets each step before each attempt at it.

    Attributes:
        step: the revision that runs. None before the first one, and for a stamp.
        committed: a part of the step is committed whatever happens next, by commit() or a COMMIT statement.
        outside: the step began a block outside the transaction. The next run finds its effect.
        statements: how many statements this attempt at the step has sent.
        refused: the first refusal of what the step's script does. The script can have caught it; the step still fails.
        aborted: the error that aborted the last attempt's transaction. The script can have caught it.
        wait_ended: the wait before the first revision that a limit ended.
        on_begin: the current attempt's callback, called after `on_step`.

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
        self.refused: MigrationError | None = None
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
        """The id of the running revision. Empty before the first one."""
        return str(self.step.revision.revision) if self.step is not None else ""

    @property
    def upgrades(self) -> bool:
        """Whether the running step is an upgrade."""
        return self.step is not None and self.step.is_upgrade

    @property
    def following(self) -> tuple[str, ...]:
        """The ids of the revisions after the running one, in order."""
        return tuple(str(step.revision.revision) for step in (self._left or [])[1:] if hasattr(step, "revision"))

    @property
    def before(self) -> tuple[str, ...]:
        """The heads that the step begins at."""
        return tuple(sorted(self._before))

    @property
    def seconds(self) -> float:
        """Seconds since this attempt at the step began."""
        return time.monotonic() - self._begun

    @property
    def complete(self) -> bool:
        """Whether the script has ended, so that the next commit ends the step."""
        return self._after is not None

    def follow(self, context: MigrationContext, engine: sa.Engine, session: Session) -> None:
        """Follow a new attempt, which Alembic runs with `context` on `engine`. Its only connection is `session`."""
        # Private in Alembic 1.20. Only this function still knows the step if the commit itself fails.
        steps = context._migrations_fn
        context._migrations_fn = lambda heads, of: self._run(heads, session, context, lambda: steps(heads, of))  # type: ignore[misc]

        def after_statement(_: Any, __: Any, statement: str, *___: Any) -> None:
            self.statements += VERSION_TABLE not in statement
            if session.info.transaction_status == IDLE:
                self.committed = True

        def before_commit(_: Any) -> None:
            # Alembic commits after it has recorded the version: this commit ends the step.
            self.committed = self.committed or self._after is None

        sa.event.listen(engine, "after_cursor_execute", after_statement)
        sa.event.listen(engine, "commit", before_commit)

    def refuse(self, error: MigrationError) -> NoReturn:
        """Raise `error`, which ends the step even if its script catches it."""
        self.refused = self.refused or error
        raise error from None

    def require_unrefused(self) -> None:
        """Raise the refusal that the step's script has caught, if there is one."""
        if self.refused is not None:
            raise self.refused from None

    def recorded(self, context: MigrationContext, heads: set[str]) -> None:
        """Note that the step has run and `heads` are recorded in its transaction. Only the commit remains.

        Raises:
            MigrationError: the script ended that transaction itself, so that the version would not be recorded with its
                changes.

        """
        connection = context.connection
        if connection is not None and connection.get_transaction() is not context._transaction:
            raise MigrationError(
                "the revision ended its transaction by commit() or rollback(), so that its version cannot be recorded "
                "with it. For a statement that cannot run in a transaction: with op.get_context().autocommit_block(): …"
            )
        self._after = frozenset(heads)

    def stamped(self, heads: set[str]) -> None:
        """Note that a stamp recorded `heads`. It runs no revision."""
        self._after = frozenset(heads)

    def _run(
        self, heads: Sequence[str], session: Session, context: MigrationContext, steps: Callable[[], Any]
    ) -> Iterator[Any]:
        """Yield the remaining steps, given the database's heads at the beginning of this attempt.

        The steps are determined once: at a second attempt, `alembic upgrade +1` would mean one more revision.
        """
        if self._left is None:
            self._left, self._before = list(steps()), frozenset(heads)
            self._on_steps(self._left, session)
        elif frozenset(heads) == self._after:
            # The commit succeeded, but the server's answer was lost.
            self._next()
        elif frozenset(heads) != self._before:
            raise Moved(
                f"another migration brought the database from {revision_text(tuple(self._before))} to "
                f"{revision_text(heads)} while the connection was lost"
            )
        if self._left and not heads and context.connection is not None:
            # Commit Alembic's new version table separately, because it does not belong to the first revision.
            context.connection.commit()
        while self._left:
            # A stamp runs no revision.
            self.step = self._left[0] if hasattr(self._left[0], "revision") else None
            self.committed, self.outside, self._after = False, False, None
            self.statements, self.refused, self._begun = 0, None, time.monotonic()
            if self.step is not None:
                self._on_step(self.step)
                self.on_begin()
            yield self._left[0]
            self._next()

    def _next(self) -> None:
        assert self._left  # noqa: S101 - the step that has ended is the first of them
        del self._left[0]
        self._before = self._after if self._after is not None else self._before
