"""What a resource's properties keep of proofs: its own, for the stack above; and what ran before there was one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pulumi_alembic.review import gates
from pulumi_alembic.review.plan_review import RESTORES, Account
from pulumi_alembic.scripts import trust
from pulumi_alembic.scripts.plan import Direction, Plan
from pulumi_alembic.scripts.promotion import UNPROVEN, Lower, Proof

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from pulumi_alembic.migrate.planner import Looked

__all__ = ["PROOF", "PROVES", "notes", "properties", "unproven", "without"]

PROOF = "proof"
"""Output: what the stack proves, as text."""

PROVES = "__proof"
"""Input: what it proves once the plan has run."""

_BACK = "__way_back"
"""Input: the digests of the scripts whose way back was rehearsed before they ran."""

_UNPROVEN = "__unproven"
"""Input: the revisions that run, or ran, before the stack below proved them, each with the reason."""

_LOWER = "__lower"

_WHERE = "the stack's state"


def properties(olds: Mapping[str, Any], looked: Looked, account: Account | None, lower: Lower | None) -> dict[str, Any]:
    """The properties for the plan that was `looked` at: what of the lower stack's proof is about it, and the own one.

    The account of a rehearsal says which ways back lead back.
    """
    plan, back = looked.plan, trust.read(olds.get(_BACK) or "", _WHERE)
    for each in account.revisions if account else ():
        if each.rehearsed and each.rehearsed.way_back == RESTORES and each.direction == Direction.UPGRADE:
            back[each.id] = trust.digest(each.checksum)
    found: dict[str, Any] = {PROVES: str(Proof.of(looked.server, plan.applied, back))} if looked.server else {}
    if back:
        found[_BACK] = trust.joined(back)
    if lower and lower.proof:
        found[_LOWER] = {"stack": lower.stack, "proof": str(lower.proof.only({step.id for step in plan.steps}))}
    if left := _left(olds, looked, lower) | _begun(looked, lower):
        found[_UNPROVEN] = left
    return found


def unproven(olds: Mapping[str, Any], looked: Looked, lower: Lower | None) -> list[str]:
    """A line for each applied revision that ran before the stack below proved it, and that it does not prove yet."""
    ids = {each.id: each for each in looked.plan.applied}
    return [
        f"{id} ran here before the stack {lower.stack} proved it ({reason}), and still "
        f"{lower.lacks(ids[id], looked.server)}: {lower.up}"
        for id, reason in _left(olds, looked, lower).items()
        if lower
    ]


def notes(account: Account) -> dict[str, dict[str, Any]]:
    """What the ledger keeps of each revision that runs unproven, or in spite of its rehearsal: the reason for it."""
    unproven = {
        each.id: {UNPROVEN: {"reason": one.excused, "finding": one.message}}
        for each in account.revisions
        for one in each.findings
        if one.rule == UNPROVEN and one.excused
    }
    skipped = gates.rehearsal_notes(account)
    return {id: unproven.get(id, {}) | skipped.get(id, {}) for id in unproven.keys() | skipped.keys()}


def without(text: str, plan: Plan | None) -> str:
    """A proof for where an update has ended on the way: none of its plan's revisions is proven."""
    ids: Collection[str] = {step.id for step in plan.steps} if plan else ()
    return str(Proof.parse(text).without(ids)) if text else ""


def _left(olds: Mapping[str, Any], looked: Looked, lower: Lower | None) -> dict[str, str]:
    """The reasons of those that are applied, and are not proven yet; where nobody is asked, all that were kept."""
    applied = {each.id: each for each in looked.plan.applied}
    pending = {step.id for step in looked.plan.steps}
    kept = {id: reason for id, reason in (olds.get(_UNPROVEN) or {}).items() if id in applied and id not in pending}
    return {id: reason for id, reason in kept.items() if not lower or lower.lacks(applied[id], looked.server)}


def _begun(looked: Looked, lower: Lower | None) -> dict[str, str]:
    if not lower or not lower.reason or looked.plan.direction is not Direction.UPGRADE:
        return {}
    return {step.id: lower.reason for step in looked.plan.steps if lower.lacks(step, looked.server)}
