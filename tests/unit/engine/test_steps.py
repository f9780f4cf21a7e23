"""The steps of a resource depend only on its old state, its new state and the provider's diff."""

from __future__ import annotations

import pytest

from pulumi_embedded.model.differ import diff_objects
from pulumi_embedded.model.state import ResourceState
from pulumi_embedded.model.steps import (
    Action,
    Diff,
    DiffKind,
    Op,
    PropertyDiff,
    decide,
    detailed_diff,
    invert,
    replacement_steps,
    with_replace_on_changes,
)


def resource(name: str = "r", **values: object) -> ResourceState:
    return ResourceState(f"urn:pulumi:dev::p::t:t:T::{name}", "t:t:T", True, **values)  # type: ignore[arg-type]


REPLACE = Diff(changes=True, replaces=("key",))


@pytest.mark.parametrize(
    ("diff", "option", "action"),
    [
        (Diff(changes=False), None, Action.SAME),
        (Diff(changes=True), None, Action.UPDATE),
        (REPLACE, None, Action.REPLACE),
        (REPLACE, True, Action.DELETE_THEN_REPLACE),
        (Diff(True, ("key",), delete_before_replace=True), None, Action.DELETE_THEN_REPLACE),
        (Diff(True, ("key",), delete_before_replace=True), False, Action.REPLACE),
        (Diff(changes=False, replaces=("key",)), None, Action.SAME),
    ],
)
def test_the_diff_decides_and_the_resource_option_wins(diff: Diff, option: bool | None, action: Action) -> None:
    assert decide(resource(), diff, option) is action


def test_a_resource_whose_initialization_failed_is_updated_until_it_succeeds() -> None:
    assert decide(resource(init_errors=["not ready"]), Diff(changes=False), None) is Action.UPDATE


def test_a_resource_deleted_for_its_replacement_is_replaced() -> None:
    assert decide(resource(pending_replacement=True), Diff(changes=False), None) is Action.REPLACE


def test_a_replacement_creates_first_and_leaves_the_delete_for_the_end() -> None:
    old, new = resource(), resource()
    steps = replacement_steps(Action.REPLACE, old, new, REPLACE)
    assert [step.op for step in steps] == [Op.CREATE_REPLACEMENT, Op.REPLACE]
    assert steps[0].pending_delete and steps[0].keys == ("key",)


def test_delete_before_replace_deletes_dependents_in_reverse() -> None:
    old, new, near, far = resource(), resource(), resource("near"), resource("far")
    steps = replacement_steps(Action.DELETE_THEN_REPLACE, old, new, REPLACE, [near, far])
    assert [step.op for step in steps] == [Op.DELETE_REPLACED] * 3 + [Op.REPLACE, Op.CREATE_REPLACEMENT]
    assert [step.old for step in steps[:3]] == [far, near, old]
    assert all(step.pending_replacement for step in steps[:3])


def test_what_was_deleted_before_is_not_deleted_again() -> None:
    steps = replacement_steps(Action.DELETE_THEN_REPLACE, resource(pending_replacement=True), resource(), REPLACE)
    assert [step.op for step in steps] == [Op.REPLACE, Op.CREATE_REPLACEMENT]


def test_replace_on_changes_turns_changes_under_its_paths_into_replacements() -> None:
    detailed = {"a.b[0]": PropertyDiff(DiffKind.UPDATE), "c": PropertyDiff(DiffKind.ADD)}
    diff = with_replace_on_changes(Diff(True, (), ("a", "c"), detailed), ["a"])
    assert diff.replaces == ("a",)
    assert diff.detailed == {
        "a.b[0]": PropertyDiff(DiffKind.UPDATE_REPLACE),
        "c": PropertyDiff(DiffKind.ADD),
    }
    unchanged = Diff(changes=False, changed=("a",))
    assert with_replace_on_changes(unchanged, ["a"]) is unchanged


def test_a_kind_of_the_detailed_diff_replaces_without_a_key() -> None:
    detailed = {"a": PropertyDiff(DiffKind.UPDATE_REPLACE)}
    assert decide(resource(), Diff(True, (), ("a",), detailed), None) is Action.REPLACE


def test_a_nested_path_of_replace_on_changes_needs_a_detailed_diff() -> None:
    assert not with_replace_on_changes(Diff(True, (), ("a",)), ["a.x"]).needs_replace
    detailed = {"a.x": PropertyDiff(DiffKind.UPDATE)}
    assert with_replace_on_changes(Diff(True, (), ("a",), detailed), ["a.x"]).needs_replace


def test_a_failed_initialization_is_in_the_diff_of_its_replacement() -> None:
    diff = with_replace_on_changes(Diff(False, detailed={}), ["*"], init_errors=True)
    assert diff.replaces == ("#initerror",)
    assert diff.detailed == {"#initerror": PropertyDiff(DiffKind.UPDATE_REPLACE)}


def test_the_engine_s_own_diff_names_each_leaf() -> None:
    found = diff_objects({"l": [1, 2], "o": {"x": 1, "gone": 1}, "a b": 1}, {"l": [1, 3, 4], "o": {"x": 1}, "a b": 2})
    assert found is not None
    kinds = {path: each.kind for path, each in detailed_diff(found).items()}
    assert kinds == {
        "l[1]": DiffKind.UPDATE,
        "l[2]": DiffKind.ADD,
        "o.gone": DiffKind.DELETE,
        '["a b"]': DiffKind.UPDATE,
    }


def test_a_refresh_shows_the_diff_from_the_other_side() -> None:
    detailed = {
        "a": PropertyDiff(DiffKind.ADD),
        "b": PropertyDiff(DiffKind.DELETE_REPLACE),
        "c": PropertyDiff(DiffKind.UPDATE),
    }
    inverted = invert(Diff(True, detailed=detailed)).detailed
    assert inverted is not None
    assert [inverted[key].kind for key in "abc"] == [DiffKind.DELETE, DiffKind.ADD_REPLACE, DiffKind.UPDATE]
