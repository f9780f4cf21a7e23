"""What `--target`, `--exclude` and `--replace` make of a registration, by the rules of the Pulumi engine (3.260)."""

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
    """The URNs that were named; none named means every one.

    Pulumi CLI 3.260: `*` matches any characters but colons, `**` any at all, nothing else is special.
    """

    def __init__(self, names: Iterable[str] = ()) -> None:
        names = list(names)
        self.literals = [name for name in names if "*" not in name]
        self._patterns = [_pattern(name) for name in names if "*" in name]
        self._known = set(self.literals)

    @property
    def constrained(self) -> bool:
        """Whether anything was named."""
        return bool(self._known or self._patterns)

    def __contains__(self, urn: str) -> bool:
        if not self.constrained or urn in self._known:
            return True
        return any(pattern.fullmatch(urn) for pattern in self._patterns)

    def add(self, urn: str) -> None:
        """Names one more, where any was named."""
        if self.constrained:
            self._known.add(urn)


def _pattern(name: str) -> re.Pattern[str]:
    parts = ("[^:]*".join(re.escape(piece) for piece in part.split("*")) for part in name.split("**"))
    return re.compile(".*".join(parts))


class Targeting:
    """Knows which resources are among the targets, and which of the others were left out."""

    def __init__(self, options: Options, base: Sequence[ResourceState]) -> None:
        self._base = base
        self._olds = {resource.urn: resource for resource in base if not resource.delete}
        self._dependents = options.target_dependents
        self._targets = UrnTargets(options.targets)
        self._replaced = UrnTargets(options.replaces)
        self._excludes = UrnTargets(options.excludes)
        self._exclude_dependents = options.exclude_dependents
        # With the dependents of targets, or of excluded resources, that were met so far.
        self._actual = UrnTargets(options.targets or options.excludes)
        # The new resources that were left out, and those of which it was told that something needs them.
        self.skipped: set[str] = set()
        self._told: set[str] = set()

    @property
    def constrained(self) -> bool:
        """Whether there are any targets."""
        return self._targets.constrained

    def replaces(self, urn: str) -> bool:
        """Whether the resource is to be replaced in any case."""
        return self._replaced.constrained and urn in self._replaced

    def includes(self, state: ResourceState) -> bool:
        """Whether the resource may be changed; the stack and providers always may."""
        if not self.constrained:
            return state.type == STACK_TYPE or state.is_provider or not self._excluded(state)
        included = self.named(state)
        if included:
            self._actual.add(state.urn)
        return included or state.type == STACK_TYPE or state.is_provider

    def _excluded(self, state: ResourceState) -> bool:
        """Whether the resource is excluded, or with `--exclude-dependents` depends on one that is."""
        if not self._excludes.constrained:
            return False
        excluded = state.urn in self._excludes or (
            self._exclude_dependents and any(urn in self._actual for urn in state.all_dependencies())
        )
        if excluded:
            self._actual.add(state.urn)
        return excluded

    def named(self, state: ResourceState) -> bool:
        """Whether the resource is a target, or with `--target-dependents` depends on one."""
        if state.urn in self._targets:
            return True
        return self._dependents and any(urn in self._actual for urn in state.all_dependencies())

    def skip(self, new: ResourceState) -> Step:
        """The step for a new resource that is no target: it is not made, and the state does not have it."""
        self.skipped.add(new.urn)
        return Step(Op.SAME, None, new, untargeted=True)

    def keep(self, old: ResourceState, decided: Collection[str]) -> list[Step]:
        """The steps for a resource that is no target: before it, what it depends on and the program has no more.

        Otherwise that would come after it in the state.
        """
        kept = {urn: kept_step(resource) for urn, resource in self._chain(old, decided)}
        return list(kept.values())

    def _chain(self, old: ResourceState, decided: Collection[str]) -> Iterator[tuple[str, ResourceState]]:
        for urn in old.ordered_dependencies():
            if urn in self._olds and urn not in decided:
                yield from self._chain(self._olds[urn], decided)
        yield old.urn, old

    def missing(self, steps: Sequence[Step]) -> list[tuple[str, str]]:
        """What the steps depend on and was left out: pairs of the dependent and the resource, each told once."""
        missing = []
        for step in steps:
            if step.new is None or step.left_out:
                continue
            for urn in sorted(step.new.all_dependencies() & self.skipped - self._told):
                missing.append((step.urn, urn))
                self._told.add(urn)
        return missing

    def refreshed(self, resources: Sequence[ResourceState]) -> list[ResourceState]:
        """Those of the resources that a refresh reads."""
        if self._excludes.constrained:
            return [resource for resource in resources if not self._excluded(resource)]
        chosen = []
        for resource in resources:
            if self.named(resource):
                self._actual.add(resource.urn)
                chosen.append(resource)
        return chosen

    def deletable(self) -> set[str]:
        """The URNs of the targets in the state and of all that depends on them or is a child of them."""
        urns: set[str] = set()
        for resource in self._base:
            if resource.urn in self._targets or resource.all_dependencies() & urns:
                urns.add(resource.urn)
        return urns

    def kept(self) -> set[str]:
        """The URNs of the excluded resources in the state and of all that they need.

        With `--exclude-dependents` also of all that depends on one of these.
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
        """Those of the URNs that would be deleted without having been named."""
        if self._dependents:
            return []
        return [urn for urn in urns if urn not in self._targets]

    def unknown(self, urns: Collection[str]) -> list[str]:
        """The targets that neither the state nor, by these URNs, the program has."""
        urns_known = {resource.urn for resource in self._base} | set(urns)
        return [urn for urn in self._targets.literals if urn not in urns_known]

    def unknown_excludes(self) -> list[str]:
        """The excluded resources that the state does not have."""
        urns = {resource.urn for resource in self._base}
        return [urn for urn in self._excludes.literals if urn not in urns]

    def unknown_replacements(self) -> list[str]:
        """The resources to replace that the state does not have."""
        urns = {resource.urn for resource in self._base}
        return [urn for urn in self._replaced.literals if urn not in urns]


def kept_step(state: ResourceState) -> Step:
    """The step for a resource that stays as it is because it is no target; it gets its id when it is carried out."""
    new = state.copy()
    new.id = ""
    return Step(Op.SAME, state, new, untargeted=True)


def require_known(options: Options, base: Sequence[ResourceState]) -> None:
    """Raise EngineError if an operation without a program names a resource that the state does not have."""
    urns = {resource.urn for resource in base}
    for urn in UrnTargets(options.targets + options.excludes).literals if options.kind is not Kind.UPDATE else []:
        if urn not in urns:
            raise EngineError(f"no resource named '{urn}' found")
