"""Find the dependents that a delete-before-replace also replaces: the new values would replace them too."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from pulumi_embedded.errors import EngineError
from pulumi_embedded.model.graph import dependents_of
from pulumi_embedded.model.state import ResourceState
from pulumi_embedded.model.steps import Diff, with_replace_on_changes
from pulumi_embedded.model.values import UNKNOWN

__all__ = ["ResourceError", "dependent_replacements", "refuse_protected"]


class ResourceError(EngineError):
    """No step can be decided for one resource. The message is about that resource."""

    def __init__(self, urn: str, message: str) -> None:
        super().__init__(message)
        self.urn = urn


def dependent_replacements(
    base: Sequence[ResourceState],
    root: ResourceState,
    decided: Collection[str],
    diff: Callable[[ResourceState, ResourceState], Diff],
) -> dict[ResourceState, tuple[str, ...]]:
    """Return the dependents to replace with a resource, in dependency order, each with the properties that require it.

    Resources that an earlier replacement has left to delete are included, because they can only be deleted now.

    Args:
        base: The resources in the state.
        root: The resource that is replaced.
        decided: The URNs whose steps are decided already.
        diff: Compares a resource with itself after its inputs from replaced resources became unknown.

    """
    replaced = {root.urn}
    replacements: dict[ResourceState, tuple[str, ...]] = {}
    for resource in dependents_of(base, root, decided):
        keys = _replaced_with(resource, replaced, diff)
        if keys is None:
            continue
        replaced.add(resource.urn)
        replacements[resource] = keys
    for resource in base:
        if (
            resource not in replacements
            and not resource.delete
            and resource.urn not in decided
            and root.urn in _tied(resource)
        ):
            replacements[resource] = ()
    return replacements


def _tied(resource: ResourceState) -> set[str]:
    """Return the resources with which this one is replaced, whatever its properties are."""
    return {*resource.replace_with, resource.deleted_with}


def refuse_protected(resource: ResourceState, root: ResourceState) -> None:
    """Raise ResourceError if the resource, which would be replaced with the root, is protected."""
    if resource.protect and not resource.delete:
        raise ResourceError(root.urn, _protected(resource, root))


def _protected(resource: ResourceState, root: ResourceState) -> str:
    return (
        f'unable to replace resource "{resource.urn}" as part of replacing "{root.urn}" as it is currently marked for '
        "protection. To unprotect the resource, remove the `protect` flag from the resource in your Pulumi program "
        f"and run `pulumi-embedded up`, or use the command:\n`pulumi-embedded state unprotect '{resource.urn}'`"
    )


def _replaced_with(
    resource: ResourceState, replaced: set[str], diff: Callable[[ResourceState, ResourceState], Diff]
) -> tuple[str, ...] | None:
    """Return the properties that require the dependent's replacement. None if nothing requires it."""
    if not resource.custom or resource.external:
        return None
    if resource.provider.rpartition("::")[0] in replaced or resource.deleted_with in replaced:
        return ()
    unknown = {key for key, urns in resource.property_dependencies.items() if replaced & set(urns)}
    if not unknown & resource.inputs.keys():
        return None
    blind = resource.copy()
    blind.inputs = {key: UNKNOWN if key in unknown else value for key, value in resource.inputs.items()}
    difference = with_replace_on_changes(diff(resource, blind), resource.replace_on_changes)
    return difference.replaces if difference.needs_replace else None
