"""Promotion records in a stack's state, and the reasons of revisions that ran before the upstream stack's record."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import TYPE_CHECKING

from pulumi_alembic.database.connection import connect
from pulumi_alembic.errors import MigrationError
from pulumi_alembic.ledger import contract_policy
from pulumi_alembic.migrate import planner
from pulumi_alembic.review.plan_review import RESTORES, PlanReview
from pulumi_alembic.scripts import phases, trust
from pulumi_alembic.scripts.plan import Direction, Plan
from pulumi_alembic.scripts.promotion import Lower, Proof
from pulumi_alembic.scripts.revision import CONTRACT
from pulumi_alembic.stack.properties import Properties, Wire

if TYPE_CHECKING:
    from pulumi_alembic.migrate.job import Job
    from pulumi_alembic.migrate.planner import PlanContext
    from pulumi_alembic.scripts.history import History

__all__ = ["at", "properties", "unproven", "with_windows", "without"]


def properties(olds: Properties, context: PlanContext, review: PlanReview | None, lower: Lower | None) -> Wire:
    """Return the promotion properties of the plan of `context`.

    Args:
        olds: The inputs of the last update.
        context: The plan and the server that it was made on.
        review: The review of a rehearsal, which lists the downgrades that restore the schema. None without one.
        lower: The upstream stack. None if the stack is promoted from no other.

    """
    plan, back = context.plan, olds.way_back
    for revision in review.revisions if review else ():
        if revision.rehearsed and revision.rehearsed.way_back == RESTORES and revision.direction == Direction.UPGRADE:
            back[revision.id] = trust.digest(revision.checksum)
    outputs: Wire = {Properties.proves: str(Proof.of(context.server, plan.applied, back))} if context.server else {}
    if back:
        outputs[Properties.way_back] = trust.joined(back)
    if lower and lower.proof:
        digests = lower.proof.only({step.id for step in plan.steps})
        outputs[Properties.lower] = {"stack": lower.stack, "proof": str(digests)}
    if left := _left(olds, context, lower) | _begun(context, lower):
        outputs[Properties.unproven] = left
    return outputs


def at(job: Job, props: Properties) -> str:
    """Return the promotion record of a database at the job's target, or an empty text if there is no plan for it."""
    try:
        context = planner.read_plan_context(job)
    except MigrationError:
        return ""
    return with_windows(Properties(properties(props, context, None, None)).proves, job)


def with_windows(text: str, job: Job) -> str:
    """Return the promotion record with how long each contract waited in this database after the expand before it."""
    history = job.read_history()
    proof = Proof.parse(text) if text else None
    contracts = [id for id in proof.digests if _is_contract(id, history)] if proof else []
    if not proof or not contracts:
        return text
    with connect(job.url) as connection:
        applied = contract_policy.applied(connection, history.revisions.keys())
    return str(replace(proof, windows=phases.windows(history, applied, contracts)))


def _is_contract(id: str, history: History) -> bool:
    return id in history.revisions and phases.phase_of(history.revisions[id]) == CONTRACT


def unproven(olds: Properties, context: PlanContext, lower: Lower | None) -> list[str]:
    """Return a line for each applied revision that ran before the upstream stack proved it and is still unproven."""
    ids = {revision.id: revision for revision in context.plan.applied}
    return [
        f"{id} ran here before the stack {lower.stack} proved it ({reason}), and still "
        f"{lower.lacks(ids[id], context.server)}: {lower.up}"
        for id, reason in _left(olds, context, lower).items()
        if lower
    ]


def without(text: str, plan: Plan | None) -> str:
    """Return the promotion record without the revisions of a plan that failed half-way."""
    ids: Collection[str] = {step.id for step in plan.steps} if plan else ()
    return str(Proof.parse(text).without(ids)) if text else ""


def _left(olds: Properties, context: PlanContext, lower: Lower | None) -> dict[str, str]:
    """Return the reasons of applied revisions that are still unproven; if there is no upstream stack, all reasons."""
    applied = {revision.id: revision for revision in context.plan.applied}
    pending = {step.id for step in context.plan.steps}
    kept = {id: reason for id, reason in olds.unproven.items() if id in applied and id not in pending}
    return {id: reason for id, reason in kept.items() if not lower or lower.lacks(applied[id], context.server)}


def _begun(context: PlanContext, lower: Lower | None) -> dict[str, str]:
    if not lower or not lower.reason or context.plan.direction is not Direction.UPGRADE:
        return {}
    return {step.id: lower.reason for step in context.plan.steps if lower.lacks(step, context.server)}
