"""Contracts that are held back: which revisions wait, and until when. Pure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pulumi_alembic.errors import PolicyError, TargetError
from pulumi_alembic.scripts import phases
from pulumi_alembic.scripts.history import History
from pulumi_alembic.scripts.manifest import Manifest
from pulumi_alembic.scripts.phases import Applied, Contracts
from pulumi_alembic.scripts.plan import Plan, plan
from pulumi_alembic.scripts.revision import Revision, checksum

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)


def history(*lines: str) -> History:
    """Build a history: `"2<1"` is an expand 2 that builds on 1, `"c3<2"` a contract c3."""
    revisions = []
    for line in lines:
        id, _, downs = line.partition("<")
        source = "phase = 'contract'" if id.startswith("c") else ""
        down = tuple(filter(None, downs.split(",")))
        revisions.append(Revision(id, down, (), Path(), f"{id}.py", source, checksum(source)))
    return History.of(revisions, Manifest(Path("manifest"), exists=False))


LINE = history("1", "2<1", "c3<2", "c4<c3")
BRANCHES = history("1", "c2<1", "3<1", "4<3", "5<c2,4")


def held(of: History, contracts: Contracts, current: tuple[str, ...] = ("1",), **ago: int) -> Plan:
    """Return the plan to the head. `ago` gives by `_REVISION` how many hours ago it was applied."""
    at = {id.removeprefix("_"): NOW - timedelta(hours=hours) for id, hours in ago.items()}
    steps = plan(of, current, of.heads[0])
    assert phases.awaited(steps, of) <= {*of.revisions}
    return phases.hold(steps, of, contracts, Applied(NOW, at))


@pytest.mark.parametrize(
    ("contracts", "current", "ids"),
    [
        (Contracts(), ("1",), ["2", "c3", "c4"]),
        (Contracts("with-deploy", production=True), ("1",), ["2", "c3", "c4"]),
        (Contracts(production=True), ("1",), ["2"]),
        # No code runs yet on a database that no revision has built.
        (Contracts(production=True), (), ["1", "2", "c3", "c4"]),
        (Contracts("hold"), (), ["1", "2"]),
        (Contracts("hold"), ("2",), []),
        (Contracts("hold", reason="the old code is gone"), ("2",), ["c3", "c4"]),
        (Contracts("24h", decided="c3"), ("2",), ["c3"]),
        (Contracts("with-deploy", decided="2"), ("2",), []),
        (Contracts("hold", alone=True), ("2",), ["c3", "c4"]),
    ],
)
def test_what_runs_goes_by_the_policy(contracts: Contracts, current: tuple[str, ...], ids: list[str]) -> None:
    found = held(LINE, contracts, current)
    assert [step.id for step in found.steps] == ids
    assert found.target == (ids or current)[-1]
    assert [each.id for each in found.applied] == [*LINE.ancestors(current), *ids]
    assert {step.id for step in plan(LINE, current, "c4").steps} == {*ids, *found.waits}


@pytest.mark.parametrize(
    ("ago", "until"),
    [
        ({}, "until 24h after 2 is applied here, or pulumi-alembic contract"),
        ({"_1": 50}, "until 24h after 2 is applied here, or pulumi-alembic contract"),
        ({"_2": 20}, "until 2026-03-02 16:00 UTC"),
        ({"_2": 24}, ""),
        ({"_2": 100}, ""),
    ],
)
def test_a_contract_is_due_some_time_after_the_newest_expand_before_it(ago: dict[str, int], until: str) -> None:
    found = held(LINE, Contracts("24h"), ("2",), **ago)
    assert found.waits.get("c3", "") == until
    assert [step.id for step in found.steps] == ([] if until else ["c3", "c4"])


def test_what_is_due_since_the_preview_waits() -> None:
    as_of = Contracts("24h", as_of=NOW - timedelta(hours=1))
    assert held(LINE, as_of, ("2",), _2=24).waits["c3"] == "until 2026-03-02 12:00 UTC"
    assert not held(LINE, as_of, ("2",), _2=25).waits


def test_an_expand_behind_a_held_contract_is_an_error_that_names_both() -> None:
    of = history("1", "c2<1", "3<c2")
    with pytest.raises(TargetError, match=r"(?s)3 builds on the contract c2.*\n  pulumi-alembic contract") as raised:
        held(of, Contracts("hold"))
    assert "Nothing was run" in str(raised.value)
    assert not held(of, Contracts("with-deploy")).waits


def test_a_hold_stops_its_own_branch_and_a_merge_waits() -> None:
    found = held(BRANCHES, Contracts("hold"))
    assert [step.id for step in found.steps] == ["3", "4"]
    assert dict(found.waits) == {"c2": "until pulumi-alembic contract", "5": "for c2"}
    assert found.target == "4"
    again = held(BRANCHES, Contracts("hold"), ("4",))
    assert not again.steps and again.target == "4"
    assert str(again) == "at 4: 2 revisions held"


def test_a_contract_waits_for_the_backfill_before_it_whoever_asks_for_it() -> None:
    applied = Applied(NOW, {"2": NOW - timedelta(days=9)}, {"2": "backfill 7 of app.t (2)"})
    steps = plan(LINE, ("2",), "c4")
    for contracts in (Contracts(), Contracts("with-deploy"), Contracts("24h"), Contracts("hold", reason="it is gone")):
        found = phases.hold(steps, LINE, contracts, applied)
        assert not found.steps
        assert found.waits["c3"] == "until backfill 7 of app.t (2) is verified (pulumi-alembic backfill run)"
    with pytest.raises(TargetError, match=r"c3 waits until backfill 7 of app.t (?s:.*)\n  pulumi-alembic backfill run"):
        phases.hold(steps, LINE, Contracts(alone=True), applied)
    assert [step.id for step in phases.hold(plan(BRANCHES, ("1",), "c2"), BRANCHES, Contracts(), applied).steps] == [
        "c2"
    ]


def test_a_plan_names_what_is_held() -> None:
    found = held(LINE, Contracts("hold"))
    assert str(found) == "1 → 2, 1 upgrade; 2 revisions held"
    assert found.held_lines == ["c3 waits until pulumi-alembic contract", "c4 waits for c3"]


@pytest.mark.parametrize("text", ["never", "", "24", "-1h"])
def test_a_policy_that_there_is_not_is_refused(text: str) -> None:
    with pytest.raises(PolicyError, match="contract must be with-deploy, hold or a time such as 24h, not"):
        phases.parse(text)


@pytest.mark.parametrize(
    ("value", "reason", "expected"),
    [
        ("now: the old code is gone", "", "the old code is gone"),
        ("now", "the old code is gone", "the old code is gone"),
        ("", "the old code is gone", ""),
    ],
)
def test_one_update_runs_what_is_held_for_a_reason(value: str, reason: str, expected: str) -> None:
    assert phases.reason_of({phases.VARIABLE: value, phases.REASON: reason}) == expected


@pytest.mark.parametrize("value", ["now", "yes", "later: it is too soon", "now: x"])
def test_a_reason_that_nobody_could_understand_is_refused(value: str) -> None:
    with pytest.raises(PolicyError, match="PULUMI_ALEMBIC_CONTRACT='now: "):
        phases.reason_of({phases.VARIABLE: value})
