"""Outputs for the state, and the inputs of a refreshed or imported resource."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pulumi_embedded.model.values import UNKNOWN, Secret, Unknown
from pulumi_embedded.postgresql.properties import Property, Schema, Type, Values

__all__ = ["applied", "outputs", "refreshed_inputs"]


def applied(schema: Schema, planned: Mapping[str, Any], observed: Mapping[str, Any]) -> Values:
    """Return the outputs after a creation or update: `observed` values, otherwise `planned` ones.

    A planned set stays as planned, and a set that was planned as unset is not read as empty. The next refresh shows
    differences (terraform-plugin-sdk, normalizeNullValues).
    """
    return {name: _applied(prop, name, planned.get(name), observed) for name, prop in schema.items()}


def _applied(prop: Property, name: str, wanted: Any, observed: Mapping[str, Any]) -> Any:
    known = None if wanted is UNKNOWN else wanted
    planned_set = prop.type is Type.SET and known is not None
    unset = prop.type.collection and wanted is None and not observed.get(name)
    return known if name not in observed or planned_set or unset else observed[name]


def outputs(schema: Schema, resource_id: str | Unknown, values: Mapping[str, Any], stored: bool = True) -> Values:
    """Return every property, with null for unset ones and wrapped secrets.

    With `stored`, the real plugin's own data are included.
    """
    result: Values = {
        name: Secret(values.get(name)) if prop.secret else values.get(name) for name, prop in schema.items()
    }
    result["id"] = resource_id
    if stored:
        result["__pulumi_raw_state_delta"] = {"obj": _raw_state_delta(schema, values)}
    return result


def _raw_state_delta(schema: Schema, values: Mapping[str, Any]) -> Values:
    """Return how the real plugin's Terraform state differs from these outputs (the bridge's RawStateDelta)."""
    collections = [name for name, prop in schema.items() if prop.type.collection]
    delta: Values = {}
    present: Values = {name: {"arr": {}} for name in collections if values.get(name) is not None}
    if present:
        delta["ps"] = present
    if renamed := {name: schema[name].upstream for name in collections if schema[name].upstream}:
        delta["renamed"] = renamed
    return delta


def refreshed_inputs(schema: Schema, inputs: Values, values: Mapping[str, Any]) -> Values:
    """Return the inputs with the server's values. A value that differs from its default is no default any more.

    Without inputs, as for an import, return the inputs that a program needs for these values.
    """
    if not inputs:
        kept = {name: values.get(name) for name, prop in schema.items() if _worth_saying(prop, values.get(name))}
        return _wrapped(schema, kept) | {"__defaults": []}
    kept = {
        name: _refreshed(schema, name, value, values)
        for name, value in inputs.items()
        if name != "__defaults" and not _forgotten(schema, name, values)
    }
    defaults = [name for name in inputs.get("__defaults") or [] if kept.get(name) == inputs.get(name)]
    return _wrapped(schema, kept) | ({"__defaults": defaults} if defaults else {})


def _worth_saying(prop: Property, value: Any) -> bool:
    if prop.default is not None:
        return bool(value != prop.default)
    return value is not None and value != prop.type.zero


def _refreshed(schema: Schema, name: str, given: Any, values: Mapping[str, Any]) -> Any:
    if name not in schema or schema[name].write_only:
        return given
    value = values.get(name)
    # The Terraform bridge reads a list only at the positions of the inputs.
    return value[: len(given)] if isinstance(value, list) and isinstance(given, list) else value


def _forgotten(schema: Schema, name: str, values: Mapping[str, Any]) -> bool:
    """Return whether the server's value is not known any more."""
    return name in schema and schema[name].unread and values.get(name) is None


def _wrapped(schema: Schema, inputs: Values) -> Values:
    return {name: Secret(value) if name in schema and schema[name].secret else value for name, value in inputs.items()}
