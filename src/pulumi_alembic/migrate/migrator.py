"""Read the database, plan, run, read again: all that the provider does, without Pulumi."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from pulumi_alembic.database.connection import await_server
from pulumi_alembic.database.migration_lock import hold
from pulumi_alembic.database.sessions import waits
from pulumi_alembic.errors import BackfillError, DatabaseError, Moved
from pulumi_alembic.migrate.job import OPEN, SILENT, Gate, Job, Listener, Request
from pulumi_alembic.migrate.loading import for_good
from pulumi_alembic.migrate.planner import Looked, look_closely, read_revision
from pulumi_alembic.output.tracing import span
from pulumi_alembic.policy import Policy
from pulumi_alembic.scripts.history import History
from pulumi_alembic.scripts.phases import FILL_IN, asked_for
from pulumi_alembic.scripts.plan import Plan

__all__ = ["migrate"]


def migrate(job: Job, gate: Gate = OPEN, listener: Listener = SILENT) -> str:
    """Bring the database to the target, and return the revision that it then says it is at, read on a new connection.

    One migration at a time: a run that waited for another starts from where that left the database, which may be the
    target. Safe to repeat: it starts from what the database says, not from what an earlier run believed. Raises
    RevisionFailed as `alembic_run.run` does, and what `gate` raises, before anything of it has run.
    """
    with (
        waits(listener.waits, job.policy.lock_deadline),
        hold(job.url, job.policy, job.command, listener.waits) as lock,
        gate.around(),
    ):
        while (looked := _reach(Request(job, listener, lock), gate)) is None:
            lock.ensure()
        if asked_for(looked.history):
            with span("backfills"):
                _fill_in(job, listener)
        with span("read the revision"):
            revision = _read_at_last(job.url, job.policy)
    target = looked.plan.target
    if revision != target:
        raise DatabaseError(
            f"every revision was applied, but the database is at {revision} and not at {target}. "
            f"Run it again: {job.command}"
        )
    return revision


def _reach(request: Request, gate: Gate) -> Looked | None:
    """Run what is pending, and return what it was made of; None if another migration came between: then plan again."""
    job = request.job
    with span("plan"):
        looked = look_closely(job)
    plan = looked.plan
    if not plan.steps:
        return looked
    with span("review"):
        notes = gate.approve(plan) or {}
    # Git is asked while Alembic is loaded.
    with ThreadPoolExecutor(1) as aside:
        future = aside.submit(job.origin.completed, job.directory)
        run = _load_run()
    origin = future.result()
    with span("backup"):
        backup = gate.back_up(plan, origin)
    job = replace(job, history=looked.history, origin=origin)
    try:
        run(plan, looked.history, replace(request, job=job, backup=backup, notes=notes, locks=gate.locks()))
    except Moved as moved:
        request.listener.status(f"{moved}: planning again")
        return None
    return looked


def _fill_in(job: Job, listener: Listener) -> None:
    """Work for a while at the backfills that the scripts ask for; what is left is told, and is no failure."""
    from pulumi_alembic.migrate.backfills.work import fill_in

    try:
        left = fill_in(job, listener, job.policy.backfill_in_update)
    except (BackfillError, DatabaseError) as error:
        listener.backfill(str(error))
        return
    for column in left:
        listener.backfill(f"{column}: {column.state}, {column.changed:,} rows set. Go on: {FILL_IN}")


def _load_run() -> Callable[[Plan, History, Request], None]:
    """What runs a plan, with all that an env.py loads."""
    with for_good("pulumi_alembic.migrate.online"):
        from pulumi_alembic.migrate import alembic_run, authoring, online  # noqa: F401 - env.py needs them

    return alembic_run.run


def _read_at_last(url: str, policy: Policy) -> str:
    """What the database says in the end; a connection that is lost here is no failure of what ran."""
    try:
        return read_revision(url)
    except DatabaseError:
        await_server(url, policy.lock_deadline)
        return read_revision(url)
