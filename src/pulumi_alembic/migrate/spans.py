"""OpenTelemetry spans of a run: attempts contain revisions, and revisions contain the statements of their scripts."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from pulumi_alembic.database.connection import VERSION_TABLE
from pulumi_alembic.output.tracing import Attributes, Span, count, error_type, measure, span, wanted
from pulumi_alembic.scripts.plan import Direction
from pulumi_alembic.sql.query_text import operation, without_constants

if TYPE_CHECKING:
    from alembic.runtime.migration import RevisionStep

    from pulumi_alembic.database.connection import Connection

__all__ = ["RunSpans", "trace_statements"]


class RunSpans:
    """The spans of one run, and its metrics unless it is a rehearsal."""

    def __init__(self, *, counted: bool) -> None:
        self._counted = counted
        self._attempts = 0
        self._revision: Span | None = None
        self._attributes: dict[str, str] = {}
        self._begun = 0.0

    @contextmanager
    def attempt(self) -> Iterator[None]:
        """Open the span of an attempt. Leaving it ends the span of its last revision."""
        self._attempts += 1
        with span("attempt", {"pulumi_alembic.attempt": self._attempts}):
            try:
                yield
            except BaseException as error:
                self._end(error)
                raise
            self._end()

    def revision(self, step: RevisionStep, attempt: int) -> None:
        """End the span of the previous revision, and begin the next one's."""
        self._end()
        direction, id_ = str(Direction.of(is_upgrade=step.is_upgrade)), str(step.revision.revision)
        self._attributes, self._begun = {"pulumi_alembic.direction": direction}, time.monotonic()
        named: Attributes = {**self._attributes, "pulumi_alembic.revision": id_, "pulumi_alembic.attempt": attempt}
        self._revision = span(f"{direction} {id_}", named)

    def _end(self, error: BaseException | None = None) -> None:
        if self._revision is None:
            return
        self._revision.end(error)
        self._revision = None
        if self._counted:
            outcome = {**self._attributes, **({"error.type": error_type(error)} if error else {})}
            count("pulumi_alembic.revisions", outcome)
            measure("pulumi_alembic.revision.duration", time.monotonic() - self._begun, outcome)


def trace_statements(engine: sa.Engine, session: Connection, *, counted: bool) -> None:
    """Give each statement that SQLAlchemy sends a span, except those of Alembic's version table.

    Attributes follow OpenTelemetry's semantic conventions for PostgreSQL (1.40). The text has no constants, and
    parameters are left out.

    Args:
        engine: sends the statements.
        session: the engine's only connection.
        counted: record the duration as a metric too.

    """
    if not (wanted("TRACES") or wanted("METRICS")):
        return
    server = {"db.system.name": "postgresql", "db.namespace": session.info.dbname}
    place: Attributes = {"server.address": session.info.host, "server.port": session.info.port}
    running: list[tuple[Span, dict[str, str], float]] = []

    def before(_: sa.Connection, __: Any, text: str, *___: Any) -> None:
        running.clear()
        if VERSION_TABLE in text:
            return
        shown = without_constants(text)
        named = {**server, "db.operation.name": operation(shown)}
        begun = span(named["db.operation.name"] or "statement", {**named, **place, "db.query.text": shown}, client=True)
        running.append((begun, named, time.monotonic()))

    def end(rows: int, error: BaseException | None) -> None:
        while running:
            begun, named, at = running.pop()
            if rows >= 0:
                begun.add({"pulumi_alembic.rows": rows})
            begun.end(error)
            if counted:
                outcome = {**named, **({"error.type": error_type(error)} if error else {})}
                measure("db.client.operation.duration", time.monotonic() - at, outcome)

    def after(_: sa.Connection, cursor: Any, *__: Any) -> None:
        end(cursor.rowcount, None)

    def failed(context: sa.engine.ExceptionContext) -> None:
        end(-1, context.original_exception)

    # The first listener before a statement runs last, and the one after it first, so that others' time does not count.
    sa.event.listen(engine, "before_cursor_execute", before)
    sa.event.listen(engine, "after_cursor_execute", after, insert=True)
    sa.event.listen(engine, "handle_error", failed)


def blockers(sessions: Sequence[Any]) -> Attributes:
    """Return the span attribute that names the sessions that blocked a revision."""
    return {"pulumi_alembic.blocked_by": [session.pid for session in sessions]}
