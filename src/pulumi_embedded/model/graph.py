"""The dependencies in a snapshot, whose resources are in topological order."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from pulumi_embedded.model.state import ResourceState
from pulumi_embedded.model.urns import STACK_TYPE, make_urn, urn_name, urn_type

__all__ = ["delete_order", "dependents_of", "held_by", "needs_of", "repaired", "with_new_names"]


def dependents_of(
    resources: Sequence[ResourceState], root: ResourceState, ignore: Collection[str] = ()
) -> list[ResourceState]:
    """Return the direct and indirect dependents of the root, each after the ones that it depends on.

    Being a child does not count.

    Args:
        resources: The snapshot.
        root: The resource.
        ignore: URNs that are left out.

    """
    affected = {root.urn}
    dependents = []
    for resource in resources[_index(resources, root) + 1 :]:
        if resource.urn not in ignore and resource.used() & affected:
            dependents.append(resource)
            affected.add(resource.urn)
    return dependents


def _index(resources: Sequence[ResourceState], resource: ResourceState) -> int:
    return next((index for index, other in enumerate(resources) if other is resource), len(resources))


def delete_order(resources: Sequence[ResourceState], condemned: Iterable[ResourceState]) -> list[list[ResourceState]]:
    """Return the resources to delete in rounds. Each is in an earlier round than its dependencies and its parent."""
    left = {id(resource): resource for resource in condemned}
    needs = {key: _needs(resources, resource) for key, resource in left.items()}
    rounds: list[list[ResourceState]] = []
    while left:
        free = [resource for key, resource in left.items() if not needs[key] & left.keys()]
        if not free:
            free = list(left.values())
        rounds.insert(0, sorted(free, key=lambda resource: -_index(resources, resource)))
        for resource in free:
            del left[id(resource)]
    return rounds


def _needs(resources: Sequence[ResourceState], resource: ResourceState) -> set[int]:
    urns = resource.all_dependencies()
    earlier = resources[: _index(resources, resource)]
    # A dependency on a component is one on all its children before this resource.
    components = {other.urn for other in earlier if not other.custom and other.urn in resource.used()}
    needed = set()
    for other in earlier:
        if other.urn in urns or other.parent in components:
            needed.add(id(other))
            if not other.custom and other.parent in components:
                components.add(other.urn)
    return needed


def needs_of(resources: Sequence[ResourceState], roots: Iterable[ResourceState]) -> set[int]:
    """Return the ids (`id()`) of all resources that the roots depend on or are children of."""
    needs: set[int] = set()
    left = list(roots)
    while left:
        new = _needs(resources, left.pop()) - needs
        needs |= new
        left += [resource for resource in resources if id(resource) in new]
    return needs


def held_by(resources: Sequence[ResourceState], root: ResourceState) -> set[int]:
    """Return the ids (`id()`) of all resources that must stay because the root could not be deleted.

    If a URN has an object that a replacement left to delete too, such an object needs that one, and others the new one
    (Pulumi CLI 3.260: TransitiveDependenciesOf).
    """
    olds = {resource.urn: resource for resource in resources if resource.delete}
    news = {resource.urn: resource for resource in resources if not resource.delete}

    def needed(by: ResourceState, urn: str) -> ResourceState | None:
        first, second = (olds, news) if by.delete else (news, olds)
        return first.get(urn) or second.get(urn)

    held: set[int] = set()
    left = [root]
    while left:
        by = left.pop()
        found = [other for urn in by.all_dependencies() if (other := needed(by, urn)) is not None]
        left += [other for other in found if id(other) not in held]
        held.update(map(id, found))
    return held - {id(root)}


def repaired(resources: Iterable[ResourceState]) -> list[ResourceState]:
    """Return the resources without references to resources that are gone."""
    present: set[str] = set()
    result = []
    for resource in resources:
        state = resource.copy()
        state.dependencies = [urn for urn in resource.dependencies if urn in present]
        kept = {key: [urn for urn in urns if urn in present] for key, urns in resource.property_dependencies.items()}
        # Pulumi CLI 3.260 drops properties without dependencies here. The next update writes them again.
        state.property_dependencies = {key: urns for key, urns in kept.items() if urns}
        state.replace_with = [urn for urn in resource.replace_with if urn in present]
        if state.deleted_with not in present:
            state.deleted_with = ""
        # A resource that follows with the parent's URN is another one, and does not count.
        if state.parent not in present:
            state.parent = ""
        present.add(state.urn)
        result.append(state)
    return result


def with_new_names(resources: Sequence[ResourceState]) -> list[ResourceState]:
    """Return the resources with every URN that an alias replaced changed to the new one.

    A resource that a replacement left to delete gets the name of its replacement (Pulumi CLI 3.260:
    NormalizeURNReferences).
    """
    names: dict[str, str] = {}
    for resource in resources:
        names.update(dict.fromkeys(resource.aliases, resource.urn))
        parent = names.get(resource.parent, "")
        if parent and urn_type(parent) != STACK_TYPE:
            stack, project = resource.urn.split("::")[0].removeprefix("urn:pulumi:"), resource.urn.split("::")[1]
            names[resource.urn] = make_urn(stack, project, parent, urn_type(resource.urn), urn_name(resource.urn))
    return [_renamed(resource, names) for resource in resources] if names else list(resources)


def _renamed(state: ResourceState, names: Mapping[str, str]) -> ResourceState:
    def name(urn: str) -> str:
        return names.get(urn, urn)

    urn, _, id_ = state.provider.rpartition("::")
    renamed = state.copy()
    renamed.urn, renamed.aliases = name(state.urn), []
    renamed.parent = name(state.parent)
    renamed.deleted_with = name(state.deleted_with)
    renamed.replace_with = [name(old_urn) for old_urn in state.replace_with]
    renamed.dependencies = [name(dependency) for dependency in state.dependencies]
    properties = {key: [name(name_) for name_ in urns] for key, urns in state.property_dependencies.items()}
    if properties != state.property_dependencies:
        # Pulumi CLI 3.260 drops properties without dependencies if it renames one of the others.
        properties = {key: urns for key, urns in properties.items() if urns}
    renamed.property_dependencies = properties
    renamed.provider = f"{name(urn)}::{id_}" if urn else ""
    return renamed
