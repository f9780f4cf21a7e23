"""Deletes go from dependents to their dependencies, and dependents are found through every kind of edge."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pulumi_embedded.model.graph import delete_order, dependents_of, repaired, with_new_names
from pulumi_embedded.model.state import ResourceState

PROVIDER = "urn:pulumi:dev::p::pulumi:providers:t::default"


def resource(name: str, **values: object) -> ResourceState:
    return ResourceState(name, "t:t:T", True, **values)  # type: ignore[arg-type]


def test_every_kind_of_edge_makes_a_dependent_but_being_a_child_does_not() -> None:
    root = resource(PROVIDER)
    resources = [
        root,
        resource("provided", provider=f"{PROVIDER}::id"),
        resource("child", parent=PROVIDER),
        resource("property", property_dependencies={"x": ["provided"]}),
        resource("with", deleted_with="property"),
        resource("alone"),
    ]
    assert [each.urn for each in dependents_of(resources, root)] == ["provided", "property", "with"]
    assert [each.urn for each in dependents_of(resources, root, {"provided"})] == []


def test_an_alias_renames_what_it_stood_for_wherever_it_is_named() -> None:
    prefix = "urn:pulumi:dev::p::"
    renamed = resource(f"{prefix}t:t:G::new", aliases=[f"{prefix}t:t:G::old"])
    child = resource(f"{prefix}t:t:G$t:t:T::child", parent=f"{prefix}t:t:G::old")
    left = resource(f"{prefix}t:t:G::old", delete=True, dependencies=[f"{prefix}t:t:G::old"])
    found = with_new_names([renamed, child, left])
    assert [each.urn for each in found] == [renamed.urn, child.urn, renamed.urn]
    assert found[1].parent == renamed.urn and found[2].dependencies == [renamed.urn]
    assert not any(each.aliases for each in found) and renamed.aliases


def test_a_renamed_dependency_drops_the_properties_without_one_as_the_cli_does() -> None:
    old, new = "urn:pulumi:dev::p::t:t:T::old", "urn:pulumi:dev::p::t:t:T::new"
    renamed = resource(new, aliases=[old])
    left = resource("left", property_dependencies={"of": [old], "value": []})
    other = resource("other", property_dependencies={"of": ["left"], "value": []})
    found = [each.property_dependencies for each in with_new_names([renamed, left, other])]
    assert found == [{}, {"of": [new]}, {"of": ["left"], "value": []}]


def test_depending_on_a_component_is_depending_on_its_children() -> None:
    component = resource("component")
    component.custom = False
    child = resource("child", parent="component")
    after = resource("after", dependencies=["component"])
    rounds = delete_order([component, child, after], [component, child, after])
    assert [[each.urn for each in batch] for batch in rounds] == [["after"], ["child"], ["component"]]


@st.composite
def _stacks(draw: st.DrawFn) -> list[ResourceState]:
    resources: list[ResourceState] = []
    for number in range(draw(st.integers(1, 12))):
        earlier = st.sampled_from([each.urn for each in resources]) if resources else st.nothing()
        depends = draw(st.lists(earlier, max_size=3)) if resources else []
        parent = draw(st.one_of(st.just(""), earlier)) if resources else ""
        resources.append(resource(f"r{number}", dependencies=depends, parent=parent))
    return resources


@given(_stacks(), st.data())
def test_nothing_is_deleted_before_what_depends_on_it(stack: list[ResourceState], data: st.DataObject) -> None:
    condemned = [each for each in stack if data.draw(st.booleans())]
    rounds = delete_order(stack, condemned)
    place = {each.urn: number for number, batch in enumerate(rounds) for each in batch}
    assert place.keys() == {each.urn for each in condemned}
    for each in condemned:
        for needed in each.all_dependencies() & place.keys():
            assert place[each.urn] < place[needed]


def test_a_refresh_forgets_every_mention_of_what_is_gone() -> None:
    left = resource("left", dependencies=["gone", "kept"], property_dependencies={"x": ["gone"], "y": ["kept"]})
    left.deleted_with = left.parent = "gone"
    _, repaired_left = repaired([resource("kept"), left])
    assert repaired_left.dependencies == ["kept"]
    assert repaired_left.property_dependencies == {"y": ["kept"]}
    assert (repaired_left.deleted_with, repaired_left.parent) == ("", "")
    assert left.dependencies == ["gone", "kept"]


def test_a_child_that_also_uses_its_parent_depends_on_it() -> None:
    parent = ResourceState(urn="parent", type="t", custom=True)
    child = ResourceState(urn="child", type="t", custom=True, parent="parent", dependencies=["parent"])
    only = ResourceState(urn="only", type="t", custom=True, parent="parent")
    assert dependents_of([parent, child, only], parent) == [child]


def test_a_parent_that_vanished_is_not_replaced_by_one_that_follows() -> None:
    child = ResourceState(urn="child", type="t", custom=True, parent="parent")
    copy = ResourceState(urn="parent", type="t", custom=True, delete=True)
    assert [each.parent for each in repaired([child, copy])] == ["", ""]
