"""The resources that `--target` names, and the treatment of all other resources."""

from __future__ import annotations

from typing import Any

import pytest

from pulumi_embedded.deployment.targeting import Targeting, UrnTargets
from pulumi_embedded.model.options import Kind, Options
from pulumi_embedded.model.state import ResourceState

A, B, C = (f"urn:pulumi:dev::p::m:i:T::{name}" for name in "abc")


def resource(urn: str, **values: Any) -> ResourceState:
    return ResourceState(urn=urn, type="m:i:T", custom=True, **values)


def targeting(*base: ResourceState, targets: tuple[str, ...], dependents: bool = False) -> Targeting:
    return Targeting(Options(Kind.UPDATE, False, targets=targets, target_dependents=dependents), base)


@pytest.mark.parametrize(
    ("name", "matches"),
    [
        (A, True),
        ("**::a", True),
        ("urn:pulumi:dev::p::m:i:*::a", True),
        ("urn:pulumi:*::a", False),
        ("**::?", False),
        ("**::[a]", False),
        ("**", True),
    ],
)
def test_a_star_is_a_part_of_a_urn_and_two_are_any_of_it(name: str, matches: bool) -> None:
    assert (A in UrnTargets([name])) is matches


def test_no_target_means_every_resource() -> None:
    assert A in UrnTargets()
    assert not UrnTargets().constrained


def test_dependents_are_targets_only_when_asked_for_and_through_each_other() -> None:
    states = [resource(A), resource(B, dependencies=[A]), resource(C, parent=B)]
    assert [targeting(targets=(A,)).includes(each) for each in states] == [True, False, False]
    asked = targeting(targets=(A,), dependents=True)
    assert [asked.includes(each) for each in states] == [True, True, True]


def test_what_is_kept_comes_after_what_it_depends_on() -> None:
    base = [resource(A), resource(B, dependencies=[A]), resource(C, dependencies=[A, B])]
    chosen = targeting(*base, targets=("**::other",))
    assert [step.urn for step in chosen.keep(base[2], set())] == [A, B, C]
    assert [step.urn for step in chosen.keep(base[2], {A})] == [B, C]


def test_a_step_that_needs_what_was_left_out_is_found_once() -> None:
    chosen = targeting(resource(B), targets=(B,))
    chosen.skip(resource(A))
    steps = chosen.keep(resource(B, dependencies=[A]), {A})
    assert chosen.missing(steps) == [(B, A)]
    assert chosen.missing(steps) == []


def test_deleting_a_target_deletes_and_names_its_dependents() -> None:
    base = [resource(A), resource(B, parent=A), resource(C)]
    chosen = targeting(*base, targets=(A,))
    assert chosen.deletable() == {A, B}
    assert chosen.refused([A, B]) == [B]
    assert targeting(*base, targets=(A,), dependents=True).refused([A, B]) == []


def test_targets_that_nobody_has_are_told_and_patterns_never() -> None:
    chosen = targeting(resource(A), targets=(A, B, C, "**::nope"))
    assert chosen.unknown({B}) == [C]
