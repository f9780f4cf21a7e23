"""Phases: which contracts of a plan run now, and which are held. Pure: values in, values out."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Self

from pulumi_alembic.errors import HistoryError, PolicyError, TargetError
from pulumi_alembic.policy import parse_duration
from pulumi_alembic.scripts.history import History
from pulumi_alembic.scripts.plan import Direction, Plan, revision_text
from pulumi_alembic.scripts.revision import CONTRACT, EXPAND, Revision

__all__ = [
    "BEHIND",
    "BREAKS",
    "COMMAND",
    "FILL_IN",
    "HOLD",
    "NEEDLESS",
    "REASON",
    "RULES",
    "VARIABLE",
    "WITH_DEPLOY",
    "Applied",
    "Contracts",
    "asked_for",
    "awaited",
    "hold",
    "parse",
    "phase_of",
]

BREAKS, NEEDLESS, BEHIND = "breaks-running-code", "needless-contract", "expand-behind-contract"

RULES = frozenset({BREAKS, NEEDLESS, BEHIND})
"""The rules about phases. They are no part of a plan's digest, which is older, and covers all that they go by."""

WITH_DEPLOY, HOLD = "with-deploy", "hold"

FILL_IN = "pulumi-alembic backfill run"
"""What a person types to work at the backfills that are left."""

COMMAND = "pulumi-alembic contract"
"""What a person types to run the contracts that are held."""

VARIABLE = "PULUMI_ALEMBIC_CONTRACT"
"""The environment variable that lets one update run the contracts that are held: `now: REASON`."""

REASON = "PULUMI_ALEMBIC_CONTRACT_REASON"
"""The environment variable of the reason, if VARIABLE is `now` and nothing else."""

_SERVER_TIME = "%Y-%m-%d %H:%M UTC"


def parse(value: object) -> str:
    """When contracts run: WITH_DEPLOY, HOLD, or a time after the newest expand before, such as `24h`.

    Raises:
        PolicyError: The value is none of these.

    """
    text = str(value).strip()
    if text not in (WITH_DEPLOY, HOLD):
        try:
            parse_duration("contract", text)
        except PolicyError:
            raise PolicyError(f"contract must be {WITH_DEPLOY}, {HOLD} or a time such as 24h, not {text!r}") from None
    return text


def reason_of(environment: Mapping[str, str] = os.environ) -> str:
    """The reason for which one update runs contracts that are held; empty if it does not.

    Raises:
        PolicyError: VARIABLE has another form, or gives no reason that anybody could understand later.

    """
    value = " ".join(environment.get(VARIABLE, "").split())
    if not value:
        return ""
    word, _, rest = value.partition(" ")
    reason = " ".join((rest or environment.get(REASON, "")).split())
    if word.rstrip(":") != "now" or " " not in reason:
        raise PolicyError(
            f"{VARIABLE} is {value[:80]!r}: the ledger keeps the reason, so give one in words:\n"
            f"  {VARIABLE}='now: the old version is gone'"
        )
    return reason


@dataclass(frozen=True)
class Contracts:
    """What is known of when contracts run.

    `when` is as `parse` returns it, empty where nothing says so: contracts then run, but on a `production` stack on
    which revisions were applied. `decided` is the revision text to which a preview lets them run, and `reason` why they
    run although they are held. What is due later than `as_of` is held. With `alone`
    all contracts run, and nothing that they do not build on. A run `by_hand` goes by what the last update stored.
    """

    when: str = ""
    production: bool = False
    decided: str = ""
    reason: str = ""
    as_of: datetime | None = None
    alone: bool = False
    by_hand: bool = False

    @property
    def to_store(self) -> str:
        """What holds for migrations by hand; empty if contracts run with the others."""
        return self.when or (HOLD if self.production else "")

    def policy(self, current: Iterable[str]) -> str:
        """When contracts run on a database that has these heads."""
        # Where no revision was ever applied, no code of a previous version runs.
        return self.when or (HOLD if self.production and [*current] else WITH_DEPLOY)

    def stored(self, when: str) -> Self:
        """These, by what the last update stored in the database."""
        return replace(self, when=when)


@dataclass(frozen=True)
class Applied:
    """By revision when it was applied here, and `now`, both by the server's clock.

    `unfinished` names, by revision, a backfill that it asked for and that is not verified.
    """

    now: datetime
    at: Mapping[str, datetime] = field(default_factory=dict)
    unfinished: Mapping[str, str] = field(default_factory=dict)


def asked_for(history: History) -> bool:
    """Whether a script asks for a backfill, as far as its text shows."""
    return any("backfill(" in revision.source for revision in history.revisions.values())


def awaited(plan: Plan, history: History) -> set[str]:
    """The newest expands before the contracts of a plan: the time since each was applied says what is due."""
    contracts = [step for step in plan.steps if step.phase == CONTRACT]
    return {expand for step in contracts for expand in _newest_expands(step, history)}


def hold(plan: Plan, history: History, contracts: Contracts, applied: Applied) -> Plan:
    """The plan without what is held: contracts that are not due, and the merges that wait for one.

    A contract whose rows are still filled in waits too, whoever asks for it.

    Raises:
        TargetError: An expand builds on a contract that is held. The message names both. Or contracts are to run
            `alone`, and the backfill before one is not verified.

    """
    if plan.direction is not Direction.UPGRADE:
        return plan
    if contracts.alone:
        for step in plan.steps:
            if step.phase == CONTRACT and (backfill := _unfilled(step, history, applied.unfinished)):
                raise TargetError(
                    f"the contract {step.id} waits until {backfill} is verified. Nothing was run. Complete it:\n"
                    f"  {FILL_IN}"
                )
        needed = set(history.ancestors(step.id for step in plan.steps if step.phase == CONTRACT))
        return _without(plan, {step.id: "for the next update" for step in plan.steps if step.id not in needed})
    policy = contracts.policy(plan.current)
    applied = replace(applied, now=min(applied.now, contracts.as_of or applied.now))
    allowed = _decided(contracts, history)
    waits: dict[str, str] = {}
    for step in plan.steps:
        behind = [id for id in step.down_revisions if id in waits]
        if behind:
            if step.phase == EXPAND and len(step.down) == 1:
                raise TargetError(_blocked(step, behind[0], waits, history))
            waits[step.id] = f"for {' and '.join(behind)}"
        elif step.phase == CONTRACT and (backfill := _unfilled(step, history, applied.unfinished)):
            waits[step.id] = f"until {backfill} is verified ({FILL_IN})"
        elif step.phase != CONTRACT or contracts.reason:
            continue
        elif allowed is not None:
            if step.id not in allowed:
                waits[step.id] = "for the next update"
        elif until := _until(step, history, policy, applied):
            waits[step.id] = until
    return _without(plan, waits)


def _without(plan: Plan, waits: Mapping[str, str]) -> Plan:
    if not waits:
        return plan
    steps = tuple(step for step in plan.steps if step.id not in waits)
    reached = tuple(revision for revision in plan.applied if revision.id not in waits)
    return replace(plan, target=_heads(reached), steps=steps, applied=reached, waits=waits)


def _decided(contracts: Contracts, history: History) -> frozenset[str] | None:
    """What a preview lets run; None if none has decided that, or for another history."""
    heads = contracts.decided.split("+") if contracts.decided else []
    if not heads or any(id not in history.revisions for id in heads):
        return None
    return frozenset(history.ancestors(heads))


def _unfilled(step: Revision, history: History, unfinished: Mapping[str, str]) -> str:
    """The backfill that a contract waits for; empty if none."""
    before = history.ancestors([step.id]) if unfinished else ()
    return next((unfinished[id] for id in before if id in unfinished), "")


def _until(step: Revision, history: History, policy: str, applied: Applied) -> str:
    """Until when a contract waits; empty if it is due."""
    if policy == WITH_DEPLOY:
        return ""
    if policy == HOLD:
        return f"until {COMMAND}"
    window = timedelta(seconds=parse_duration("contract", policy))
    until = applied.now
    for expand in _newest_expands(step, history):
        if expand not in applied.at:
            return f"until {policy} after {expand} is applied here, or {COMMAND}"
        until = max(until, applied.at[expand] + window)
    return f"until {until.strftime(_SERVER_TIME)}" if until > applied.now else ""


def _newest_expands(step: Revision, history: History) -> set[str]:
    """The nearest expands that a contract builds on, behind other contracts."""
    expands, waiting = set(), [*step.down_revisions]
    while waiting:
        revision = history.revisions[waiting.pop()]
        if phase_of(revision) == EXPAND:
            expands.add(revision.id)
        else:
            waiting += revision.down_revisions
    return expands


def phase_of(revision: Revision) -> str:
    """The phase of a revision that can be applied, which is never judged: what it says wrongly makes it an expand."""
    try:
        return revision.phase
    except HistoryError:
        # A script of before there were phases can use the name.
        return EXPAND


def _heads(revisions: Iterable[Revision]) -> str:
    by_id = {revision.id: revision for revision in revisions}
    built_on = {id for revision in by_id.values() for id in revision.down_revisions}
    return revision_text([id for id in by_id if id not in built_on])


def _blocked(step: Revision, behind: str, waits: Mapping[str, str], history: History) -> str:
    contract = behind
    while history.revisions[contract].phase != CONTRACT:
        contract = next(id for id in history.revisions[contract].down_revisions if id in waits)
    return (
        f"{step.id} builds on the contract {contract}, which waits {waits[contract]}: code that needs {step.id} would "
        f"run without it. Nothing was run. Run the contract, if no code of the previous version runs any longer:\n"
        f"  {COMMAND}"
    )
