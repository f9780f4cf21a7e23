"""Edit a state without an operation: delete or rename a resource, or rename the stack (Pulumi CLI 3.260)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from pulumi_embedded.errors import EngineError
from pulumi_embedded.model.state import ResourceState
from pulumi_embedded.model.urns import STACK_TYPE, provider_urn, urn_name
from pulumi_embedded.model.values import RESOURCE_SIGNATURE, SIGNATURE
from pulumi_embedded.storage.checkpoint import Snapshot

__all__ = ["delete_resources", "is_urn", "rename_resource", "rename_stack", "resource_of", "unknown_resource"]

_PREFIX: Final = "urn:pulumi:"
_HINT: Final = (
    "To list the resource URNs in the stack, run `pulumi-embedded stack --show-urns`; "
    "to inspect the full state, run `pulumi-embedded stack export`."
)
_SUGGESTIONS: Final = 3


def is_urn(text: str) -> bool:
    """Return whether the text is a URN: urn:pulumi:STACK::PROJECT::TYPE::NAME."""
    return text.startswith(_PREFIX) and text.count("::") >= 3


def resource_of(snapshot: Snapshot, urn: str) -> ResourceState:
    """Return the only resource with this URN. Raises EngineError if there is none, or more than one."""
    if not is_urn(urn):
        raise EngineError(f'"{urn}" is not a valid resource URN\n{_HINT}')
    matching = [resource for resource in snapshot.resources if resource.urn == urn]
    if not matching:
        raise unknown_resource(urn, (resource.urn for resource in snapshot.resources))
    if len(matching) > 1:
        ids = "".join(f"  {resource.id}\n" for resource in matching)
        raise EngineError(f"Resource URN ambiguously referred to multiple resources. Did you mean:\n{ids}")
    return matching[0]


def unknown_resource(urn: str, known: Iterable[str]) -> EngineError:
    """Return the error for a URN that is not in the state, with similar URNs."""
    limit = max(2, len(urn) // 4)
    ranked = [(_distance(urn, candidate), number, candidate) for number, candidate in enumerate(dict.fromkeys(known))]
    similar = [candidate for distance, _, candidate in sorted(ranked) if distance <= limit][:_SUGGESTIONS]
    lines = "".join(f"  {candidate}\n" for candidate in similar)
    meant = f"Did you mean:\n{lines}" if similar else ""
    return EngineError(f'No such resource "{urn}" exists in the current state\n{meant}{_HINT}')


def _distance(first: str, second: str) -> int:
    """Return the number of characters to insert, delete or replace between two texts, ignoring case."""
    first, second = first.lower(), second.lower()
    row = list(range(len(second) + 1))
    for index, character in enumerate(first, 1):
        before, row[0] = row[0], index
        for column, other in enumerate(second, 1):
            before, row[column] = row[column], min(row[column] + 1, row[column - 1] + 1, before + (character != other))
    return row[-1]


def delete_resources(
    snapshot: Snapshot,
    condemned: Sequence[ResourceState],
    *,
    dependents: bool,
    allow: Callable[[ResourceState], bool],
) -> None:
    """Delete resources from the state.

    Args:
        snapshot: The state.
        condemned: The resources.
        dependents: Whether to delete their dependents too.
        allow: Returns whether a protected resource is deleted.

    Raises:
        EngineError: `allow` returned False, or other resources depend on one of them. The state is unchanged.

    """
    kept = list(snapshot.resources)
    # Dependents come first, so that a resource that is listed with its dependents can be deleted.
    for resource in sorted(condemned, key=_position(snapshot.resources), reverse=True):
        if resource not in kept:
            continue
        _require_allowed(resource, allow)
        others = _only_dependents(kept, resource)
        if others and not dependents:
            names = "".join(_entry(other) for other in others)
            raise EngineError(
                f"{resource.urn} can't be safely deleted because the following resources depend on it:\n{names}\n"
                "Delete those resources first or pass --target-dependents."
            )
        for other in others:
            _require_allowed(other, allow)
        kept = [other for other in kept if other not in (resource, *others)]
    snapshot.resources = kept


def _require_allowed(resource: ResourceState, allow: Callable[[ResourceState], bool]) -> None:
    if resource.protect and not allow(resource):
        raise EngineError(
            f"{resource.urn} can't be safely deleted because it is protected. "
            "Re-run this command with --force to force deletion"
        )


def _entry(state: ResourceState) -> str:
    name = f'"{urn_name(state.urn)}"'
    return f" * {name:<15} ({state.urn})\n"


def _position(resources: Sequence[ResourceState]) -> Callable[[ResourceState], int]:
    places = {id(resource): place for place, resource in enumerate(resources)}
    return lambda resource: places[id(resource)]


def _only_dependents(resources: Sequence[ResourceState], root: ResourceState) -> list[ResourceState]:
    """Return the dependents and children of this resource, without those of another resource with the same URN."""
    at = resources.index(root)
    others = {resource.urn for resource in resources[:at]}
    dependents, urns, references = [], {root.urn}, {root.reference}
    for resource in resources[at + 1 :]:
        needed = {*resource.dependencies, *resource.replace_with, resource.deleted_with, resource.parent}
        needed.update(urn for urns_ in resource.property_dependencies.values() for urn in urns_)
        if needed & (urns - others) or resource.provider in references:
            dependents.append(resource)
            urns.add(resource.urn)
            references.add(resource.reference)
        else:
            others.add(resource.urn)
    return dependents


def rename_resource(snapshot: Snapshot, urn: str, name: str) -> None:
    """Rename a resource, and the references to it. Its children keep their URNs.

    Raises:
        EngineError: There is no such resource, more than one, or one with the new URN.

    """
    if not is_urn(urn):
        raise EngineError("The provided input URN is not valid")
    matching = [resource for resource in snapshot.resources if resource.urn == urn]
    if not matching:
        raise unknown_resource(urn, (resource.urn for resource in snapshot.resources))
    if len(matching) > 1:
        raise EngineError("The input URN ambiguously refers to multiple resources")
    new = "::".join([*urn.split("::", 3)[:3], name])
    if new == urn:
        return
    if any(resource.urn == new for resource in snapshot.resources):
        raise EngineError("The chosen new urn for the state corresponds to an already existing resource")
    reference = matching[0].reference
    matching[0].urn = new

    def renamed(known: str) -> str:
        return new if known == urn else known

    for resource in snapshot.resources:
        resource.parent, resource.deleted_with = renamed(resource.parent), renamed(resource.deleted_with)
        resource.dependencies = [renamed(dependency) for dependency in resource.dependencies]
        resource.replace_with = [renamed(dependency) for dependency in resource.replace_with]
        dependencies = resource.property_dependencies.items()
        resource.property_dependencies = {
            key: [renamed(dependency) for dependency in urns] for key, urns in dependencies
        }
        if resource.provider == reference:
            resource.provider = matching[0].reference


def rename_stack(deployment: dict[str, Any], project: str, old: str, new: str) -> None:
    """Change the URNs in a deployment document to those of a stack with the new name.

    Encrypted secrets stay the same, with any URNs in them.
    """

    def renamed(urn: str) -> str:
        if not urn.startswith(f"{_PREFIX}{old}::{project}::"):
            return urn
        type_, name = urn.split("::", 3)[2:]
        return f"{_PREFIX}{new}::{project}::{type_}::{f'{project}-{new}' if type_ == STACK_TYPE else name}"

    pending = [operation["resource"] for operation in deployment.get("pending_operations") or []]
    for resource in [*(deployment.get("resources") or []), *pending]:
        for key in ("urn", "parent", "deletedWith", "viewOf"):
            if resource.get(key):
                resource[key] = renamed(resource[key])
        for key in ("dependencies", "replaceWith", "aliases"):
            if resource.get(key):
                resource[key] = [renamed(urn) for urn in resource[key]]
        for urns in (resource.get("propertyDependencies") or {}).values():
            urns[:] = [renamed(urn) for urn in urns or []]
        if resource.get("provider"):
            provider = provider_urn(resource["provider"])
            resource["provider"] = renamed(provider) + resource["provider"].removeprefix(provider)
        for key in ("inputs", "outputs"):
            _rename_references(resource.get(key), renamed)


def _rename_references(value: Any, renamed: Callable[[str], str]) -> None:
    """Rename the URNs in a property's references to resources."""
    if isinstance(value, list):
        for element in value:
            _rename_references(element, renamed)
    elif isinstance(value, dict):
        if value.get(SIGNATURE) == RESOURCE_SIGNATURE and isinstance(value.get("urn"), str):
            value["urn"] = renamed(value["urn"])
        for element in value.values():
            _rename_references(element, renamed)
