"""A resource that was renamed or moved is found in the state under the names that its aliases give."""

from __future__ import annotations

from collections.abc import Mapping

from pulumi_embedded.goals import Alias, Goal
from pulumi_embedded.state import ResourceState
from pulumi_embedded.urns import make_urn, urn_name, urn_type

__all__ = ["AliasResolver"]


class AliasResolver:
    """Remembers what was renamed, because a parent's other names are other names of its children."""

    def __init__(self, stack: str, project: str, olds: Mapping[str, ResourceState]) -> None:
        self._stack = stack
        self._project = project
        self._olds = olds
        self._names: dict[str, list[str]] = {}
        self.renamed: dict[str, str] = {}

    def find(self, goal: Goal, urn: str) -> ResourceState | None:
        """The resource's old state, under its own URN or the first alias that the state has."""
        aliases = self._aliases(goal, urn)
        self._names[urn] = aliases
        if urn in self._olds:
            return self._olds[urn]
        for alias in aliases:
            if alias in self._olds and alias not in self.renamed:
                self.renamed[alias] = urn
                return self._olds[alias]
        return None

    def _aliases(self, goal: Goal, urn: str) -> list[str]:
        own = [self._urn(alias, goal) for alias in goal.aliases]
        inherited = [
            self._child_of(parent, goal, name, type_)
            for parent in self._names.get(goal.parent, [])
            for name, type_ in [(goal.name, goal.type), *((urn_name(each), urn_type(each)) for each in own)]
        ]
        return [each for each in dict.fromkeys([*own, *inherited]) if each != urn]

    def _urn(self, alias: Alias, goal: Goal) -> str:
        if alias.urn:
            return alias.urn
        parent = "" if alias.no_parent else alias.parent or goal.parent
        return make_urn(
            alias.stack or self._stack,
            alias.project or self._project,
            parent,
            alias.type or goal.type,
            alias.name or goal.name,
        )

    def _child_of(self, parent: str, goal: Goal, name: str, type_: str) -> str:
        # A child that is named after its parent was renamed with it.
        present = urn_name(goal.parent)
        if name.startswith(present):
            name = urn_name(parent) + name.removeprefix(present)
        return make_urn(self._stack, self._project, parent, type_, name)
