"""Migrate one database: lock it, read it, plan, run the plan and read it again, without Pulumi."""

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
from pulumi_alembic.migrate.planner import PlanContext, read_plan_context, read_revision
from pulumi_alembic.output.tracing import span
from pulumi_alembic.policy import Policy
from pulumi_alembic.scripts.baseline import Baseline
from pulumi_alembic.scripts.history import History
from pulumi_alembic.scripts.phases import FILL_IN, asked_for
from pulumi_alembic.scripts.plan import Plan

__all__ = ["migrate"]


def migrate(job: Job, gate: Gate = OPEN, listener: Listener = SILENT) -> str:
    """Bring the database to the job's target, and return its revision as read over a new connection.

    Only one migration runs in a database at a time. A run that waited for another one plans from the new state.
    Repeating it is safe, because each run starts from what the database contains.

    Raises:
        RevisionFailed: a step failed, as in `alembic_run.run`.
        DatabaseError: the database cannot be reached, or is not at the target in the end.
        Exception: whatever `gate` raises, before anything has run.

    """
    with (
        waits(listener.waits, job.policy.lock_deadline),
        hold(job.url, job.policy, job.command, listener.waits) as lock,
        gate.around(),
    ):
        while (context := _reach(Request(job, listener, lock), gate)) is None:
            lock.ensure()
        if asked_for(context.history):
            with span("backfills"):
                _fill_in(job, listener)
        with span("read the revision"):
            revision = _read_at_last(job.url, job.policy)
    target = context.plan.target
    if revision != target:
        raise DatabaseError(
            f"every revision was applied, but the database is at {revision} and not at {target}. "
            f"Run it again: {job.command}"
        )
    return revision


def _reach(request: Request, gate: Gate) -> PlanContext | None:
    """Run the pending revisions. Return None if another migration came between, so that the caller plans again."""
    job = request.job
    with span("plan"):
        context = read_plan_context(job)
    plan = context.plan
    if not plan.steps:
        return context
    with span("review"):
        notes = gate.approve(plan) or {}
    # Git runs while this process loads Alembic, which a baseline alone does not need.
    with ThreadPoolExecutor(1) as executor:
        future = executor.submit(job.origin.completed, job.directory)
        run = _load_run() if plan.rest.steps else _run_nothing
    origin = future.result()
    with span("backup"):
        backup = gate.back_up(plan, origin)
    job = replace(job, history=context.history, origin=origin)
    request = replace(request, job=job, backup=backup, notes=notes, locks=gate.locks())
    try:
        if plan.baseline:
            _start(plan.baseline, context.history, request)
        run(plan.rest, context.history, request)
    except Moved as moved:
        request.listener.status(f"{moved}: planning again")
        return None
    return context


def _start(baseline: Baseline, history: History, request: Request) -> None:
    from pulumi_alembic.migrate.baseline import start

    start(baseline, history, request)
    request.listener.status(f"loaded the baseline of {baseline.revision}")


def _run_nothing(plan: Plan, history: History, request: Request) -> None:
    """Do nothing, because the database is at the target already."""


def _fill_in(job: Job, listener: Listener) -> None:
    """Work at the declared backfills for as long as the policy allows. Report unfinished ones without an error."""
    from pulumi_alembic.migrate.backfills.work import fill_in

    try:
        left = fill_in(job, listener, job.policy.backfill_in_update)
    except (BackfillError, DatabaseError) as error:
        listener.backfill(str(error))
        return
    for column in left:
        listener.backfill(f"{column}: {column.state}, {column.changed:,} rows set. Go on: {FILL_IN}")


def _load_run() -> Callable[[Plan, History, Request], None]:
    """Import everything that env.py needs, and return the function that runs a plan."""
    with for_good("pulumi_alembic.migrate.online"):
        from pulumi_alembic.migrate import alembic_run, authoring, online  # noqa: F401 - env.py needs them

    return alembic_run.run


def _read_at_last(url: str, policy: Policy) -> str:
    """Read the final revision. Wait for the server and read again if the connection is lost."""
    try:
        return read_revision(url)
    except DatabaseError:
        await_server(url, policy.lock_deadline)
        return read_revision(url)
