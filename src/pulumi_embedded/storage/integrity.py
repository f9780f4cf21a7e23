"""Check that an engine can have written a state, and name the first error.

The rules between resources are the Pulumi CLI's (3.260: Snapshot.VerifyIntegrity).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

from pulumi_embedded.errors import EngineError
from pulumi_embedded.model.state import ResourceState

__all__ = ["DamagedState", "check_references", "check_structure"]

_TEXTS: Final = (
    "urn", "type", "id", "parent", "provider", "importID", "deletedWith", "created", "modified", "sourcePosition",
)  # fmt: skip
_FLAGS: Final = ("custom", "delete", "protect", "external", "pendingReplacement", "retainOnDelete", "taint")
_LISTS: Final = ("dependencies", "initErrors", "additionalSecretOutputs", "aliases", "ignoreChanges", "replaceWith")
_OBJECTS: Final = ("inputs", "outputs", "propertyDependencies", "customTimeouts")
_FIELDS: Final = (
    *((key, str, "a text") for key in _TEXTS),
    *((key, bool, "true or false") for key in _FLAGS),
    *((key, list, "a list") for key in (*_LISTS, "replaceOnChanges", "stackTrace")),
    *((key, dict, "an object") for key in _OBJECTS),
)


class DamagedState(EngineError):
    """No engine can have written the state."""

    def __init__(self, what: str) -> None:
        super().__init__(f"the state is damaged: {what}")
        self.what = what


def check_structure(document: object) -> None:
    """Raise DamagedState if the document does not have the structure of a DeploymentV3."""
    deployment = _expect(document, dict, "it", "an object")
    for key, kind, name in (
        ("manifest", dict, "an object"),
        ("secrets_providers", dict, "an object"),
        ("metadata", dict, "an object"),
        ("resources", list, "a list"),
        ("pending_operations", list, "a list"),
    ):
        _expect_key(deployment, key, kind, name, "")
    for index, resource in enumerate(deployment.get("resources") or []):
        _check_resource(resource, f"resource {index}")
    for index, operation in enumerate(deployment.get("pending_operations") or []):
        where = f"pending operation {index}"
        _expect(operation, dict, where, "an object")
        if not isinstance(operation.get("type"), str):
            raise DamagedState(f"{where} has no type")
        _check_resource(operation.get("resource"), f"the resource of {where}")


def _check_resource(document: object, where: str) -> None:
    resource = _expect(document, dict, where, "an object")
    for key, kind, name in _FIELDS:
        _expect_key(resource, key, kind, name, f"{where}, ")
    if not resource.get("urn"):
        raise DamagedState(f"{where} has no urn")
    for key in ("type", "custom"):
        if key not in resource:
            raise DamagedState(f"{resource['urn']} has no {key}")
    for key in _LISTS:
        for element in resource.get(key) or []:
            _expect(element, str, f"an element of {resource['urn']}, {key},", "a text")
    for key, urns in (resource.get("propertyDependencies") or {}).items():
        _expect(urns, list | None, f"{resource['urn']}, propertyDependencies, {key}", "a list")


def _expect_key(document: dict[str, Any], key: str, kind: Any, name: str, where: str) -> None:
    if document.get(key) is not None:
        _expect(document[key], kind, f"{where}{key}", name)


def _expect(value: Any, kind: Any, where: str, name: str) -> Any:
    if not isinstance(value, kind):
        raise DamagedState(f"{where} must be {name}")
    return value


def check_references(resources: Sequence[ResourceState]) -> None:
    """Raise DamagedState if a URN occurs twice, or if a resource precedes one that it depends on."""
    earlier: set[str] = set()
    providers: set[str] = set()
    everything = {resource.urn for resource in resources}
    for resource in resources:
        if not resource.custom and resource.id:
            raise DamagedState(f"{resource.urn} is no custom resource and has an id")
        if resource.is_provider:
            providers.add(resource.reference)
        elif resource.provider and resource.provider not in providers and not resource.pending_replacement:
            raise DamagedState(f"{resource.urn} refers to the unknown provider {resource.provider}")
        for urn in sorted(resource.all_dependencies() - earlier):
            if not (resource.pending_replacement and resource.provider.startswith(f"{urn}::")):
                how = "comes after it" if urn in everything else "is not there"
                raise DamagedState(f"{resource.urn} depends on {urn}, which {how}")
        earlier.add(resource.urn)
    alive = Counter(resource.urn for resource in resources if not resource.delete)
    for urn, count in alive.items():
        if count > 1:
            raise DamagedState(f"{urn} is there {count} times and not marked for deletion")
