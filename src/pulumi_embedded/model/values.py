"""Property values: JSON values, with `Secret` around some, and `UNKNOWN` for those that a preview cannot know.

The signatures and the unknown sentinels are Pulumi's (sdk/go/common/resource, SDK `pulumi.runtime.rpc`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from google.protobuf import struct_pb2

from pulumi_embedded.errors import EngineError, Unsupported

__all__ = [
    "BLINDED",
    "RESOURCE_SIGNATURE",
    "SIGNATURE",
    "UNKNOWN",
    "UNKNOWN_SENTINEL",
    "ConfigValue",
    "Properties",
    "Secret",
    "Unknown",
    "Value",
    "annotate_secrets",
    "contains_secrets",
    "contains_unknowns",
    "from_struct",
    "plain",
    "to_struct",
    "unwrap",
]

Value = Any
Properties = dict[str, Value]

SIGNATURE: Final = "4dabf18193072939515e22adb298388d"
SECRET_SIGNATURE: Final = "1b47061264138c4ac30d75fd1eb44270"  # noqa: S105 - a public marker
_OUTPUT_SIGNATURE: Final = "d0e6a833031e9bbcd3f4e8bde6ca49a4"
RESOURCE_SIGNATURE: Final = "5cf8f73096256a8f31e491e813e4eb8e"
_ASSETS: Final = {
    "c44067f5952c0a294b673a41bacd8c17": "an asset",
    "0def7320c3a5731c473e5ecbe6d01bc7": "an archive",
}
UNKNOWN_SENTINEL: Final = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"
_SENTINELS: Final = {
    UNKNOWN_SENTINEL,
    "1c4a061d-8072-4f0a-a4cb-0ff528b18fe7",
    "3eeb2bf0-c639-47a8-9e75-3b44932eb421",
    "6a19a0b0-7e62-4c92-b797-7f8e31da9cc2",
    "dd056dcd-154b-4c76-9bd3-c8f88648b5ff",
}


class Unknown:
    """The value that is not known before the update. `UNKNOWN` is its only instance."""

    def __repr__(self) -> str:
        return "UNKNOWN"

    def __deepcopy__(self, memo: object) -> Unknown:
        return self


UNKNOWN: Final = Unknown()
BLINDED: Final = "[secret]"
"""The text that is printed for a secret."""


@dataclass(frozen=True)
class Secret:
    """A value that is written encrypted and shown as `[secret]`. Its repr does not contain it."""

    value: Value

    def __repr__(self) -> str:
        return "Secret(…)"


def from_struct(struct: struct_pb2.Struct | None) -> Properties:
    """Return the properties in a protocol message, with integers for whole numbers and values for signed wrappers."""
    if struct is None:
        return {}
    return {key: _decode(value) for key, value in struct.fields.items()}


def _decode(value: struct_pb2.Value) -> Value:
    kind = value.WhichOneof("kind")
    if kind == "string_value":
        return UNKNOWN if value.string_value in _SENTINELS else value.string_value
    if kind == "number_value":
        return _number(value.number_value)
    if kind == "bool_value":
        return value.bool_value
    if kind == "list_value":
        return [_decode(element) for element in value.list_value.values]
    if kind == "struct_value":
        return _decode_object(from_struct(value.struct_value))
    return None


def _number(number: float) -> int | float:
    if not math.isfinite(number):
        raise EngineError(f"a property is the number {number}, which has no form in the state")
    return int(number) if number.is_integer() and abs(number) < 1e21 else number


def _decode_object(properties: Properties) -> Value:
    signature = properties.get(SIGNATURE)
    if signature == SECRET_SIGNATURE:
        return Secret(properties.get("value"))
    if signature == _OUTPUT_SIGNATURE:
        value = properties.get("value", UNKNOWN)
        return Secret(value) if properties.get("secret") else value
    if signature in _ASSETS:
        raise Unsupported(f"{_ASSETS[signature]} among a resource's properties")
    if signature not in (None, RESOURCE_SIGNATURE):
        raise EngineError(f"a property has the signature {signature!r}, which Pulumi does not know")
    return properties


def to_struct(
    properties: Mapping[str, Value], *, secrets: bool, unknowns: bool = True, resources: bool = True
) -> struct_pb2.Struct:
    """Return the properties as a protocol message.

    Args:
        properties: The properties.
        secrets: Whether the reader accepts wrapped secrets. Otherwise they are in plain text.
        unknowns: Whether unknown values are included.
        resources: Whether the reader accepts resource references. Otherwise they become ids.

    """
    options = _Encoding(secrets, unknowns, resources)
    struct = struct_pb2.Struct()
    for key, value in (properties if unknowns else _known(properties)).items():
        _encode(value, struct.fields[key], options)
    return struct


def _known(value: Value) -> Value:
    """Return the value without its unknown parts."""
    if isinstance(value, list):
        return [_known(element) for element in value if not _is_unknown(element)]
    if isinstance(value, dict):
        return {key: _known(element) for key, element in value.items() if not _is_unknown(element)}
    return Secret(_known(value.value)) if isinstance(value, Secret) else value


def _is_unknown(value: Value) -> bool:
    return value is UNKNOWN or (isinstance(value, Secret) and _is_unknown(value.value))


@dataclass(frozen=True)
class _Encoding:
    secrets: bool
    unknowns: bool
    resources: bool


def _encode(value: Value, into: struct_pb2.Value, options: _Encoding) -> None:
    if value is None:
        into.null_value = struct_pb2.NULL_VALUE
    elif value is UNKNOWN:
        into.string_value = UNKNOWN_SENTINEL
    elif isinstance(value, bool):
        into.bool_value = value
    elif isinstance(value, int | float):
        into.number_value = value
    elif isinstance(value, str):
        into.string_value = value
    elif isinstance(value, list):
        into.list_value.SetInParent()
        for element in value:
            _encode(element, into.list_value.values.add(), options)
    else:
        _encode_object(value, into, options)


def _encode_object(value: Value, into: struct_pb2.Value, options: _Encoding) -> None:
    if isinstance(value, Secret):
        if not options.secrets:
            _encode(value.value, into, options)
            return
        into.struct_value.fields[SIGNATURE].string_value = SECRET_SIGNATURE
        _encode(value.value, into.struct_value.fields["value"], options)
    elif isinstance(value, dict):
        if not options.resources and value.get(SIGNATURE) == RESOURCE_SIGNATURE:
            _encode(value.get("id") or value.get("urn"), into, options)
            return
        into.struct_value.SetInParent()
        for key, element in value.items():
            _encode(element, into.struct_value.fields[key], options)
    else:
        raise EngineError(f"a property has the type {type(value).__name__}, which Pulumi has no form for")


def _any(value: Value, test: Callable[[Value], bool]) -> bool:
    if test(value):
        return True
    if isinstance(value, Secret):
        return _any(value.value, test)
    if isinstance(value, list):
        return any(_any(element, test) for element in value)
    if isinstance(value, dict):
        return any(_any(element, test) for element in value.values())
    return False


def contains_unknowns(value: Value) -> bool:
    """Return whether any part of the value is unknown."""
    return _any(value, lambda part: part is UNKNOWN)


def contains_secrets(value: Value) -> bool:
    """Return whether any part of the value is secret."""
    return _any(value, lambda part: isinstance(part, Secret))


def _map(value: Value, change: Callable[[Value], Value]) -> Value:
    value = change(value)
    if isinstance(value, list):
        return [_map(element, change) for element in value]
    if isinstance(value, dict):
        return {key: _map(element, change) for key, element in value.items()}
    return value


def unwrap(value: Value) -> Value:
    """Return the value with all secrets in plain text. For comparisons and providers, never for output."""
    return _map(value, lambda part: unwrap(part.value) if isinstance(part, Secret) else part)


def plain(value: Value, *, show_secrets: bool = False) -> Value:
    """Return the value as JSON, with `[secret]` for secrets and the sentinel for unknown values."""

    def change(part: Value) -> Value:
        if isinstance(part, Secret):
            return plain(part.value, show_secrets=True) if show_secrets else "[secret]"
        return UNKNOWN_SENTINEL if part is UNKNOWN else part

    return _map(value, change)


def annotate_secrets(outputs: Properties, inputs: Mapping[str, Value]) -> None:
    """Mark an output as secret if the input of its name contains a secret, for providers without secrets."""
    for key, value in inputs.items():
        if key not in outputs:
            continue
        if isinstance(outputs[key], dict) and isinstance(value, dict):
            annotate_secrets(outputs[key], value)
        elif not isinstance(outputs[key], Secret) and contains_secrets(value):
            outputs[key] = Secret(outputs[key])


@dataclass(frozen=True)
class ConfigValue:
    """One decrypted configuration value.

    Attributes:
        text: The value as text, objects as JSON.
        secret: Whether it contains a secret.
        is_object: Whether it is an object.
        blinded: The text with `[secret]` in place of secrets.
        secrets: The texts that were encrypted.

    """

    text: str
    secret: bool
    is_object: bool = False
    blinded: str = field(default=BLINDED, compare=False)
    secrets: tuple[str, ...] = field(default=(), compare=False)

    def __repr__(self) -> str:
        return f"ConfigValue({'…' if self.secret else self.text!r})"
