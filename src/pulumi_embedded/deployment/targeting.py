"""Apply `--target`, `--exclude` and `--replace` to registrations, with the rules of the Pulumi engine (3.260)."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Sequence

from pulumi_embedded.errors import EngineError
from pulumi_embedded.model.graph import needs_of
from pulumi_embedded.model.options import Kind, Options
from pulumi_embedded.model.state import ResourceState
from pulumi_embedded.model.steps import Op, Step
from pulumi_embedded.model.urns import STACK_TYPE

__all__ = ["Targeting", "UrnTargets", "kept_step", "require_known"]


class UrnTargets:
    """The URNs of an option. If the option is not given, every URN is included.

    Pulumi CLI 3.260: `*` matches any characters except colons, `**` any characters. Nothing else is special.
    """

    def __init__(self, names: Iterable[str] = ()) -> None:
        names = list(names)
        self.literals = [name for name in names if "*" not in name]
        self._patterns = [_pattern(name) for name in names if "*" in name]
        self._known = set(self.literals)

    @property
    def constrained(self) -> bool:
        """Whether the option is given."""
        return bool(self._known or self._patterns)

    def __contains__(self, urn: str) -> bool:
        if not self.constrained or urn in self._known:
            return True
        return any(pattern.fullmatch(urn) for pattern in self._patterns)

    def add(self, urn: str) -> None:
        """Include one more URN, if the option is given."""
        if self.constrained:
            self._known.add(urn)


def _pattern(name: str) -> re.Pattern[str]:
    parts = ("[^:]*".join(re.escape(piece) for piece in part.split("*")) for part in name.split("**"))
    return re.compile(".*".join(parts))


class Targeting:
    """The resources that an operation is allowed to change, and new ones that were left out."""

    def __init__(self, options: Options, base: Sequence[ResourceState]) -> None:
        self._base = base
        self._olds = {resource.urn: resource for resource in base if not resource.delete}
        self._dependents = options.target_dependents
        self._targets = UrnTargets(options.targets)
        self._replaced = UrnTargets(options.replaces)
        self._excludes = UrnTargets(options.excludes)
        self._exclude_dependents = options.exclude_dependents
        # Includes the dependents of targets, or of excluded resources, found so far.
        self._actual = UrnTargets(options.targets or options.excludes)
        # New resources that were left out, and those of them that were reported as needed.
        self.skipped: set[str] = set()
        self._told: set[str] = set()

    @property
    def constrained(self) -> bool:
        """Whether there are targets."""
        return self._targets.constrained

    def replaces(self, urn: str) -> bool:
        """Return whether the resource must be replaced in any case."""
        return self._replaced.constrained and urn in self._replaced

    def includes(self, state: ResourceState) -> bool:
        """Return whether the resource is allowed to change. The stack and providers always are."""
        if not self.constrained:
            return state.type == STACK_TYPE or state.is_provider or not self._excluded(state)
        included = self.named(state)
        if included:
            self._actual.add(state.urn)
        return included or state.type == STACK_TYPE or state.is_provider

    def _excluded(self, state: ResourceState) -> bool:
        """Return whether the resource is excluded or, with `--exclude-dependents`, depends on an excluded one."""
        if not self._excludes.constrained:
            return False
        excluded = state.urn in self._excludes or (
            self._exclude_dependents and any(urn in self._actual for urn in state.all_dependencies())
        )
        if excluded:
            self._actual.add(state.urn)
        return excluded

    def named(self, state: ResourceState) -> bool:
        """Return whether the resource is a target or, with `--target-dependents`, depends on one."""
        if state.urn in self._targets:
            return True
        return self._dependents and any(urn in self._actual for urn in state.all_dependencies())

    def skip(self, new: ResourceState) -> Step:
        """Return the step of a new resource that is no target. It is not created and not in the state."""
        self.skipped.add(new.urn)
        return Step(Op.SAME, None, new, untargeted=True)

    def keep(self, old: ResourceState, decided: Collection[str]) -> list[Step]:
        """Return the steps of a resource that is no target, after those of its dependencies that the program lacks.

        Otherwise the dependencies would follow it in the state.
        """
        kept = {urn: kept_step(resource) for urn, resource in self._chain(old, decided)}
        return list(kept.values())

    def _chain(self, old: ResourceState, decided: Collection[str]) -> Iterator[tuple[str, ResourceState]]:
        for urn in old.ordered_dependencies():
            if urn in self._olds and urn not in decided:
                yield from self._chain(self._olds[urn], decided)
        yield old.urn, old

    def missing(self, steps: Sequence[Step]) -> list[tuple[str, str]]:
        """Return pairs of a step's URN and a left-out resource that it depends on, each resource once."""
        missing = []
        for step in steps:
            if step.new is None or step.left_out:
                continue
            for urn in sorted(step.new.all_dependencies() & self.skipped - self._told):
                missing.append((step.urn, urn))
                self._told.add(urn)
        return missing

    def refreshed(self, resources: Sequence[ResourceState]) -> list[ResourceState]:
        """Return the resources that a refresh reads."""
        if self._excludes.constrained:
            return [resource for resource in resources if not self._excluded(resource)]
        chosen = []
        for resource in resources:
            if self.named(resource):
                self._actual.add(resource.urn)
                chosen.append(resource)
        return chosen

    def deletable(self) -> set[str]:
        """Return the URNs of the targets in the state and of all their dependents and children."""
        urns: set[str] = set()
        for resource in self._base:
            if resource.urn in self._targets or resource.all_dependencies() & urns:
                urns.add(resource.urn)
        return urns

    def kept(self) -> set[str]:
        """Return the URNs of the excluded resources in the state and of all that they need.

        With `--exclude-dependents`, also of all dependents of these.
        """
        kept = {
            id(resource) for resource in self._base if self._excludes.constrained and resource.urn in self._excludes
        }
        while True:
            grown = kept | needs_of(self._base, [resource for resource in self._base if id(resource) in kept])
            if self._exclude_dependents:
                urns = {resource.urn for resource in self._base if id(resource) in grown}
                grown |= {id(resource) for resource in self._base if resource.all_dependencies() & urns}
            if grown == kept:
                return {resource.urn for resource in self._base if id(resource) in kept} & self._olds.keys()
            kept = grown

    def refused(self, urns: Collection[str]) -> list[str]:
        """Return the URNs that would be deleted without being targets."""
        if self._dependents:
            return []
        return [urn for urn in urns if urn not in self._targets]

    def unknown(self, urns: Collection[str]) -> list[str]:
        """Return the targets that neither the state nor the program has. `urns` are the program's."""
        urns_known = {resource.urn for resource in self._base} | set(urns)
        return [urn for urn in self._targets.literals if urn not in urns_known]

    def unknown_excludes(self) -> list[str]:
        """Return the excluded resources that the state lacks."""
        urns = {resource.urn for resource in self._base}
        return [urn for urn in self._excludes.literals if urn not in urns]

    def unknown_replacements(self) -> list[str]:
        """Return the resources to replace that the state lacks."""
        urns = {resource.urn for resource in self._base}
        return [urn for urn in self._replaced.literals if urn not in urns]


def kept_step(state: ResourceState) -> Step:
    """Return the step of a resource that stays unchanged because it is no target. It gets its id when the step runs."""
    new = state.copy()
    new.id = ""
    return Step(Op.SAME, state, new, untargeted=True)


def require_known(options: Options, base: Sequence[ResourceState]) -> None:
    """Raise EngineError if an operation without a program names a resource that the state lacks."""
    urns = {resource.urn for resource in base}
    for urn in UrnTargets(options.targets + options.excludes).literals if options.kind is not Kind.UPDATE else []:
        if urn not in urns:
            raise EngineError(f"no resource named '{urn}' found")
