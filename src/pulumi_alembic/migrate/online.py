"""A run on a database: repeat attempts until every step is committed, or raise if one of them fails for good."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import psycopg
import sqlalchemy as sa

from pulumi_alembic.database import server_message
from pulumi_alembic.database.connection import await_server, connect, read_heads
from pulumi_alembic.database.retry import Retries, busy, caught, connection_lost, server_error
from pulumi_alembic.errors import BackfillError, DatabaseError, MigrationError, Moved
from pulumi_alembic.ledger import ledger
from pulumi_alembic.ledger.ledger import Event, Row, Run
from pulumi_alembic.migrate import preflight
from pulumi_alembic.migrate.activity import Watch
from pulumi_alembic.migrate.attempt import attempt
from pulumi_alembic.migrate.blocks.repair import repair_leftovers
from pulumi_alembic.migrate.failure import revision_failed
from pulumi_alembic.migrate.function_check import refuse_unfit
from pulumi_alembic.migrate.job import Forecast, Request
from pulumi_alembic.migrate.spans import RunSpans, blockers
from pulumi_alembic.migrate.step_follower import Running
from pulumi_alembic.migrate.table_locks import LooksAhead, TableLocks
from pulumi_alembic.output.tracing import span
from pulumi_alembic.scripts.phases import FILL_IN, asked_for
from pulumi_alembic.scripts.plan import Direction
from pulumi_alembic.scripts.revision import CONTRACT
from pulumi_alembic.scripts.shape import Function

if TYPE_CHECKING:
    from alembic.runtime.migration import RevisionStep

    from pulumi_alembic.database.connection import Session

__all__ = ["keep_failure", "run_online"]


def keep_failure(running: Running, error: BaseException, request: Request) -> None:
    """Record in the ledger that the running step ended with `error`.

    The row contains no values: only PostgreSQL's code and first line, or the name of Python's exception. If the row
    cannot be written, nothing is raised.
    """
    step, seconds, statements = running.step, running.seconds, running.statements
    if step is None:
        return
    direction = Direction.of(is_upgrade=step.is_upgrade)
    reason = _reason(first.error if (first := caught(error, running.aborted)) else error)
    with suppress(DatabaseError, psycopg.Error), connect(request.job.url) as connection:
        ledger.prepare(connection)
        heads = read_heads(connection)
        ledger.record(
            connection,
            request.script(step),
            direction,
            "{}",
            Row(Event.FAILED, Run(running.before, heads, seconds, statements, request.backup), {"error": reason}),
            request.job.origin,
        )
        connection.commit()


def _reason(error: BaseException) -> str:
    server = server_error(error)
    if server is None:
        return f"{type(error).__name__}: {error}" if isinstance(error, MigrationError) else type(error).__name__
    if connection_lost(server):
        return "the connection was lost"
    if server.sqlstate is None:
        return type(server).__name__
    return f"{server_message.primary(server)} ({server.sqlstate})"


_LOOK = 0.1
"""Seconds between two looks at the session, so that each try for a lock is observed at least once."""


def run_online(metadata: sa.MetaData | None, request: Request, forecast: Forecast) -> None:
    """Run all steps that Alembic was asked for. A step that cannot get its locks is repeated until the deadline.

    Args:
        metadata: the metadata of env.py, None if it has none.
        request: the run of Alembic.
        forecast: finds the locks of scripts. It is used only if others are connected to the database.

    Raises:
        RevisionFailed: a step failed. It is rolled back, and the steps before it stay applied.
        DatabaseError: the database cannot be reached.
        Moved: another migration came between.

    """
    retries, spans = Retries(request.job.policy), RunSpans(counted=request.observer is None)
    with Watch(request.job.url, request.listener.status, min(_LOOK, request.job.policy.lock_timeout / 2)) as watch:

        def on_step(step: RevisionStep) -> None:
            retries.begin(step.revision.revision)
            watch.revision(step.revision.revision)
            spans.revision(step, retries.attempts)
            if request.lock is not None and request.script(step).phase == CONTRACT and step.is_upgrade:
                _complete_backfills(request)

        locks = TableLocks(request, retries, watch)

        def on_steps(steps: list[Any], session: Session) -> None:
            if steps and request.restrict is not None:
                request.restrict(steps)
            if steps:
                _before_the_first(steps, session, request)
                locks.look(steps, session)

        running = Running(on_steps, on_step)
        while True:
            try:
                with spans.attempt():
                    _attempt(lambda: attempt(metadata, request, running, locks, watch.session), locks, forecast)
                return
            except (Exception, SystemExit) as error:
                _recover(error, running, retries, watch, request)


def _complete_backfills(request: Request) -> None:
    """Complete the declared backfills before a contract deletes what they read. Raises BackfillError if one remains."""
    if not asked_for(request.job.read_history()):
        return
    from pulumi_alembic.migrate.backfills.work import fill_in

    if left := fill_in(request.job, request.listener):
        raise BackfillError(f"the contract waits for {left[0]}, which is {left[0].state}. Complete it: {FILL_IN}")


def _attempt(begin: Callable[[], None], locks: TableLocks, forecast: Forecast) -> None:
    """Run one attempt. If it stops to find the locks of its steps, find them and begin again."""
    ahead = None
    try:
        begin()
    except LooksAhead as stop:
        ahead = stop
    if ahead is not None:
        locks.learn(ahead, forecast)
        begin()


def _before_the_first(steps: Sequence[Any], session: Session, request: Request) -> None:
    functions = [_function(step, request) for step in steps if hasattr(step, "revision")]
    refuse_unfit(functions, request.job.url, rehearsed=request.observer is not None)
    if request.job.policy.preflight:
        for note in preflight.look(request.job.url, request.job.policy):
            request.listener.status(note)
    if request.lock is not None:
        repair_leftovers(session, request.job.url, request.job.policy, request.listener.status)


def _function(step: RevisionStep, request: Request) -> Function:
    script = request.script(step)
    return Function(script.path, script.source, Direction.of(is_upgrade=step.is_upgrade))


def _recover(error: BaseException, running: Running, retries: Retries, watch: Watch, request: Request) -> None:
    """Return when the next attempt can begin. If there is none, raise the error that a person reads."""
    if isinstance(error, Moved):
        raise error
    if running.step is None:
        raise _outside_of_a_revision(error, running, request) from None
    # A script that caught the first error failed later, because the transaction was aborted.
    first = running.aborted.error if running.aborted and not connection_lost(error) else error
    waited = _waited(retries, watch) if busy(first) else ""
    pause = None if running.committed else retries.pause(first)
    try:
        if pause is not None:
            with span("wait for the next attempt", blockers(watch.blockers)):
                _wait(first, waited, pause, watch, request, retries.left)
    except DatabaseError:
        pause = None
    if pause is None:
        keep_failure(running, error, request)
        raise revision_failed(running, error, url=request.job.url, command=request.job.command, waited=waited) from None
    if request.lock is not None:
        request.lock.ensure()


def _wait(error: BaseException, waited: str, pause: float, watch: Watch, request: Request, left: float) -> None:
    if connection_lost(error):
        watch.retries("the connection was lost", "tries again as soon as the server answers")
        await_server(request.job.url, left)
    else:
        watch.retries(waited, f"tries again for {left:.0f} s")
        time.sleep(pause)


def _waited(retries: Retries, watch: Watch) -> str:
    whom = " and ".join(map(str, watch.blockers)) or "sessions that were not identified in time"
    return f"no lock at attempt {retries.attempts}, after {retries.waited:.1f} s: blocked by {whom}"


def _outside_of_a_revision(error: BaseException, running: Running, request: Request) -> BaseException:
    if server := server_error(error):
        reason, wait = " ".join(str(server).split()), running.wait_ended
        if wait and wait.error is server:
            return DatabaseError(f"the migration tables: {reason}: {wait}. {wait.advice}")
        return DatabaseError(f"the migration tables: {reason}. Try again: {request.job.command}")
    return error
