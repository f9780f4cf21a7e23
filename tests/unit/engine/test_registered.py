"""The check that the resources that a function depends on exist."""

from __future__ import annotations

from pulumi_embedded.deployment.deployment import Registered
from pulumi_embedded.model.state import ResourceState

COMPONENT, CHILD, OTHER = "urn:component", "urn:child", "urn:other"


def registered(child_id: str) -> Registered:
    found = Registered()
    found.add(ResourceState(COMPONENT, "m:i:C", custom=False))
    found.add(ResourceState(CHILD, "m:i:T", custom=True, parent=COMPONENT, id=child_id))
    found.add(ResourceState(OTHER, "m:i:T", custom=True, id="1"))
    return found


def test_a_resource_without_an_id_is_not_there_yet() -> None:
    assert registered("").unmade([CHILD])
    assert not registered("1").unmade([CHILD, OTHER])


def test_a_component_is_there_when_its_children_are() -> None:
    assert registered("").unmade([COMPONENT])
    assert not registered("1").unmade([COMPONENT])


def test_what_nobody_registered_is_not_waited_for() -> None:
    assert not registered("").unmade([OTHER, "urn:of-another-stack"])
