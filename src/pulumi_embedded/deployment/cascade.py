"""Which dependents a delete-before-replace takes with it: those that its new values would replace too."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from pulumi_embedded.errors import EngineError
from pulumi_embedded.model.graph import dependents_of
from pulumi_embedded.model.state import ResourceState
from pulumi_embedded.model.steps import Diff, with_replace_on_changes
from pulumi_embedded.model.values import UNKNOWN

__all__ = ["ResourceError", "dependent_replacements", "refuse_protected"]


class ResourceError(EngineError):
    """One resource cannot be decided upon; the message belongs to it."""

    def __init__(self, urn: str, message: str) -> None:
        super().__init__(message)
        self.urn = urn


def dependent_replacements(
    base: Sequence[ResourceState],
    root: ResourceState,
    decided: Collection[str],
    diff: Callable[[ResourceState, ResourceState], Diff],
) -> dict[ResourceState, tuple[str, ...]]:
    """The dependents to replace with the root, in dependency order, each with the properties that are why.

    Among them are those that were replaced before and are still to be deleted: now is their last chance.
    `diff` compares a resource with the same one whose inputs from replaced resources are unknown.
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
    """The resources with which this one is replaced, whatever its properties."""
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
    """The properties for which the dependent must be replaced, None if it need not be."""
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
