"""A whole rehearsal. If it cannot be made, the review contains the reason. The scratch database is always dropped."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, suppress
from contextvars import copy_context
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import psycopg
from psycopg import sql

from pulumi_alembic.database import server_message
from pulumi_alembic.database.connection import connect, log_in
from pulumi_alembic.database.fingerprint import read_lines
from pulumi_alembic.database.pg_programs import find_client
from pulumi_alembic.errors import MigrationError, NotRehearsed
from pulumi_alembic.output.tracing import span
from pulumi_alembic.output.wording import counted
from pulumi_alembic.review.plan_review import PlanReview
from pulumi_alembic.review.rehearsal.copying import CopyFailed, furnish, read_access, replay
from pulumi_alembic.review.rehearsal.roles import guests
from pulumi_alembic.review.rehearsal.scratch import at, database_of, scratch
from pulumi_alembic.review.rehearsal.source import Source, client_for, read_source
from pulumi_alembic.review.rehearsal.subset import LARGE, Mentions, Subset, mentions, read_subset, tables_of
from pulumi_alembic.scripts.plan import Direction

if TYPE_CHECKING:
    from pulumi_alembic.migrate.planner import PlanContext
    from pulumi_alembic.review.rehearsal.artifact import Artifact, Copy

__all__ = ["rehearsal", "rehearsal_elsewhere"]


@dataclass(frozen=True)
class _Stage:
    """A scratch database with the target's schema.

    `url` is the migrator's, and `lines` are those of the fingerprint. With a `subset` it has only some of the tables.
    """

    url: str
    lines: tuple[str, ...]
    subset: Subset | None = None


class _Missed(Exception):
    """A revision named an object that the scratch database lacks, because it has a subset of the target's tables."""


_Prepare = Callable[[ExitStack, ThreadPoolExecutor, Mentions | None], _Stage]
"""Prepares a stage with the whole schema or, given the plan's mentions, with the tables that the plan can touch."""


@contextmanager
def rehearsal(
    url: str, admin: str, context: PlanContext, tell: Callable[[str], None] = lambda text: None
) -> Iterator[Callable[[PlanReview], PlanReview]]:
    """Prepare a scratch database while the block runs. The block receives a function that rehearses a review.

    Of a large schema only the tables are copied that the plan can touch, once the review exists. If a rehearsal is not
    possible, the review comes back with the reason. The end of the block drops the scratch database. The rehearsal
    never blocks sessions of the target.

    Args:
        url: The migrator's URL at the target.
        admin: The URL of a login of the same server that can create databases and become the owner.
        context: The plan and the catalog that it was made with.
        tell: Receives the progress as text.

    """
    prepare = lambda stack, aside, mentioned: _prepare(stack, aside, mentioned, url, admin, context)  # noqa: E731
    large = context.catalog is not None and len(tables_of(context.catalog)) > LARGE
    with _begun(prepare, context, tell, large=large) as rehearse:
        yield rehearse


@contextmanager
def rehearsal_elsewhere(
    artifact: Artifact, admin: str, context: PlanContext, tell: Callable[[str], None] = lambda text: None
) -> Iterator[Callable[[PlanReview], PlanReview]]:
    """Rehearse as `rehearsal` does, on another server, with the schema of an artifact. The target is not contacted.

    Roles that the schema names and that the server lacks are created, and dropped at the end.

    Args:
        artifact: The schema file.
        admin: The URL of a login of that server that can create databases and roles.
        context: The plan and the catalog that it was made with.
        tell: Receives the progress, and the names of created roles, as text.

    """
    copy = artifact.copy
    if copy is None:
        yield lambda review: replace(review, not_rehearsed=artifact.not_rehearsed)
        return
    prepare = lambda stack, *_: _prepare_elsewhere(stack, artifact, copy, admin, context, tell)  # noqa: E731
    with _begun(prepare, context, tell, large=False) as rehearse:
        yield rehearse


@contextmanager
def _begun(
    prepare: _Prepare, context: PlanContext, tell: Callable[[str], None], *, large: bool
) -> Iterator[Callable[[PlanReview], PlanReview]]:
    """Begin at once, unless the schema is `large`: then the review of the plan must exist first."""
    with ExitStack() as stack, ThreadPoolExecutor(2) as aside:

        def begin(mentioned: Mentions | None = None) -> Future[_Stage]:
            return aside.submit(copy_context().run, prepare, stack, aside, mentioned)

        whole = None if large else begin()

        def rehearse(review: PlanReview) -> PlanReview:
            count = len(context.plan.steps)
            tell(f"rehearsing {counted(count, 'revision')} in a scratch database")
            try:
                with span("rehearsal"):
                    seen = _rehearse_subset(begin, context, review) if whole is None else None
                    return seen or _rehearse((whole or begin()).result(), context, review)
            except NotRehearsed as reason:
                return replace(review, not_rehearsed=str(reason))
            except (MigrationError, psycopg.Error, OSError) as error:
                return replace(review, not_rehearsed=_reason(error))

        yield rehearse


def _rehearse_subset(
    begin: Callable[[Mentions | None], Future[_Stage]], context: PlanContext, review: PlanReview
) -> PlanReview | None:
    """Return the review after a rehearsal with the tables that the plan can touch, None if it needs all tables."""
    mentioned = mentions(context)
    with suppress(CopyFailed, _Missed):
        return _rehearse(begin(mentioned).result(), context, review) if mentioned else None
    return None


def _prepare(
    stack: ExitStack, aside: ThreadPoolExecutor, mentioned: Mentions | None, url: str, admin: str, context: PlanContext
) -> _Stage:
    choose = partial(read_subset, of_plan=mentioned) if mentioned else lambda connection: None
    reading = aside.submit(copy_context().run, read_source, url, [step.id for step in context.plan.steps], choose)
    database = stack.enter_context(scratch(admin, url, client_for))
    source = reading.result()
    with closing(log_in(database.url, "alembic rehearsal", autocommit=True)) as connection:
        furnish(connection, read_access(connection, database_of(url)), source.foundation)
    return _furnished(at(url, database.name), source, context)


def _prepare_elsewhere(
    stack: ExitStack, artifact: Artifact, copy: Copy, admin: str, context: PlanContext, tell: Callable[[str], None]
) -> _Stage:
    # Only psql is needed, because nothing is dumped.
    url = stack.enter_context(guests(admin, artifact.server, copy.roles, tell))
    database = stack.enter_context(scratch(admin, at(admin, artifact.name), find_client, copy.locale))
    with closing(log_in(database.url, "alembic rehearsal", autocommit=True)) as connection:
        furnish(connection, copy.access, copy.foundation)
    url = at(url, database.name)
    with closing(log_in(url, "alembic rehearsal", autocommit=True)) as connection:
        # The login changes its own settings for its later sessions, to the target's values.
        for name, value in copy.settings:
            connection.execute("SELECT set_config(%s, %s, false)", [name, value])
            connection.execute(sql.SQL("ALTER ROLE SESSION_USER SET {} FROM CURRENT").format(sql.Identifier(name)))
    return _furnished(url, Source(copy.foundation, copy.definitions, list(copy.ledger)), context)


def _furnished(url: str, source: Source, context: PlanContext) -> _Stage:
    """Return the stage after the migrator has replayed the definitions."""
    with connect(url) as connection:
        connection.autocommit = True
        replay(connection, source.definitions, source.foundation, context.plan.current, source.ledger)
        with connection.transaction():
            return _Stage(url, read_lines(connection), source.subset)


def _rehearse(stage: _Stage, context: PlanContext, review: PlanReview) -> PlanReview:
    from pulumi_alembic.review.rehearsal.outcome import with_rehearsal
    from pulumi_alembic.review.rehearsal.scratch_run import perform, perform_back

    relations = context.catalog.relations if context.catalog else {}
    forth = perform(stage.url, context.plan, context.history, context.catalog)
    back = None
    if context.plan.direction is Direction.UPGRADE and forth.observer.seen:
        back = perform_back(stage.url, context.plan, forth.observer, context.history)
    if stage.subset is not None and (forth.missed or (back is not None and back.missed)):
        raise _Missed
    review = with_rehearsal(review, relations, stage.lines, forth, back)
    return replace(review, copied=str(stage.subset)) if stage.subset else review


def _reason(error: Exception) -> str:
    return " ".join(server_message.any_error(error).split())
