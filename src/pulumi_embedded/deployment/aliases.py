"""Find a renamed or moved resource in the state by its aliases."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from pulumi_embedded.model.goals import Alias, Goal
from pulumi_embedded.model.state import ResourceState
from pulumi_embedded.model.urns import STACK_TYPE, make_urn, urn_name, urn_type

__all__ = ["AliasResolver"]


class AliasResolver:
    """Finds resources by their aliases, and remembers which old URN each has taken.

    The children of a renamed parent were renamed with it, so the old URNs are needed for them too.
    """

    def __init__(self, stack: str, project: str, olds: Mapping[str, ResourceState]) -> None:
        self._stack = stack
        self._project = project
        self._olds = olds
        # The old URN of each resource that was found by an alias.
        self._old_names: dict[str, str] = {}
        # The inverse: the resource that has taken an old URN.
        self.renamed: dict[str, str] = {}

    def find(self, goal: Goal, urn: str, seen: Collection[str]) -> tuple[ResourceState | None, list[str]]:
        """Return a resource's old state and the conflicts that prevent its use.

        Args:
            goal: The registration.
            urn: The resource's own URN, which is tried before its aliases.
            seen: The URNs that this operation has registered. One old state belongs to one resource only.

        Returns:
            The old state, None if there is none, and messages about conflicts.

        """
        conflicts = []
        if urn in self.renamed:
            conflicts.append(
                f"Duplicate resource URN '{urn}' conflicting with alias on resource with URN '{self.renamed[urn]}'"
            )
        if urn in self._olds:
            return self._olds[urn], conflicts
        alias = next((candidate for candidate in self._aliases(goal) if candidate in self._olds), None)
        if alias is None:
            return None, conflicts
        for other in ([urn] if alias in seen else []) + ([self.renamed[alias]] if alias in self.renamed else []):
            conflicts.append(
                f"Duplicate resource alias '{alias}' applied to resource with URN '{urn}' conflicting with resource "
                f"with URN '{other}'"
            )
        self.renamed[alias] = urn
        self._old_names[urn] = alias
        return self._olds[alias], conflicts

    def _aliases(self, goal: Goal) -> list[str]:
        own = [self._urn(alias, goal) for alias in goal.aliases]
        inherited = []
        if parent := self._old_names.get(goal.parent):
            names = [(goal.name, goal.type), *((urn_name(urn), urn_type(urn)) for urn in own)]
            inherited = [self._child_of(parent, goal, name, type_) for name, type_ in names]
        return [*own, *inherited]

    def _urn(self, alias: Alias, goal: Goal) -> str:
        if alias.urn:
            return alias.urn
        parent = self._old_names.get(alias.parent, alias.parent) or goal.parent
        if alias.no_parent or (parent and urn_type(parent) == STACK_TYPE):
            parent = ""
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
