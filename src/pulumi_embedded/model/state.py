"""A resource in the state file. Keys that this engine does not know are written as they were read."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from typing import Any

from pulumi_embedded.model.urns import is_provider_type, provider_urn
from pulumi_embedded.model.values import Properties, Value

__all__ = ["PendingOperation", "ResourceState", "now"]

JSON = dict[str, Any]


def now() -> str:
    """Return the current time as Pulumi writes it: UTC, RFC 3339."""
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")


@dataclass(eq=False)
class ResourceState:
    """One resource. It equals only itself, because a replacement puts two resources with one URN into the state."""

    urn: str
    type: str
    custom: bool
    delete: bool = False
    id: str = ""
    inputs: Properties = field(default_factory=dict)
    outputs: Properties = field(default_factory=dict)
    parent: str = ""
    protect: bool = False
    external: bool = False
    dependencies: list[str] = field(default_factory=list)
    init_errors: list[str] = field(default_factory=list)
    provider: str = ""
    property_dependencies: dict[str, list[str]] = field(default_factory=dict)
    pending_replacement: bool = False
    additional_secret_outputs: list[str] = field(default_factory=list)
    aliases: list[str] = field(default_factory=list)
    custom_timeouts: dict[str, float] = field(default_factory=dict)
    import_id: str = ""
    retain_on_delete: bool = False
    deleted_with: str = ""
    replace_with: list[str] = field(default_factory=list)
    created: str = ""
    modified: str = ""
    source_position: str = ""
    stack_trace: list[JSON] = field(default_factory=list)
    ignore_changes: list[str] = field(default_factory=list)
    replace_on_changes: list[str] = field(default_factory=list)
    taint: bool = False
    extra: JSON = field(default_factory=dict)

    def copy(self) -> ResourceState:
        """Return a copy."""
        return copy.copy(self)

    @property
    def is_provider(self) -> bool:
        """Whether this resource is a provider."""
        return is_provider_type(self.type)

    @property
    def reference(self) -> str:
        """The reference to this provider in other resources."""
        return f"{self.urn}::{self.id}"

    def all_dependencies(self) -> set[str]:
        """Return the URNs that must exist while this resource does, including its parent."""
        return (self.used() | {self.parent}) - {""}

    def ordered_dependencies(self) -> list[str]:
        """Return the same URNs in the CLI's order (3.260: GetAllDependencies)."""
        properties = [urn for key in sorted(self.property_dependencies) for urn in self.property_dependencies[key]]
        first = [provider_urn(self.provider) if self.provider else "", self.parent, *self.dependencies]
        return [urn for urn in dict.fromkeys([*first, *properties, self.deleted_with, *self.replace_with]) if urn]

    def used(self) -> set[str]:
        """Return the URNs that this resource depends on, not counting the relation to its parent."""
        urns = {self.deleted_with, *self.replace_with, *self.dependencies}
        for names in self.property_dependencies.values():
            urns.update(names)
        if self.provider:
            urns.add(provider_urn(self.provider))
        return urns - {""}

    def to_json(self, encode: Callable[[Value], Value]) -> JSON:
        """Return the resource in the state file's form (Pulumi 3.260: apitype.ResourceV3), without empty values."""
        document: JSON = {"urn": self.urn, "custom": self.custom}
        for name, key in _KEYS.items():
            value = getattr(self, name)
            if value and key not in document:
                document[key] = encode(value) if name in _SEALED else value
        return {**document, **self.extra}

    @classmethod
    def from_json(cls, document: Mapping[str, Any], decode: Callable[[Value], Value]) -> ResourceState:
        """Return the resource of an entry in the state file."""
        names = {key: name for name, key in _KEYS.items()}
        values: dict[str, Any] = {"extra": {key: value for key, value in document.items() if key not in names}}
        for key, name in names.items():
            if document.get(key) is not None:
                values[name] = decode(document[key]) if name in _SEALED else document[key]
        return cls(**values)


def _camel(name: str) -> str:
    head, *tail = name.split("_")
    return head + "".join("ID" if part == "id" else part.capitalize() for part in tail)


_KEYS = {item.name: _camel(item.name) for item in fields(ResourceState) if item.name != "extra"}
_SEALED = {"inputs", "outputs"}


@dataclass(eq=False)
class PendingOperation:
    """A step that began and has no recorded end: `creating`, `updating`, `deleting` or `reading`."""

    resource: ResourceState
    type: str
