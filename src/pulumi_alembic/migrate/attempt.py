"""One attempt at the remaining steps: a session, Alembic's context on it, and the listeners of each transaction."""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

import alembic
import psycopg
import sqlalchemy as sa
from alembic import context
from alembic.runtime import migration
from alembic.runtime.migration import HeadMaintainer
from alembic.util import CommandError

from pulumi_alembic.database.connection import VERSION_SCHEMA, open_session
from pulumi_alembic.database.sessions import Patience
from pulumi_alembic.database.tenant import schema_of, version_table
from pulumi_alembic.ledger import ledger
from pulumi_alembic.ledger.ledger import Event, Row, Run
from pulumi_alembic.migrate import tenant_scripts
from pulumi_alembic.migrate.authoring import name_by_the_rule
from pulumi_alembic.migrate.blocks.statement import Phases
from pulumi_alembic.migrate.data_loss.guard import Guard
from pulumi_alembic.migrate.data_loss.restore import DataRestore
from pulumi_alembic.migrate.session_reset import Renewal
from pulumi_alembic.migrate.spans import trace_statements
from pulumi_alembic.migrate.table_locks import Advance
from pulumi_alembic.scripts.plan import Direction

if TYPE_CHECKING:
    from alembic.runtime.migration import MigrationContext, MigrationInfo

    from pulumi_alembic.database.connection import Session
    from pulumi_alembic.migrate.job import Request
    from pulumi_alembic.migrate.step_follower import Running
    from pulumi_alembic.migrate.table_locks import TableLocks

__all__ = ["attempt"]

_UPDATE = f"UPDATE {VERSION_SCHEMA}.{{}} SET version_num = %(now)s WHERE version_num = %(before)s"  # noqa: S608 - names of ours


class _Heads(HeadMaintainer):
    """Alembic's head maintainer with a parametrized UPDATE of the version table.

    Alembic 1.20 builds that statement for each revision, with both ids in its text. To build, compile and plan it takes
    as long as a small revision. It is still sent like a statement of a script, so that every listener sees it.
    """

    def _update_version(self, from_: str, to_: str) -> None:
        assert self.context.connection is not None  # noqa: S101 - an attempt is never offline
        self.heads.remove(from_)
        self.heads.add(to_)
        table = self.context.version_table
        statement = _UPDATE.format(self.context.dialect.identifier_preparer.quote(table))
        updated = self.context.connection.exec_driver_sql(statement, {"now": to_, "before": from_}).rowcount
        if updated != 1:
            raise CommandError(f"{table} has {updated} rows with {from_}, which is to become {to_}: not 1")


@contextmanager
def _heads_by_parameters() -> Iterator[None]:
    """Let Alembic use `_Heads` within the block. Alembic takes the class from a global of its module."""
    migration.HeadMaintainer = _Heads  # type: ignore[misc]
    try:
        yield
    finally:
        migration.HeadMaintainer = HeadMaintainer  # type: ignore[misc]


def attempt(
    metadata: sa.MetaData | None,
    request: Request,
    running: Running,
    locks: TableLocks,
    on_session: Callable[[int], None],
) -> None:
    """Run the remaining steps of `running` in a session of their own.

    Args:
        metadata: the metadata of env.py, None if it has none.
        request: the run of Alembic.
        running: the steps, and which of them remain.
        locks: the table locks that the steps need.
        on_session: gets the server's process id of the session.

    Raises:
        Exception: whatever a step raises, unchanged. That step is rolled back, the steps before it stay committed.

    """
    with closing(open_session(request.job.url)) as session:
        on_session(_server_process(session))
        if request.observer is not None:
            request.observer.session(session)
        engine = sa.create_engine(
            "postgresql+psycopg://",
            creator=lambda: session,
            poolclass=sa.StaticPool,
            # The session is closed here. If its connection is lost, SQLAlchemy would print that it cannot be rolled
            # back.
            pool_reset_on_return=None,
        )
        with engine.connect() as connection:
            record = _recorder(session, running, request)
            phases = Phases(session, running, request, record)
            advance = Advance(locks, session, running)
            guard = Guard(session, running, request, advance)
            limit = f"SET LOCAL lock_timeout = {_milliseconds(request.job.policy.lock_timeout)}"
            renewal = Renewal(session, connection, limit)
            restore = DataRestore(session, running, request)

            def complete() -> None:
                running.require_unrefused()
                renewal.end()
                guard.complete()
                restore.complete()

            _configure(connection, metadata, session, phases, _on_applied(running, request, record, complete))
            restore.follow(engine)
            tenant_scripts.follow(engine, session, running)
            phases.follow(context.get_context(), engine)
            advance.notice(engine)
            guard.follow(engine)
            advance.follow(engine)
            running.follow(context.get_context(), engine, session)
            trace_statements(engine, session, counted=request.observer is None)
            _begin(engine, session, running, renewal, request)
            if connection.in_transaction():
                # Alembic would take it for the caller's transaction and not commit: closing would then lose every
                # revision.
                raise AssertionError("the migration's connection is in a transaction before its first revision")
            try:
                with _heads_by_parameters(), context.begin_transaction():
                    context.run_migrations()
            except Exception:
                # A refusal that the script caught is the reason for what failed after it.
                running.require_unrefused()
                raise
            finally:
                running.aborted, running.wait_ended = session.aborted, session.wait_ended


def _configure(
    connection: sa.Connection,
    metadata: sa.MetaData | None,
    session: Session,
    phases: Phases,
    on_applied: Callable[..., None],
) -> None:
    context.configure(
        connection=connection,
        target_metadata=metadata,
        version_table=version_table(schema_of(session)),
        version_table_schema=VERSION_SCHEMA,
        transaction_per_migration=True,
        compare_server_default=True,
        on_version_apply=on_applied,
        process_revision_directives=name_by_the_rule,
        phases=phases,
        # Remove the recorder that a static analysis in this environment has left.
        recorder=None,
    )


def _server_process(session: Session) -> int:
    [(pid,)] = session.execute("SELECT pg_backend_pid()").fetchall()
    session.rollback()
    return int(pid)


def _begin(engine: sa.Engine, session: Session, running: Running, renewal: Renewal, request: Request) -> None:
    """Begin each transaction with the policy's lock_timeout, and each revision with the session as it was.

    A statement outside a transaction waits until the deadline, because some leave an incomplete object when cancelled.
    The reads before the first revision wait as long. They report whom they wait for, which a `Watch` does later.
    """
    deadline = request.job.policy.lock_deadline
    session.patience = Patience(request.listener.status, deadline)
    long = f"lock_timeout = {_milliseconds(deadline)}"

    def begin(_: sa.Connection) -> None:
        if session.autocommit:
            session.execute(f"SET {long}".encode())
        else:
            renewal.begin(running.step, "" if running.step is not None else f"SET LOCAL {long}")

    def on_begin() -> None:
        if session.patience is not None:
            session.patience = None
            renewal.limit()

    running.on_begin = on_begin

    sa.event.listen(engine, "begin", begin)


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1000)


def _recorder(session: Session, running: Running, request: Request) -> Callable[..., int]:
    """Return the function that adds a ledger row for the running revision or a stamp, and returns the row's id."""
    tools = json.dumps(
        {"alembic": alembic.__version__, "sqlalchemy": sa.__version__, "python": platform.python_version()}
    )
    prepared = False

    def record(event: Event, **fields: Any) -> int:
        nonlocal prepared
        step = running.step
        if not prepared:
            # Once per attempt: an error that rolls it back also ends the attempt.
            ledger.prepare(session)
            prepared = True
        if step is None:
            return ledger.note(session, Row(event, **fields), request.job.origin)
        direction = Direction.of(is_upgrade=step.is_upgrade)
        return ledger.record(session, request.script(step), direction, tools, Row(event, **fields), request.job.origin)

    return record


def _on_applied(
    running: Running, request: Request, record: Callable[..., int], complete: Callable[[], None]
) -> Callable[..., None]:
    """Return the callback that Alembic calls in each revision's transaction, after the script and before the commit."""

    def on_applied(*, ctx: MigrationContext, step: MigrationInfo, heads: set[str], **_: Any) -> None:
        if step.is_stamp:
            running.stamped(heads)
            record(Event.STAMPED, run=Run(running.before, tuple(heads)))
            return
        running.recorded(ctx, heads)
        complete()
        run = Run(running.before, tuple(heads), running.seconds, running.statements, request.backup)
        record(Event.APPLIED, run=run, detail=request.notes.get(running.name))
        if request.lock is not None and not request.lock.held():
            # Another migration can have begun and read the database. Committing now would change what it has read.
            raise psycopg.OperationalError("the connection that kept other migrations out was lost")
        request.listener.applied(running.name)

    return on_applied
