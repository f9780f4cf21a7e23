"""Take the strong table locks of a revision together before its first change, so that others do not queue for long."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Any

import psycopg
import sqlalchemy as sa

from pulumi_alembic.database import server_message
from pulumi_alembic.database.connection import log_in, read_catalog_document, send
from pulumi_alembic.database.literals import Unbindable, bound
from pulumi_alembic.database.sessions import locking, others, those
from pulumi_alembic.database.tenant import schema_of
from pulumi_alembic.errors import DatabaseError
from pulumi_alembic.migrate.statement_error import as_its_error
from pulumi_alembic.output.redact import redact
from pulumi_alembic.policy import parse_duration

if TYPE_CHECKING:
    from alembic.runtime.migration import RevisionStep

    from pulumi_alembic.database.connection import Session
    from pulumi_alembic.database.retry import Retries
    from pulumi_alembic.migrate.activity import Watch
    from pulumi_alembic.migrate.job import Forecast, Request
    from pulumi_alembic.migrate.step_follower import Running
    from pulumi_alembic.sql.lock_plan import LockPlan

__all__ = ["Advance", "LooksAhead", "TableLocks"]

_SAVEPOINT = "pulumi_alembic_locks"
_TRIAL = "pulumi_alembic_trial"
_BACK = f"ROLLBACK TO SAVEPOINT {_SAVEPOINT}; RELEASE SAVEPOINT {_SAVEPOINT}".encode()

_QUEUES = (0.005, 0.010, 0.020, 0.025)
"""Seconds that each try waits in the queue of a table. Others queue behind it for the same time."""

_RESTS = (10.0, 15.0)
"""Range of a factor, drawn at random: the pause after a try is this many times as long as its wait."""

_BEYOND_DEADLOCK = 1.0
"""Seconds to wait beyond the server's deadlock_timeout, which is when a waiting session cancels autovacuum."""


class LooksAhead(BaseException):
    """Ends an attempt before its first revision, so that no session is open while the locks of its steps are found.

    It is not an Exception, because no step has failed.
    """

    def __init__(self, steps: Sequence[RevisionStep], document: Any) -> None:
        super().__init__()
        self.steps = steps
        self.document = document


class TableLocks:
    """The strong locks of a run's steps, and how they are acquired.

    They are taken together, right before the first statement that needs one. The run waits at most the policy's
    `lock_wait_max`, then releases all of them before it tries again. Other locks are limited by the session's
    `lock_timeout`. While no other session is connected to the database, no locks are searched for.
    """

    def __init__(self, request: Request, retries: Retries, watch: Watch) -> None:
        self._request = request
        self._policy = request.job.policy
        self._retries = retries
        self._watch = watch
        self._plans: Mapping[str, LockPlan] = {}
        self._told: set[str] = set()

    def look(self, steps: Sequence[Any], session: Session) -> None:
        """Raise LooksAhead if other sessions are connected, because one of them could have to wait for a step."""
        request = self._request
        if request.observer is not None or request.lock is None or schema_of(session):
            # For each tenant, the catalog of all tenants would be read.
            return
        revisions = [step for step in steps if hasattr(step, "revision")]
        if revisions and others(session, [session.info.backend_pid, request.lock.pid]):
            raise LooksAhead(revisions, None if request.locks else read_catalog_document(session))

    def learn(self, ahead: LooksAhead, forecast: Forecast) -> None:
        """Find the locks of the steps: from the approved plan, otherwise by static analysis."""
        if self._request.locks is not None:
            self._plans = self._request.locks()
            return
        scripts = [self._request.script(step) for step in ahead.steps]
        self._plans = forecast(scripts, is_upgrade=ahead.steps[0].is_upgrade, document=ahead.document)

    def plan(self, revision: str) -> LockPlan | None:
        """Return the locks to take for the revision, or None. Report once if the analysis does not know all of them."""
        plan = self._plans.get(revision)
        if plan is not None and plan.unknown:
            self._tell(revision, f"not all of its locks are known in advance ({plan.unknown})")
        return plan if plan is not None and plan.groups else None

    def _tell(self, revision: str, why: str) -> None:
        """Report once that the revision's statements wait for their locks one by one."""
        if revision not in self._told:
            self._told.add(revision)
            limit = f"{self._policy.lock_timeout * 1000:g} ms"
            self._request.listener.status(f"{revision}: {why}, so each statement waits for its own, up to {limit}")

    def take(self, plan: LockPlan, session: Session, revision: str) -> None:
        """Take all locks of the revision.

        Raises:
            psycopg.Error: they are not available in time. The transaction is aborted.

        """
        try:
            if _at_once(plan, session):
                return
            self._retries.wait(begins=True)
            _drain(plan, session)
            if _at_once(plan, session) or any(self._queued(plan, session)):
                self._retries.wait(begins=False)
                return
        except psycopg.ProgrammingError as error:
            # A table has another name or owner than the analysis expected.
            send(session, _BACK)
            self._retries.wait(begins=False)
            self._tell(revision, f"its locks cannot be taken in advance ({server_message.primary(error)})")
            return
        self._name_blockers(plan, session)
        send(session, "; ".join(_lock(*group, nowait=True) for group in plan.groups).encode())

    def _queued(self, plan: LockPlan, session: Session) -> Iterator[bool]:
        """Yield after each try in the queue whether it got the locks."""
        limit = _shown(session, "statement_timeout")
        for seconds in self._queues():
            yield _within(plan, session, seconds, limit)
            time.sleep(max(min(random.uniform(*_RESTS) * seconds, self._retries.left), 0))  # noqa: S311 - not a secret

    def _queues(self) -> Iterator[float]:
        longest = min(self._policy.lock_wait_max, self._policy.lock_timeout)
        usual = min(longest, _QUEUES[-1])
        yield from (queue for queue in _QUEUES if queue < usual)
        yield usual
        if longest > usual and self._retries.left <= self._policy.lock_deadline / 3:
            yield longest

    def _name_blockers(self, plan: LockPlan, session: Session) -> None:
        from pulumi_alembic.sql.locks import conflicting

        pids: dict[int, None] = {}
        for mode, tables in plan.groups:
            pids |= dict.fromkeys(locking(session, tables, conflicting(mode)))
        url = self._request.job.url
        with suppress(psycopg.Error, DatabaseError), closing(log_in(url, "alembic watch", autocommit=True)) as observer:
            self._watch.blockers = those(observer, list(pids)) or self._watch.blockers


class Advance:
    """Takes the locks of each revision of one attempt."""

    def __init__(self, locks: TableLocks, session: Session, running: Running) -> None:
        self._locks = locks
        self._session = session
        self._running = running
        self._step: object = None
        self._plan: LockPlan | None = None
        self._due = False

    def notice(self, engine: sa.Engine) -> None:
        """Listen for the statement that needs the locks, before any other listener."""

        def before(_: object, __: object, text: str, parameters: Any, ___: object, many: bool) -> None:
            if self._step is not self._running.step:
                self._step, self._plan = self._running.step, self._locks.plan(self._running.name)
            self._due = (
                self._plan is not None
                and not (many or self._session.autocommit)
                and _text(text, parameters) == self._plan.statement
            )

        sa.event.listen(engine, "before_cursor_execute", before)

    def follow(self, engine: sa.Engine) -> None:
        """Take the locks right before that statement, after all other listeners, unless they are taken by then."""

        def before(connection: sa.Connection, _: object, text: str, parameters: Any, *__: object) -> None:
            if self._due:
                with as_its_error(self._session, connection, text, parameters):
                    self.take()

        sa.event.listen(engine, "before_cursor_execute", before)

    @property
    def destroys(self) -> tuple[tuple[str, ...], ...]:
        """What each statement of the revision deletes, if the locks are taken for the next statement."""
        return self._plan.destroys if self._due and self._plan is not None else ()

    def take(self) -> None:
        """Take the locks now, if the next statement needs them. Raises psycopg.Error if they are not free in time."""
        if self._due and self._plan is not None:
            self._locks.take(self._plan, self._session, self._running.name)
            self._due, self._plan = False, None

    def holds(self, condition: Callable[[], bool]) -> bool:
        """Return whether the condition is true under the locks.

        If not, the locks are released, so that they are taken again later.
        """
        plan, due = self._plan, self._due
        if not due:
            return condition()
        send(self._session, f"SAVEPOINT {_TRIAL}".encode())
        self.take()
        if condition():
            send(self._session, f"RELEASE SAVEPOINT {_TRIAL}".encode())
            return True
        send(self._session, f"ROLLBACK TO SAVEPOINT {_TRIAL}; RELEASE SAVEPOINT {_TRIAL}".encode())
        self._plan, self._due = plan, due
        return False


def _at_once(plan: LockPlan, session: Session) -> bool:
    """Return whether all locks were free. If not, none of them is held."""
    locks = "; ".join(_lock(*group, nowait=True) for group in plan.groups)
    try:
        send(session, f"SAVEPOINT {_SAVEPOINT}; {locks}; RELEASE SAVEPOINT {_SAVEPOINT}".encode())
    except psycopg.errors.LockNotAvailable:
        send(session, _BACK)
        return False
    return True


def _drain(plan: LockPlan, session: Session) -> None:
    """Wait for sessions that alter or vacuum the tables, with a lock that blocks neither readers nor writers.

    After deadlock_timeout the server cancels an autovacuum that blocks this lock, and detects deadlocks.
    """
    before = _shown(session, "lock_timeout")
    limit = parse_duration("deadlock_timeout", _shown(session, "deadlock_timeout")) + _BEYOND_DEADLOCK
    begin = f"SAVEPOINT {_SAVEPOINT}; SET LOCAL lock_timeout = {_milliseconds(limit)}"
    end = f"SET LOCAL lock_timeout = '{before}'; RELEASE SAVEPOINT {_SAVEPOINT}"
    send(session, f"{begin}; {_lock('SHARE UPDATE EXCLUSIVE', plan.tables)}; {end}".encode())


def _within(plan: LockPlan, session: Session, seconds: float, limit: str) -> bool:
    """Return whether the locks were acquired within `seconds` in the queue. If not, none of them is held.

    The limit is set as statement_timeout, because lock_timeout would apply to each table. `limit` is restored
    afterwards.
    """
    begun = time.monotonic()
    sent = f"SAVEPOINT {_SAVEPOINT}; "
    try:
        for group in plan.groups:
            left = max(_milliseconds(seconds - (time.monotonic() - begun)), 1)
            send(session, f"{sent}SET LOCAL statement_timeout = {left}; {_lock(*group)}".encode())
            sent = ""
        send(session, f"SET LOCAL statement_timeout = '{limit}'; RELEASE SAVEPOINT {_SAVEPOINT}".encode())
    except (psycopg.errors.QueryCanceled, psycopg.errors.LockNotAvailable) as error:
        if isinstance(error, psycopg.errors.QueryCanceled) and time.monotonic() - begun < seconds / 2:
            # It ended too early for the limit: a person cancelled it.
            raise
        send(session, _BACK)
        return False
    return True


def _lock(mode: str, tables: Sequence[str], *, nowait: bool = False) -> str:
    # ONLY, because partitions and children are listed themselves.
    return f"LOCK TABLE {', '.join(f'ONLY {table}' for table in tables)} IN {mode} MODE{' NOWAIT' if nowait else ''}"


def _shown(session: Session, setting: str) -> str:
    """Return the setting's value. Unlike SELECT, SHOW does not take a snapshot."""
    value = send(session, f"SHOW {setting}".encode()).get_value(0, 0)
    return value.decode() if value else ""


def _text(text: str, parameters: Any) -> str:
    with suppress(Unbindable):
        return redact(bound(text, parameters))
    return text


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1000)
