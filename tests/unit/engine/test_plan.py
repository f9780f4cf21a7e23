"""A registration or a step agrees with the plan, or the engine says how it differs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from pulumi_embedded.deployment.constraint import Constraint
from pulumi_embedded.errors import EngineError
from pulumi_embedded.model.goals import Alias, Goal
from pulumi_embedded.model.plan import PropertyChanges, ResourcePlan, UpdatePlan, allows, unchanged
from pulumi_embedded.model.state import ResourceState
from pulumi_embedded.model.steps import Op, Step
from pulumi_embedded.model.values import UNKNOWN, UNKNOWN_SENTINEL, Secret

HEAD = "urn:pulumi:dev::p::"
STACK = f"{HEAD}pulumi:pulumi:Stack::p-dev"
PROVIDER = f"{HEAD}pulumi:providers:walk::default"
URN = f"{HEAD}walk:index:Thing::a"
GOAL = Goal(
    "walk:index:Thing",
    "a",
    True,
    {},
    parent=STACK,
    provider=f"{PROVIDER}::{UNKNOWN_SENTINEL}",
    dependencies=[f"{HEAD}walk:index:Thing::b"],
    property_dependencies={"value": [f"{HEAD}walk:index:Thing::b"], "of": []},
    custom_timeouts={"create": 90.0},
)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({}, ""),
        ({"provider": f"{PROVIDER}::1"}, ""),
        ({"property_dependencies": {}}, ""),
        ({"provider": f"{PROVIDER}_1::1"}, f"provider changed (expected {PROVIDER}::{UNKNOWN_SENTINEL})"),
        ({"provider": ""}, f"provider changed (expected {PROVIDER}::{UNKNOWN_SENTINEL})"),
        ({"custom": False}, "resource kind changed (expected custom)"),
        ({"parent": ""}, f"parent changed (expected {STACK})"),
        ({"protect": True}, "protect changed (expected false)"),
        ({"protect": False}, ""),
        ({"delete_before_replace": False}, "deleteBeforeReplace changed (expected no value)"),
        ({"import_id": "x"}, "importID changed (expected )"),
        ({"custom_timeouts": {}}, "create timeout changed (expected 90)"),
        ({"custom_timeouts": {"create": 90.0, "read": 1.0}}, "read timeout changed (expected 0)"),
        ({"ignore_changes": ["b", "a"]}, "ignoreChanges changed: added a, b"),
        ({"additional_secret_outputs": ["x"]}, "additionalSecretOutputs changed: added x"),
        ({"dependencies": ["c"]}, f"dependencies changed: added c; deleted {HEAD}walk:index:Thing::b"),
        ({"aliases": [Alias(name="x")]}, "aliases changed: added { x     false}"),
        ({"property_dependencies": {"of": ["c"]}}, "dependencies for of changed: added c"),
        # A plan does not contain these options.
        ({"retain_on_delete": True, "deleted_with": "x", "replace_on_changes": ["a"], "version": "2"}, ""),
    ],
)
def test_an_option_that_is_not_as_planned_is_named(changes: dict[str, Any], text: str) -> None:
    assert ResourcePlan(GOAL).violation(replace(GOAL, **changes), {}, {}) == text


def test_the_provider_of_a_plan_that_knows_its_id_has_this_id() -> None:
    known = replace(GOAL, provider=f"{PROVIDER}::1")
    assert ResourcePlan(known).violation(replace(GOAL, provider=f"{PROVIDER}::2"), {}, {}) == (
        f"provider changed (expected {PROVIDER}::1)"
    )


def test_a_resource_that_was_to_be_deleted_is_not_registered() -> None:
    assert ResourcePlan(steps=[Op.DELETE]).violation(GOAL, {}, {}) == "resource unexpectedly not deleted"


@pytest.mark.parametrize(
    ("planned", "olds", "news", "text"),
    [
        (({}, {}), {}, {}, ""),
        (({}, {"a": 1}), {}, {"a": 1}, ""),
        # A value that was already set in the meantime is not set again. A property with another value is changed.
        (({}, {"a": 1}), {"a": 1}, {"a": 1}, ""),
        (({}, {"a": 1}), {"a": 2}, {"a": 1}, ""),
        (({"a": 1}, {"a": 2}), {"a": 2}, {"a": 2}, ""),
        (({"a": 1}, {}), {}, {}, ""),
        (({}, {"a": 1}), {}, {"a": 2}, "++a[{1}!={2}]"),
        (({}, {"a": 1}), {}, {}, "+-a[{1}]"),
        (({}, {"a": 1}), {"a": 2}, {"a": 2}, "+=a[{1}!={2}]"),
        (({}, {"a": 1}), {"a": 2}, {"a": 3}, "+~a[{1}!={3}]"),
        (({"a": 1}, {"a": 2}), {"a": 1}, {"a": 3}, "~~a[{2}!={3}]"),
        (({"a": 1}, {"a": 2}), {"a": 1}, {"a": 1}, "~=a[{2}!={1}]"),
        (({"a": 1}, {"a": 2}), {}, {"a": 2}, "~+a[{2}!={2}]"),
        (({"a": 1}, {"a": 2}), {"a": 1}, {}, "~-a[{2}]"),
        (({"a": 1}, {}), {"a": 1}, {"a": 1}, "-=a[{1}]"),
        (({"a": 1}, {}), {"a": 1}, {"a": 2}, "-~a[{2}]"),
        (({"a": 1}, {}), {}, {"a": 1}, "-+a[{1}]"),
        (({}, {}), {}, {"a": 1, "b": True}, "=+a[{1}], =+b[{true}]"),
        (({"a": 1}, {"a": 1}), {"a": 1}, {}, "=-a"),
        (({"a": 1}, {"a": 1}), {"a": 1}, {"a": 2.5}, "=~a[{2.5}]"),
        # A property without a value equals an absent property.
        (({}, {}), {}, {"a": None}, ""),
        (({"a": 1}, {"a": None}), {"a": 1}, {}, ""),
        # An unknown value can become any value, or none.
        (({}, {"a": UNKNOWN}), {}, {"a": [1]}, ""),
        (({}, {"a": UNKNOWN}), {}, {}, ""),
        (({"a": 1}, {"a": UNKNOWN}), {"a": 1}, {}, ""),
        (({}, {"a": UNKNOWN}), {"a": 1}, {}, "+-a[output<string>{}]"),
        (({}, {"a": {"x": UNKNOWN, "y": [UNKNOWN, 1]}}), {}, {"a": {"y": [2, 1]}}, ""),
        (
            ({}, {"a": {"x": UNKNOWN, "y": [UNKNOWN, 1]}}),
            {},
            {"a": {"y": [2, "z"], "z": None}},
            "++a[{map[x:output<string>{} y:{[output<string>{} {1}]}]}!={map[y:{[{2} {z}]} z:{<nil>}]}]",
        ),
        # A boolean is not a number, and a secret is not a plain value. No secret is shown.
        (({}, {"a": 1}), {}, {"a": True}, "++a[{1}!={true}]"),
        (({}, {"a": Secret("s")}), {}, {"a": Secret("s")}, ""),
        (({}, {"a": Secret(UNKNOWN)}), {}, {"a": Secret("s")}, ""),
        (({}, {"a": Secret("s")}), {}, {"a": Secret("t")}, "++a[{[secret]}!={[secret]}]"),
        (
            ({"a": Secret("s")}, {"a": Secret("t")}),
            {"a": Secret("s")},
            {"a": Secret("s")},
            "~=a[{[secret]}!={[secret]}]",
        ),
        (({}, {"a": Secret("s")}), {}, {"a": "s"}, "++a[{[secret]}!={s}]"),
    ],
)
def test_a_property_that_is_not_as_planned_is_named(
    planned: tuple[dict[str, Any], dict[str, Any]], olds: dict[str, Any], news: dict[str, Any], text: str
) -> None:
    found = PropertyChanges.between(*planned).violation(olds, news)
    assert found == (f"properties changed: {text}" if text else "")


@pytest.mark.parametrize(
    ("planned", "others"),
    [
        (Op.SAME, []),
        (Op.CREATE, [Op.SAME]),
        (Op.UPDATE, [Op.SAME]),
        (Op.DELETE, []),
        (Op.REPLACE, [Op.SAME, Op.UPDATE]),
        (Op.CREATE_REPLACEMENT, [Op.SAME, Op.UPDATE]),
        (Op.DELETE_REPLACED, [Op.SAME, Op.UPDATE]),
        (Op.IMPORT, []),
        (Op.IMPORT_REPLACEMENT, []),
        (Op.READ_DISCARD, []),
        (Op.DISCARD_REPLACED, []),
        (Op.REMOVE_PENDING_REPLACE, []),
    ],
)
def test_a_step_is_the_planned_one_or_a_lesser_one(planned: Op, others: list[Op]) -> None:
    assert [op for op in Op if allows(planned, op)] == [op for op in Op if op in (planned, *others)]


def state(**values: Any) -> ResourceState:
    return ResourceState(urn=URN, type="walk:index:Thing", custom=True, parent=STACK, **values)


def constraint(*steps: Op) -> Constraint:
    return Constraint(UpdatePlan({URN: ResourcePlan(GOAL, steps=list(steps), seed=b"seed")} if steps else {}), {})


@pytest.mark.parametrize(
    ("steps", "done", "text"),
    [
        ([Op.UPDATE], [Op.REPLACE], "replace is not allowed by the plan: this resource is constrained to update"),
        ([Op.UPDATE], [Op.SAME, Op.DELETE], "delete is not allowed by the plan: no more steps were expected"),
        ([], [Op.CREATE], "create is not allowed by the plan: no steps were expected for this resource"),
    ],
)
def test_a_step_that_is_not_planned_is_refused(steps: list[Op], done: list[Op], text: str) -> None:
    held = constraint(*steps)
    held.decided([Step(op, state(), state()) for op in done[:-1]])
    with pytest.raises(EngineError, match=text):
        held.decided([Step(done[-1], state(), state())])


def test_a_resource_that_is_in_the_state_and_not_in_the_plan_must_not_change() -> None:
    old = state(inputs={"value": 1}, dependencies=["x"])
    goal = Goal("walk:index:Thing", "a", True, {}, parent=STACK, dependencies=["x"])
    assert unchanged(old).violation(goal, old.inputs, {"value": 1}) == ""
    assert unchanged(old).violation(goal, old.inputs, {"value": 2}) == "properties changed: =~value[{2}]"
    with pytest.raises(EngineError, match=f"^resource {URN} violates plan: dependencies changed: deleted x$"):
        constraint().registered(replace(goal, dependencies=[]), old, state(inputs={"value": 1}), old.inputs, b"")


def test_what_was_not_to_be_imported_is_refused_before_its_import() -> None:
    imported = replace(GOAL, import_id="there")
    with pytest.raises(EngineError, match=r"violates plan: importID changed \(expected \)$"):
        constraint(Op.CREATE).imported(imported, state(), b"")
    with pytest.raises(EngineError, match=r"violates plan: it was not to be imported$"):
        constraint().imported(imported, state(), b"")
    held = Constraint(UpdatePlan({URN: ResourcePlan(imported)}), {})
    held.imported(imported, state(), b"")
    assert list(held.missing({URN})) == []


def test_the_steps_that_were_not_met_are_missing() -> None:
    assert list(constraint(Op.UPDATE).missing(set())) == [URN]
    assert list(constraint(Op.DELETE).missing({URN})) == [URN]
    # Another user has deleted it.
    assert list(constraint(Op.DELETE).missing(set())) == []
    held = constraint(Op.UPDATE)
    held.decided([Step(Op.SAME, state(), state())])
    assert list(held.missing({URN})) == []


def test_random_defaults_are_made_of_the_same_seed() -> None:
    assert constraint(Op.CREATE).seed(URN) == b"seed"
    seeds = {constraint().seed(URN), constraint().seed(URN), Constraint(None, {}).seed(URN)}
    assert len(seeds) == 3 and {len(seed) for seed in seeds} == {32}


def test_the_outputs_of_a_component_are_as_planned() -> None:
    plan = UpdatePlan({URN: ResourcePlan(GOAL, outputs=PropertyChanges.between({}, {"x": 1}))})
    Constraint(plan, {}).completed(URN, {}, {"x": 1})
    with pytest.raises(EngineError, match=r"resource violates plan: properties changed: \+\+x\[\{1\}!=\{2\}\]"):
        Constraint(plan, {}).completed(URN, {}, {"x": 2})
    with pytest.raises(EngineError, match=f"no plan for resource {STACK}"):
        Constraint(plan, {}).completed(STACK, {}, {})
