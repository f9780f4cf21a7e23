"""The program's request: one resource with its options, as the monitor received it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from pulumi.runtime.proto import resource_pb2

from pulumi_embedded.errors import EngineError, Unsupported
from pulumi_embedded.model.state import ResourceState
from pulumi_embedded.model.urns import PROVIDER_PREFIX, provider_package, provider_urn, urn_type
from pulumi_embedded.model.values import Properties, from_struct

__all__ = ["Alias", "Goal"]


@dataclass(frozen=True)
class Alias:
    """Another name of the resource in the state. Parts that are not set are those of its present name."""

    urn: str = ""
    name: str = ""
    type: str = ""
    stack: str = ""
    project: str = ""
    parent: str = ""
    no_parent: bool = False


@dataclass
class Goal:
    """One registration: type, name, inputs and resource options. None means that the program did not set an option."""

    type: str
    name: str
    custom: bool
    inputs: Properties
    parent: str = ""
    provider: str = ""
    version: str = ""
    protect: bool | None = None
    dependencies: list[str] = field(default_factory=list)
    property_dependencies: dict[str, list[str]] = field(default_factory=dict)
    delete_before_replace: bool | None = None
    ignore_changes: list[str] = field(default_factory=list)
    replace_on_changes: list[str] = field(default_factory=list)
    additional_secret_outputs: list[str] = field(default_factory=list)
    aliases: list[Alias] = field(default_factory=list)
    custom_timeouts: dict[str, float] = field(default_factory=dict)
    retain_on_delete: bool | None = None
    deleted_with: str = ""
    replace_with: list[str] = field(default_factory=list)
    import_id: str = ""

    def state(self, urn: str) -> ResourceState:
        """Return the resource's state before its step, without an id and outputs."""
        options = {name: getattr(self, name) for name in _STATE_OPTIONS}
        protect, retain = bool(self.protect), bool(self.retain_on_delete)
        return ResourceState(urn=urn, protect=protect, retain_on_delete=retain, **options)

    def inherit(self, parent: Goal) -> None:
        """Take options from the parent that the program did not set (Pulumi CLI 3.260: inheritFromParent)."""
        self.deleted_with = self.deleted_with or parent.deleted_with
        if self.protect is None:
            self.protect = parent.protect
        if self.retain_on_delete is None:
            self.retain_on_delete = parent.retain_on_delete
        package = PROVIDER_PREFIX + provider_package(self.type)
        if not self.provider and parent.provider and urn_type(provider_urn(parent.provider)) == package:
            self.provider = parent.provider

    def external_state(self, urn: str, id_: str) -> ResourceState:
        """Return the state, before the read, of a resource that the program reads and does not own."""
        state = self.state(urn)
        state.id, state.external = id_, True
        return state

    @classmethod
    def from_request(cls, request: resource_pb2.RegisterResourceRequest) -> Goal:
        """Return the goal of a RegisterResource call. Raises Unsupported for options that only the Pulumi CLI has."""
        _refuse(request)
        return cls(
            type=request.type,
            name=request.name,
            custom=request.custom,
            inputs=from_struct(request.object),
            parent=request.parent,
            provider=request.provider or dict(request.providers).get(request.type.split(":", 1)[0], ""),
            version=request.version,
            protect=request.protect if request.HasField("protect") else None,
            dependencies=_unique(request.dependencies),
            property_dependencies={
                key: list(value.urns) for key, value in sorted(request.propertyDependencies.items())
            },
            delete_before_replace=request.deleteBeforeReplace if request.deleteBeforeReplaceDefined else None,
            ignore_changes=list(request.ignoreChanges),
            replace_on_changes=list(request.replaceOnChanges),
            additional_secret_outputs=list(request.additionalSecretOutputs),
            aliases=_aliases(request),
            custom_timeouts=_timeouts(request.customTimeouts),
            retain_on_delete=request.retainOnDelete if request.HasField("retainOnDelete") else None,
            deleted_with=request.deletedWith,
            replace_with=list(request.replace_with),
            import_id=request.importId,
        )


_STATE_OPTIONS = (
    "type",
    "custom",
    "inputs",
    "parent",
    "dependencies",
    "provider",
    "property_dependencies",
    "additional_secret_outputs",
    "custom_timeouts",
    "deleted_with",
    "replace_with",
    "import_id",
    "ignore_changes",
    "replace_on_changes",
)


def _refuse(request: resource_pb2.RegisterResourceRequest) -> None:
    where = f"on {request.type} {request.name!r}"
    hooks = request.hooks
    refused = {
        "a remote component (" + request.type + ")": request.remote,
        f"a resource transform {where}": bool(request.transforms),
        f"a resource hook {where}": any(hooks.ListFields()),
        f"a replacement trigger {where}": request.HasField("replacement_trigger"),
        f"a parameterized package ({request.type})": bool(request.packageRef),
        f"env_var_mappings {where}": bool(request.envVarMappings),
        f"a state migration {where}": bool(request.state_migrations),
        f"pluginDownloadURL {where}": bool(request.pluginDownloadURL) and not request.version,
    }
    for option, refused_option in refused.items():
        if refused_option:
            raise Unsupported(option)


def _aliases(request: resource_pb2.RegisterResourceRequest) -> list[Alias]:
    aliases = [Alias(urn=urn) for urn in request.aliasURNs]
    for alias in request.aliases:
        if alias.urn:
            aliases.append(Alias(urn=alias.urn))
        else:
            spec = alias.spec
            aliases.append(Alias("", spec.name, spec.type, spec.stack, spec.project, spec.parentUrn, spec.noParent))
    return aliases


def _timeouts(message: resource_pb2.RegisterResourceRequest.CustomTimeouts) -> dict[str, float]:
    texts = {name: getattr(message, name) for name in ("create", "update", "delete", "read")}
    return {name: _seconds(text) for name, text in texts.items() if text}


_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


def _seconds(text: str) -> float:
    """Return the seconds in a Go duration such as `1h30m`."""
    total, number, rest = 0.0, "", text
    while rest:
        if rest[0].isdigit() or rest[0] == ".":
            number, rest = number + rest[0], rest[1:]
            continue
        unit = next((unit for unit in ("ms", "s", "m", "h") if rest.startswith(unit)), None)
        if unit is None or not number:
            raise EngineError(f"unable to parse customTimeout value {text!r}: use a duration such as 5m or 1h30m")
        total, number, rest = total + float(number) * _UNITS[unit], "", rest[len(unit) :]
    if number:
        raise EngineError(f"unable to parse customTimeout value {text!r}: the unit is missing, as in 5m")
    # As the CLI writes it: 90, not 90.0.
    return int(total) if total.is_integer() else total


def _unique(names: Sequence[str]) -> list[str]:
    return sorted(set(names))
