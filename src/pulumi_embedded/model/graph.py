"""Who depends on whom in a snapshot, whose order is a topological one."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from pulumi_embedded.model.state import ResourceState
from pulumi_embedded.model.urns import STACK_TYPE, make_urn, urn_name, urn_type

__all__ = ["delete_order", "dependents_of", "needs_of", "repaired", "with_new_names"]


def dependents_of(
    resources: Sequence[ResourceState], root: ResourceState, ignore: Collection[str] = ()
) -> list[ResourceState]:
    """The resources that depend on the root, directly or not, each after those that it depends on itself.

    Being a child is no dependency here.
    """
    affected = {root.urn}
    found = []
    for each in resources[_index(resources, root) + 1 :]:
        if each.urn not in ignore and each.used() & affected:
            found.append(each)
            affected.add(each.urn)
    return found


def _index(resources: Sequence[ResourceState], resource: ResourceState) -> int:
    return next((index for index, each in enumerate(resources) if each is resource), len(resources))


def delete_order(resources: Sequence[ResourceState], condemned: Iterable[ResourceState]) -> list[list[ResourceState]]:
    """The condemned in rounds: every resource comes in a round before those that it depends on or is a child of."""
    left = {id(each): each for each in condemned}
    needs = {key: _needs(resources, each) for key, each in left.items()}
    rounds: list[list[ResourceState]] = []
    while left:
        free = [each for key, each in left.items() if not needs[key] & left.keys()]
        if not free:
            free = list(left.values())
        rounds.insert(0, sorted(free, key=lambda each: -_index(resources, each)))
        for each in free:
            del left[id(each)]
    return rounds


def _needs(resources: Sequence[ResourceState], resource: ResourceState) -> set[int]:
    urns = resource.all_dependencies()
    earlier = resources[: _index(resources, resource)]
    # Depending on a component is depending on all of its children that came before.
    components = {each.urn for each in earlier if not each.custom and each.urn in resource.used()}
    needed = set()
    for each in earlier:
        if each.urn in urns or each.parent in components:
            needed.add(id(each))
            if not each.custom and each.parent in components:
                components.add(each.urn)
    return needed


def needs_of(resources: Sequence[ResourceState], roots: Iterable[ResourceState]) -> set[int]:
    """The ids (`id()`) of the resources that the roots depend on or are children of, directly or not."""
    found: set[int] = set()
    left = list(roots)
    while left:
        new = _needs(resources, left.pop()) - found
        found |= new
        left += [each for each in resources if id(each) in new]
    return found


def repaired(resources: Iterable[ResourceState]) -> list[ResourceState]:
    """The resources with every mention of one that is no longer there removed."""
    present: set[str] = set()
    result = []
    for each in resources:
        state = each.copy()
        state.dependencies = [urn for urn in each.dependencies if urn in present]
        kept = {key: [urn for urn in urns if urn in present] for key, urns in each.property_dependencies.items()}
        # Pulumi CLI 3.260 forgets the properties without dependencies here; the next update writes them again.
        state.property_dependencies = {key: urns for key, urns in kept.items() if urns}
        state.replace_with = [urn for urn in each.replace_with if urn in present]
        if state.deleted_with not in present:
            state.deleted_with = ""
        # A parent that only follows is another one of its URN, and none either.
        if state.parent not in present:
            state.parent = ""
        present.add(state.urn)
        result.append(state)
    return result


def with_new_names(resources: Sequence[ResourceState]) -> list[ResourceState]:
    """The resources with every URN that an alias replaced written as the new one, their own included.

    So what a replacement left to be deleted has the name of what replaced it (Pulumi CLI 3.260:
    NormalizeURNReferences).
    """
    names: dict[str, str] = {}
    for each in resources:
        names.update(dict.fromkeys(each.aliases, each.urn))
        parent = names.get(each.parent, "")
        if parent and urn_type(parent) != STACK_TYPE:
            stack, project = each.urn.split("::")[0].removeprefix("urn:pulumi:"), each.urn.split("::")[1]
            names[each.urn] = make_urn(stack, project, parent, urn_type(each.urn), urn_name(each.urn))
    return [_renamed(each, names) for each in resources] if names else list(resources)


def _renamed(state: ResourceState, names: Mapping[str, str]) -> ResourceState:
    def name(urn: str) -> str:
        return names.get(urn, urn)

    urn, _, id_ = state.provider.rpartition("::")
    renamed = state.copy()
    renamed.urn, renamed.aliases = name(state.urn), []
    renamed.parent = name(state.parent)
    renamed.deleted_with = name(state.deleted_with)
    renamed.replace_with = [name(each) for each in state.replace_with]
    renamed.dependencies = [name(each) for each in state.dependencies]
    renamed.property_dependencies = {
        key: [name(each) for each in urns] for key, urns in state.property_dependencies.items()
    }
    renamed.provider = f"{name(urn)}::{id_}" if urn else ""
    return renamed
