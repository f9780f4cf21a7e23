"""Outputs as they go into the state, and the inputs that a refreshed or imported resource has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pulumi_embedded.model.values import UNKNOWN, Secret, Unknown
from pulumi_embedded.postgresql.properties import Property, Schema, Type, Values

__all__ = ["applied", "outputs", "refreshed_inputs"]


def applied(schema: Schema, planned: Mapping[str, Any], observed: Mapping[str, Any]) -> Values:
    """What a creation or update left: `observed`, over `planned`.

    A set that was planned stays as planned, and one that was planned as unset is not read as empty: differences show
    at the next refresh (terraform-plugin-sdk, normalizeNullValues).
    """
    return {name: _applied(prop, name, planned.get(name), observed) for name, prop in schema.items()}


def _applied(prop: Property, name: str, wanted: Any, observed: Mapping[str, Any]) -> Any:
    known = None if wanted is UNKNOWN else wanted
    planned_set = prop.type is Type.SET and known is not None
    unset = prop.type.collection and wanted is None and not observed.get(name)
    return known if name not in observed or planned_set or unset else observed[name]


def outputs(schema: Schema, resource_id: str | Unknown, values: Mapping[str, Any], stored: bool = True) -> Values:
    """Every property, null where unset, secrets wrapped; with `stored`, also what the real plugin needs to read it."""
    result: Values = {
        name: Secret(values.get(name)) if prop.secret else values.get(name) for name, prop in schema.items()
    }
    result["id"] = resource_id
    if stored:
        result["__pulumi_raw_state_delta"] = {"obj": _raw_state_delta(schema, values)}
    return result


def _raw_state_delta(schema: Schema, values: Mapping[str, Any]) -> Values:
    """How the real plugin's Terraform state differs from these outputs (RawStateDelta of the Terraform bridge)."""
    collections = [name for name, prop in schema.items() if prop.type.collection]
    delta: Values = {}
    present: Values = {name: {"arr": {}} for name in collections if values.get(name) is not None}
    if present:
        delta["ps"] = present
    if renamed := {name: schema[name].upstream for name in collections if schema[name].upstream}:
        delta["renamed"] = renamed
    return delta


def refreshed_inputs(schema: Schema, inputs: Values, values: Mapping[str, Any]) -> Values:
    """The inputs with the server's values in them; what differs from its default is no default any more.

    Without inputs, as for an import, they are what a program has to say to get these values.
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
    # The Terraform bridge goes through a list by the positions that the inputs have.
    return value[: len(given)] if isinstance(value, list) and isinstance(given, list) else value


def _forgotten(schema: Schema, name: str, values: Mapping[str, Any]) -> bool:
    """Whether it is not known any more what the server has."""
    return name in schema and schema[name].unread and values.get(name) is None


def _wrapped(schema: Schema, inputs: Values) -> Values:
    return {name: Secret(value) if name in schema and schema[name].secret else value for name, value in inputs.items()}
