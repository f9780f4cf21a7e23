"""Statements outside a transaction: one in a block, recorded in the ledger before and after, with effect only once."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import psycopg
import sqlalchemy as sa

from pulumi_alembic.database.connection import own_rows
from pulumi_alembic.database.migration_lock import ending, poll
from pulumi_alembic.database.sessions import Session as Holder
from pulumi_alembic.database.sessions import holding
from pulumi_alembic.errors import DatabaseError, MigrationError
from pulumi_alembic.ledger import ledger
from pulumi_alembic.ledger.ledger import Attempt, Event, Run
from pulumi_alembic.scripts.plan import Direction
from pulumi_alembic.sql.outside_transaction import Statement, StatementError, alone, ends_transaction, recognise

if TYPE_CHECKING:
    from alembic.runtime.migration import MigrationContext

    from pulumi_alembic.database.connection import Session
    from pulumi_alembic.migrate.job import Request
    from pulumi_alembic.migrate.step_follower import Running

__all__ = ["KEY", "Phases"]

KEY = int.from_bytes(b"phases", "big")
"""The advisory lock of a session that runs statements outside a transaction. It is held even after the client died."""

NOTHING = "SELECT WHERE false"
"""Replaces a statement that already took effect."""

_NO_LIMIT = """
SELECT set_config('pulumi_alembic.statement_timeout', current_setting('statement_timeout'), false),
    set_config('statement_timeout', '0', false)
"""
_AS_BEFORE = """
SELECT pg_advisory_unlock(%s),
    set_config('statement_timeout', current_setting('pulumi_alembic.statement_timeout'), false)
"""
"""A script may have set a limit, and taken advisory locks, of its own."""

_SAY_AGAIN = 10.0  # seconds

NO_END = "Leave BEGIN, COMMIT and ROLLBACK out: each revision runs in a transaction of its own"
ADVICE = "What cannot run in one belongs in a block of its own: with op.get_context().autocommit_block(): …"


class Phases:
    """Lets a revision commit nothing before it is complete, except the effect of each of its blocks.

    A block contains one statement. The ledger gets an intent before it and a row after it. A later run repairs what an
    interrupted one left, and does not repeat what took effect. A statement in the wrong place raises MigrationError
    before it runs, and the whole transaction is rolled back.
    """

    def __init__(self, session: Session, running: Running, request: Request, record: Callable[..., int]) -> None:
        """Prepare one attempt.

        `record` adds a ledger row for the running revision: its event, then keywords of `Row`.
        """
        self.session = session
        self.request = request
        self._running = running
        self._record = record
        self._step: object = None
        self._phase = 0
        self._inside = False
        self._ran: str | None = None
        self._intent: int | None = None
        self._limits = False

    @property
    def may_lose(self) -> bool:
        """Whether the stack allows the running revision to delete rows."""
        return self._running.name in self.request.job.allow_data_loss

    def refuse(self, error: MigrationError) -> None:
        """Raise the error, also if the script catches it."""
        self._running.refuse(error)

    def tell(self, text: str) -> None:
        """Report a text about the running revision."""
        self.request.listener.status(f"{self._running.name}: {text}")

    def follow(self, context: MigrationContext, engine: sa.Engine) -> None:
        """Check the statements of Alembic's `context`, which uses `engine`. Its only connection is the session."""
        block = context.autocommit_block
        context.autocommit_block = lambda: self._block(block)  # type: ignore[method-assign]
        sa.event.listen(engine, "commit", self._before_commit)
        sa.event.listen(engine, "before_cursor_execute", self._before, retval=True)
        sa.event.listen(engine, "after_cursor_execute", self._after)

    def ask_for(self, statement: str, backfill: Mapping[str, Any], done: int | None) -> None:
        """Record a backfill that the running revision declares, in its transaction.

        `done` is the number of rows set already.
        """
        if self.request.observer is not None:
            self.request.observer.backfill(statement)
        heads = Run(self._running.before, self._running.before)
        id = self._record(Event.BACKFILL, run=heads, statement=statement, detail=backfill)
        if done is not None:
            verified = {"backfill": id, "name": backfill["table"], "state": "verified", "changed": done}
            self._record(Event.BACKFILL, run=heads, detail=verified)

    @contextmanager
    def batched(self, context: MigrationContext, statement: str, changed: str | None) -> Iterator[Attempt]:
        """Open a block for statements in batches.

        Its session is `session`, and its attempt is done at the end of the block.

        Args:
            context: Alembic's context.
            statement: identifies them.
            changed: what to do if the earlier run had another statement: `continue` after its rows, or `restart`.

        Returns:
            The attempt: that of an earlier run if it continues, which is `done` if that run completed it.

        Raises:
            MigrationError: the statement was changed, and `changed` is None.

        """
        with context.autocommit_block():
            if self.request.observer is not None:
                self.request.observer.batched(statement)
            self._ran = statement
            self._alone()
            earlier = [started for started in self._attempts() if started.phase == self._phase]
            if earlier and earlier[-1].statement != statement and changed is None:
                raise MigrationError(_changed(earlier[-1], statement))
            again = bool(earlier) and (earlier[-1].statement == statement or changed == "continue")
            attempt = earlier[-1] if again else self._intend(statement, {})
            yield attempt
            self._intent = None if attempt.done else attempt.id
            self._done()

    @contextmanager
    def _block(self, block: Callable[[], Any]) -> Iterator[None]:
        if self._inside:
            self._running.refuse(
                MigrationError("a block within a block: each statement outside a transaction has its own")
            )
        self._refuse_half_state(
            "a block behind statements of the revision's transaction, which it would commit before the revision is "
            "complete: put it before them, or split the revision in two"
        )
        if self._running.step is not self._step:
            self._step, self._phase = self._running.step, 0
        self._phase += 1
        committed, self._running.outside = self._running.committed, True
        try:
            with block():
                self._inside, self._ran = True, None
                try:
                    yield
                finally:
                    self._inside = False
                    self._release()
        finally:
            # The next run finds what a block has committed, and does not repeat it.
            self._running.committed = committed

    def _before_commit(self, _: sa.Connection) -> None:
        if self._running.step is not None and not self._running.complete and not self._inside:
            self._refuse_half_state(f"the revision's transaction is not for the script to commit. {NO_END}")

    def _refuse_half_state(self, problem: str) -> None:
        """Raise MigrationError if a commit now would leave a part of the revision committed."""
        with own_rows(self.session):
            row = self.session.execute("SELECT txid_current_if_assigned() IS NOT NULL").fetchone()
        if row == (True,):
            self.session.rollback()
            self._running.refuse(MigrationError(problem))

    def _before(self, _: sa.Connection, __: object, text: str, parameters: Any, *___: object) -> tuple[str, Any]:
        if self._running.step is None:
            return text, parameters
        self._running.require_unrefused()
        if self._inside:
            # SQLAlchemy doubles percent signs, which psycopg halves again.
            return (NOTHING, parameters) if self._begin(text.replace("%%", "%")) else (text, parameters)
        statement = recognise(text)
        if self.session.autocommit or (statement and statement.kind.needs_block):
            subject = statement.kind if statement else "a statement outside a transaction"
            self.session.rollback()
            self._running.refuse(
                MigrationError(f"{subject} in the wrong place: a revision runs in a transaction. {ADVICE}")
            )
        if ends_transaction(text):
            self.session.rollback()
            self._running.refuse(MigrationError(f"the revision's transaction is not for the script to end. {NO_END}"))
        return text, parameters

    def _after(self, *_: object) -> None:
        if self._inside:
            self._done()

    def _begin(self, text: str) -> bool:
        """Return whether the statement already took effect, so that it must not run."""
        if self._ran is not None:
            self._running.refuse(
                MigrationError("a second statement in an autocommit block: give it a block of its own")
            )
        try:
            statement = alone(text)
        except StatementError as error:
            self._running.refuse(MigrationError(str(error)))
        self._ran = text
        self._alone()
        attempts = [
            earlier for earlier in self._attempts() if not earlier.detail.get("there") and _same(earlier, statement)
        ]
        from pulumi_alembic.migrate.blocks import repair

        repair.repair(self.session, statement, self.tell)
        exists = repair.took_effect(self.session, statement)
        if exists and (attempts or statement.lenient):
            if not any(earlier.done for earlier in attempts):
                self._intent = attempts[-1].id if attempts else self._intend(text, {"there": True}).id
            return True
        self._intend(text, {"there": exists})
        return False

    def _intend(self, text: str, detail: dict[str, Any]) -> Attempt:
        self._intent = self._record(Event.INTENT, phase=self._phase, statement=text, detail=detail)
        return Attempt(self._intent, "", "", self._phase, text, detail, False)

    def _done(self) -> None:
        if self._intent is not None:
            detail = {"intent": self._intent}
            self._record(Event.DONE, phase=self._phase, statement=self._ran, detail=detail)
            self._intent = None

    def _attempts(self) -> list[Attempt]:
        """Return the attempts of earlier runs of the revision, in this direction."""
        step: Any = self._step
        direction = Direction.of(is_upgrade=step.is_upgrade)
        return [
            attempt
            for attempt in ledger.attempts(self.session)
            if attempt.revision == step.revision.revision and attempt.direction == direction
        ]

    def _alone(self) -> None:
        """Wait until no session of a dead client runs a block, and lift the statement_timeout for this one."""
        self.session.execute(_NO_LIMIT)
        self._limits = True

        def on_wait(waited: float, again: bool) -> None:
            holder = self._holder()
            if waited > self.request.job.policy.lock_deadline:
                raise DatabaseError(
                    f"waited {waited:.0f} s (lock_deadline) for {holder or 'a session'}, which an earlier run left "
                    f"behind and which still runs its statement. Let it end{ending(holder)}"
                )
            if again:
                self.tell(f"waiting for {holder or 'a session'}, which an earlier run left behind")

        poll(self._take, on_wait, time.monotonic(), _SAY_AGAIN)

    def _take(self) -> bool:
        with own_rows(self.session):
            return self.session.execute("SELECT pg_try_advisory_lock(%s)", [KEY]).fetchone() == (True,)

    def _holder(self) -> Holder | None:
        with own_rows(self.session):
            return holding(self.session, KEY)

    def _release(self) -> None:
        if self._limits:
            self._limits = False
            with suppress(psycopg.Error):
                self.session.execute(_AS_BEFORE, [KEY])


def _same(attempt: Attempt, statement: Statement) -> bool:
    earlier = recognise(attempt.statement)
    return earlier is not None and (earlier.kind, earlier.name, earlier.label) == (
        statement.kind,
        statement.name,
        statement.label,
    )


def _changed(attempt: Attempt, statement: str) -> str:
    state = "completed" if attempt.done else "interrupted half-way"
    return (
        f"in an earlier run the batches here were {state}, and the statement was another one:\n"
        f"  then: {attempt.statement}\n  now:  {statement}\n"
        "Restore it, so that each row is done once; or say what is to happen: "
        "changed='continue' leaves the rows it did as they are, changed='restart' begins with the first row again"
    )
