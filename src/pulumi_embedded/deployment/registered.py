"""What this run has registered and read, for those who ask about a resource by its URN."""

from __future__ import annotations

from collections.abc import Iterable

from pulumi_embedded.model.state import ResourceState
from pulumi_embedded.model.values import UNKNOWN_SENTINEL

__all__ = ["Registered"]


class Registered:
    """The resources of this run; a resource is here when its registration or read has ended."""

    def __init__(self) -> None:
        self._states: dict[str, ResourceState] = {}

    def add(self, state: ResourceState) -> ResourceState:
        """Remembers the resource and gives it back."""
        self._states[state.urn] = state
        return state

    def find(self, urn: str) -> ResourceState | None:
        """The resource as it is now."""
        return self._states.get(urn)

    def unmade(self, urns: Iterable[str]) -> bool:
        """Whether one of the resources, or of a component's children, is not there yet; unknown URNs do not count."""
        states = list(self._states.values())
        wanted = set(urns)
        for each in states:
            if each.parent in wanted and not self._states[each.parent].custom:
                wanted.add(each.urn)
        return any(each.urn in wanted and each.custom and each.id in ("", UNKNOWN_SENTINEL) for each in states)
