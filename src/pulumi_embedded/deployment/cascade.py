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
    found: dict[ResourceState, tuple[str, ...]] = {}
    for each in dependents_of(base, root, decided):
        keys = _replaced_with(each, replaced, diff)
        if keys is None:
            continue
        replaced.add(each.urn)
        found[each] = keys
    for each in base:
        if each not in found and not each.delete and each.urn not in decided and root.urn in _tied(each):
            found[each] = ()
    return found


def _tied(each: ResourceState) -> set[str]:
    """The resources with which this one is replaced, whatever its properties."""
    return {*each.replace_with, each.deleted_with}


def refuse_protected(each: ResourceState, root: ResourceState) -> None:
    """Raise ResourceError if the resource, which would be replaced with the root, is protected."""
    if each.protect and not each.delete:
        raise ResourceError(root.urn, _protected(each, root))


def _protected(each: ResourceState, root: ResourceState) -> str:
    return (
        f'unable to replace resource "{each.urn}" as part of replacing "{root.urn}" as it is currently marked for '
        "protection. To unprotect the resource, remove the `protect` flag from the resource in your Pulumi program "
        f"and run `pulumi-embedded up`, or use the command:\n`pulumi-embedded state unprotect '{each.urn}'`"
    )


def _replaced_with(
    each: ResourceState, replaced: set[str], diff: Callable[[ResourceState, ResourceState], Diff]
) -> tuple[str, ...] | None:
    """The properties for which the dependent must be replaced, None if it need not be."""
    if not each.custom or each.external:
        return None
    if each.provider.rpartition("::")[0] in replaced or each.deleted_with in replaced:
        return ()
    unknown = {key for key, urns in each.property_dependencies.items() if replaced & set(urns)}
    if not unknown & each.inputs.keys():
        return None
    blind = each.copy()
    blind.inputs = {key: UNKNOWN if key in unknown else value for key, value in each.inputs.items()}
    found = with_replace_on_changes(diff(each, blind), each.replace_on_changes)
    return found.replaces if found.needs_replace else None
