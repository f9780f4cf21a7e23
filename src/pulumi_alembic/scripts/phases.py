"""Phases: decide which contracts of a plan run now, and which are held. Pure functions without a database."""

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
    "windows",
]

BREAKS, NEEDLESS, BEHIND = "breaks-running-code", "needless-contract", "expand-behind-contract"

RULES = frozenset({BREAKS, NEEDLESS, BEHIND})
"""The lint rules about phases. They are not in a plan's digest, which covers their inputs anyway."""

WITH_DEPLOY, HOLD = "with-deploy", "hold"

FILL_IN = "pulumi-alembic backfill run"
"""The command that works at the remaining backfills."""

COMMAND = "pulumi-alembic contract"
"""The command that runs the held contracts."""

VARIABLE = "PULUMI_ALEMBIC_CONTRACT"
"""The environment variable that lets one update run held contracts: `now: REASON`."""

REASON = "PULUMI_ALEMBIC_CONTRACT_REASON"
"""The environment variable of the reason, if VARIABLE is only `now`."""

_SERVER_TIME = "%Y-%m-%d %H:%M UTC"


def parse(value: object) -> str:
    """Return when contracts run: WITH_DEPLOY, HOLD, or a time after the newest expand before them, such as `24h`.

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
    """Return the reason for which one update runs held contracts. Empty if it does not run them.

    Raises:
        PolicyError: VARIABLE has another form, or its reason is not at least two words.

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
    """Settings that decide when contracts run.

    Attributes:
        when: as `parse` returns it. Empty by default: contracts run, except on a `production` stack with applied
            revisions.
        decided: the revision text up to which a preview lets contracts run.
        reason: why held contracts run all the same.
        as_of: contracts that are due later than this are held.
        alone: run all contracts and what they build on, and nothing else.
        by_hand: a run outside the stack, which uses the setting that the last update stored.

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
        """The setting for migrations by hand. Empty if contracts run with the other revisions."""
        return self.when or (HOLD if self.production else "")

    def policy(self, current: Iterable[str]) -> str:
        """Return when contracts run on a database with these heads."""
        # If no revision was ever applied, no previous version of the code runs.
        return self.when or (HOLD if self.production and [*current] else WITH_DEPLOY)

    def stored(self, when: str) -> Self:
        """Return these settings with `when` as the last update stored it in the database."""
        return replace(self, when=when)


@dataclass(frozen=True)
class Applied:
    """When revisions were applied to this database.

    Attributes:
        now: by the server's clock, like `at`.
        at: by revision id.
        unfinished: by revision id, the text of its backfill that is not verified.

    """

    now: datetime
    at: Mapping[str, datetime] = field(default_factory=dict)
    unfinished: Mapping[str, str] = field(default_factory=dict)


def asked_for(history: History) -> bool:
    """Return whether the source of a script declares a backfill."""
    return any("backfill(" in revision.source for revision in history.revisions.values())


def awaited(plan: Plan, history: History) -> set[str]:
    """Return the newest expands before the plan's contracts. The time since they were applied decides what is due."""
    contracts = [step for step in plan.steps if step.phase == CONTRACT]
    return {expand for step in contracts for expand in _newest_expands(step, history)}


def windows(history: History, applied: Applied, contracts: Iterable[str]) -> dict[str, int]:
    """Return the seconds between each of these contracts and the newest expand before it.

    A contract is left out if a run applied only one of them here.
    """
    found = {}
    for contract in contracts:
        times = [applied.at.get(id) for id in (contract, *_newest_expands(history.revisions[contract], history))]
        if len(times) > 1 and all(times):
            at, *expands = [time for time in times if time]
            found[contract] = max(0, int((at - max(expands)).total_seconds()))
    return found


def hold(plan: Plan, history: History, contracts: Contracts, applied: Applied) -> Plan:
    """Return the plan without held steps: contracts that are not due, and merges that wait for one.

    A contract also waits for an unfinished backfill before it, whatever the settings are.

    Args:
        plan: the whole plan.
        history: the scripts.
        contracts: when contracts are due.
        applied: when the revisions before were applied.

    Raises:
        TargetError: An expand builds on a held contract. The message names both. Or, with `alone`, the backfill before
            a contract is not verified.

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
    """Return the revisions that a preview lets run. None without such a decision, or if it is about another history."""
    heads = contracts.decided.split("+") if contracts.decided else []
    if not heads or any(id not in history.revisions for id in heads):
        return None
    return frozenset(history.ancestors(heads))


def _unfilled(step: Revision, history: History, unfinished: Mapping[str, str]) -> str:
    """Return the backfill that a contract waits for. Empty if there is none."""
    before = history.ancestors([step.id]) if unfinished else ()
    return next((unfinished[id] for id in before if id in unfinished), "")


def _until(step: Revision, history: History, policy: str, applied: Applied) -> str:
    """Return until when a contract waits. Empty if it is due."""
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
    """Return the nearest expands that a contract builds on, looking through other contracts."""
    expands, waiting = set(), [*step.down_revisions]
    while waiting:
        revision = history.revisions[waiting.pop()]
        if phase_of(revision) == EXPAND:
            expands.add(revision.id)
        else:
            waiting += revision.down_revisions
    return expands


def phase_of(revision: Revision) -> str:
    """Return the phase of a revision that can be applied already. An invalid phase counts as an expand."""
    try:
        return revision.phase
    except HistoryError:
        # A script from before there were phases can use the name for something else.
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
