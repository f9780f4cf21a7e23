"""Check a program's inputs: complete and convert them, or reject them with all reasons at once."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

from pulumi_embedded.model.values import Secret, contains_unknowns
from pulumi_embedded.postgresql.properties import Property, Schema, Type, Values

__all__ = ["check", "generated_name"]

_TRUE = {"1", "t", "T", "TRUE", "true", "True"}
_FALSE = {"0", "f", "F", "FALSE", "false", "False"}


def check(schema: Schema, resource: str, news: Values, name: str | None) -> tuple[Values, list[str]]:
    """Return the inputs with defaults, and the sorted reasons for which they are rejected.

    Args:
        schema: The properties of the kind of resource.
        resource: The name of the resource in the program, for reasons.
        news: The program's inputs.
        name: The name of an autonamed resource without one. None if the kind is not autonamed.

    """
    values = {key: value for key, value in news.items() if value is not None and key != "__defaults"}
    defaults = _defaults(schema, values, name)
    inputs: Values = dict(defaults)
    reasons: list[str] = []
    for key, value in values.items():
        try:
            inputs[key] = _coerced(schema[key], value) if key in schema else value
        except ValueError as error:
            inputs[key] = value
            reasons.append(_at(str(error), resource, key))
        else:
            reasons += [_at(reason, resource, key) for reason in _reasons(schema, key, inputs, values)]
    reasons += [_at(_missing(schema, key), resource, key) for key in schema if _lacks(schema, key, inputs)]
    wrapped = {key: _wrapped(schema, key, value) for key, value in inputs.items()}
    return wrapped | {"__defaults": sorted(defaults)}, sorted(reasons)


def generated_name(resource: str, seed: bytes, olds: Mapping[str, Any]) -> str:
    """Return `<resource>-<7 hex digits>`: the previously generated name, otherwise one from `seed`."""
    if "name" in (olds.get("__defaults") or []) and olds.get("name"):
        return str(olds["name"])
    return f"{resource}-{hashlib.sha256(seed).hexdigest()[:7]}"


def _defaults(schema: Schema, given: Values, name: str | None) -> Values:
    defaults = {key: prop.default for key, prop in schema.items() if prop.default and key not in given}
    if name is not None and any(prop.autonamed and key not in given for key, prop in schema.items()):
        defaults["name"] = name
    return defaults


def _at(reason: str, resource: str, key: str) -> str:
    return f"{reason}. Examine values at '{resource}.{key}'."


def _lacks(schema: Schema, key: str, inputs: Values) -> bool:
    return (schema[key].required or schema[key].autonamed) and key not in inputs


def _missing(schema: Schema, key: str) -> str:
    required = f'The argument "{schema.upstream(key)}" is required, but no definition was found.'
    return f"Missing required argument. {required}"


def _wrapped(schema: Schema, key: str, value: Any) -> Any:
    if key in schema and schema[key].secret:
        return Secret(value)
    if key in schema and schema[key].type is Type.OBJECTS and isinstance(value, list):
        return [inner | {"__defaults": []} if isinstance(inner, dict) else inner for inner in value]
    return value


def _coerced(prop: Property, value: Any) -> Any:
    if contains_unknowns(value):
        return value
    if prop.type.collection:
        return value if isinstance(value, list) else [value]
    if prop.type is Type.BOOL:
        return value if isinstance(value, bool) else _boolean(value)
    if prop.type is Type.INT:
        return _integer(value)
    return str(value).lower() if isinstance(value, bool) else str(value)


def _boolean(value: Any) -> bool:
    if str(value) not in _TRUE | _FALSE:
        raise ValueError(f"cannot parse '' as bool: strconv.ParseBool: parsing \"{value}\": invalid syntax")
    return str(value) in _TRUE


def _integer(value: Any) -> int:
    try:
        return int(value)
    except (TypeError, ValueError):
        reason = f"cannot parse '' as int: strconv.ParseInt: parsing \"{value}\": invalid syntax"
        raise ValueError(reason) from None


def _reasons(schema: Schema, key: str, inputs: Values, given: Values) -> Iterator[str]:
    if key not in schema:
        yield "Invalid or unknown key"
        return
    prop, value, name = schema[key], inputs[key], schema.upstream(key)
    if contains_unknowns(value):
        return
    if prop.minimum is not None and value < prop.minimum:
        yield f"expected {name} to be at least ({prop.minimum}), got {value}"
    if prop.choices and value not in prop.choices:
        choices = " ".join(f'"{choice}"' for choice in prop.choices)
        yield f"expected {name} to be one of [{choices}], got {value}"
    if conflict := next((other for other in prop.conflicts if other in given), None):
        yield f'Conflicting configuration arguments. "{name}": conflicts with {schema.upstream(conflict)}'
    if any(other not in given for other in prop.together):
        group = ",".join(sorted(schema.upstream(other) for other in (key, *prop.together)))
        yield f'Missing required argument. "{name}": all of `{group}` must be specified'
