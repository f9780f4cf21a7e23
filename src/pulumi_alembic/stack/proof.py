"""Proofs in a stack's state: its own, for the stack above, and what ran before the upstream stack proved it."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from pulumi_alembic.errors import MigrationError
from pulumi_alembic.migrate import planner
from pulumi_alembic.review.plan_review import RESTORES, PlanReview
from pulumi_alembic.scripts import trust
from pulumi_alembic.scripts.plan import Direction, Plan
from pulumi_alembic.scripts.promotion import Lower, Proof
from pulumi_alembic.stack.properties import Properties, Wire

if TYPE_CHECKING:
    from pulumi_alembic.migrate.job import Job
    from pulumi_alembic.migrate.planner import Looked

__all__ = ["at", "properties", "unproven", "without"]


def properties(olds: Properties, looked: Looked, review: PlanReview | None, lower: Lower | None) -> Wire:
    """The properties for the plan that was `looked` at: what of the upstream stack's proof is about it, and its own.

    The review of a rehearsal says which downgrades restore the schema.
    """
    plan, back = looked.plan, olds.way_back
    for revision in review.revisions if review else ():
        if revision.rehearsed and revision.rehearsed.way_back == RESTORES and revision.direction == Direction.UPGRADE:
            back[revision.id] = trust.digest(revision.checksum)
    outputs: Wire = {Properties.proves: str(Proof.of(looked.server, plan.applied, back))} if looked.server else {}
    if back:
        outputs[Properties.way_back] = trust.joined(back)
    if lower and lower.proof:
        digests = lower.proof.only({step.id for step in plan.steps})
        outputs[Properties.lower] = {"stack": lower.stack, "proof": str(digests)}
    if left := _left(olds, looked, lower) | _begun(looked, lower):
        outputs[Properties.unproven] = left
    return outputs


def at(job: Job, props: Properties) -> str:
    """What a database at the job's target proves; nothing where that cannot be said of it. Changes nothing."""
    try:
        looked = planner.look_closely(job)
    except MigrationError:
        return ""
    return Properties(properties(props, looked, None, None)).proves


def unproven(olds: Properties, looked: Looked, lower: Lower | None) -> list[str]:
    """A line for each applied revision that ran before the stack below proved it, and that it does not prove yet."""
    ids = {revision.id: revision for revision in looked.plan.applied}
    return [
        f"{id} ran here before the stack {lower.stack} proved it ({reason}), and still "
        f"{lower.lacks(ids[id], looked.server)}: {lower.up}"
        for id, reason in _left(olds, looked, lower).items()
        if lower
    ]


def without(text: str, plan: Plan | None) -> str:
    """A proof for where an update has ended on the way: none of its plan's revisions is proven."""
    ids: Collection[str] = {step.id for step in plan.steps} if plan else ()
    return str(Proof.parse(text).without(ids)) if text else ""


def _left(olds: Properties, looked: Looked, lower: Lower | None) -> dict[str, str]:
    """The reasons of those that are applied, and are not proven yet; where nobody is asked, all that were kept."""
    applied = {revision.id: revision for revision in looked.plan.applied}
    pending = {step.id for step in looked.plan.steps}
    kept = {id: reason for id, reason in olds.unproven.items() if id in applied and id not in pending}
    return {id: reason for id, reason in kept.items() if not lower or lower.lacks(applied[id], looked.server)}


def _begun(looked: Looked, lower: Lower | None) -> dict[str, str]:
    if not lower or not lower.reason or looked.plan.direction is not Direction.UPGRADE:
        return {}
    return {step.id: lower.reason for step in looked.plan.steps if lower.lacks(step, looked.server)}
