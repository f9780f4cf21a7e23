"""The declaration of a kind's properties, from which Check, Diff, defaults and reads follow."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from pulumi_embedded.model.values import UNKNOWN, contains_unknowns

__all__ = ["Change", "Property", "Schema", "Type", "Values", "plan", "without_doubtful"]

Values = dict[str, Any]


class Type(Enum):
    """The type of a property."""

    STRING = "string"
    BOOL = "bool"
    INT = "int"
    LIST = "list"
    SET = "set"
    OBJECTS = "objects"

    @property
    def collection(self) -> bool:
        """Whether values are lists. `SET` and `OBJECTS` are compared without order."""
        return self in (Type.LIST, Type.SET, Type.OBJECTS)

    @property
    def zero(self) -> Any:
        """The value of an unset property."""
        return {Type.STRING: "", Type.BOOL: False, Type.INT: 0}.get(self, [])


@dataclass(frozen=True)
class Property:
    """One property.

    Attributes:
        computed: Whether the server decides its value without an input.
        replaces: Whether it cannot change in place.
        write_only: Whether it is never part of the outputs.
        unread: Whether it cannot be read from the server.
        upstream: Its name in terraform-provider-postgresql, if that is not its own name in snake case.

    """

    type: Type = Type.STRING
    default: Any = None
    required: bool = False
    computed: bool = False
    replaces: bool = False
    secret: bool = False
    write_only: bool = False
    unread: bool = False
    autonamed: bool = False
    minimum: int | None = None
    choices: tuple[str, ...] = ()
    conflicts: tuple[str, ...] = ()
    together: tuple[str, ...] = ()
    upstream: str = ""


class Schema(dict[str, Property]):
    """The properties of one kind, by name."""

    def upstream(self, name: str) -> str:
        """Return the property's name in terraform-provider-postgresql, which error messages use."""
        return self[name].upstream or re.sub("([A-Z])", lambda match: "_" + match[1].lower(), name)

    def stable(self, replaced: Collection[str] = ()) -> list[str]:
        """Return the properties that never change during the resource's life, except `replaced`."""
        return sorted(name for name, prop in self.items() if prop.replaces and name not in replaced)


def plan(schema: Schema, old: Mapping[str, Any] | None, inputs: Values, ignored: Iterable[str] = ()) -> Values:
    """Return the outputs for `inputs`, as far as they are known. `old` is None for a creation.

    Unset collections are None in a new resource, and empty lists in an old one, as in the real plugin's state.
    """
    planned = {name: _planned(prop, name, old, inputs) for name, prop in schema.items()}
    if old is not None:
        planned |= {name: old.get(name) for name in ignored if name in schema}
    return planned


def without_doubtful(schema: Schema, state: Values, inputs: Mapping[str, Any]) -> Values:
    """Return `state` with null for unreadable properties that `inputs`, those of the last success, do not confirm.

    After a failed update the real plugin records a password that was possibly never set, and the engine keeps the
    earlier inputs. A null differs from the program's value, so that it is set again.
    """
    doubtful = [name for name, prop in schema.items() if prop.unread and state.get(name) != inputs.get(name)]
    return state | dict.fromkeys(doubtful) if inputs else state


def _planned(prop: Property, name: str, old: Mapping[str, Any] | None, inputs: Values) -> Any:
    value, before = inputs.get(name), (old or {}).get(name)
    if prop.write_only:
        return None
    if prop.type.collection and value == []:
        return None if before is None else []
    if value is not None:
        return UNKNOWN if contains_unknowns(value) else _ordered(prop, value)
    if prop.default is not None:
        return prop.default
    if prop.computed:
        return UNKNOWN if old is None else before
    if before is None or before == prop.type.zero:
        return before
    return [] if prop.type.collection else None


def _ordered(prop: Property, value: Any) -> Any:
    return sorted(set(value)) if prop.type is Type.SET else value


class Change:
    """One resource before and after a step. An unset or unknown value reads as its type's zero."""

    def __init__(self, schema: Schema, old: Mapping[str, Any], new: Mapping[str, Any], inputs: Values | None = None):
        self._schema, self._old, self._new = schema, old, new
        self._inputs = inputs or {}

    def __getitem__(self, name: str) -> Any:
        """Return the value after the step."""
        return self._read(self._new, name)

    def old(self, name: str) -> Any:
        """Return the value before the step."""
        return self._read(self._old, name)

    def given(self, name: str) -> Any:
        """Return the input, the only place of a write-only property."""
        return self._read(self._inputs, name)

    def changed(self, *names: str) -> bool:
        """Return whether any of `names` differs."""
        return any(self.old(name) != self[name] for name in names)

    def replaced(self, **values: Any) -> Change:
        """Return the same step with other values after it."""
        return Change(self._schema, self._old, {**self._new, **values}, self._inputs)

    def differs(self, values: Mapping[str, Any]) -> bool:
        """Return whether the server's `values` differ from the known values after the step."""
        known = {name: value for name, value in self._new.items() if value is not None and value is not UNKNOWN}
        return any(name in known and self._read(values, name) != self[name] for name in values)

    def _read(self, values: Mapping[str, Any], name: str) -> Any:
        value, kind = values.get(name), self._schema[name].type
        if value is None or value is UNKNOWN:
            return kind.zero
        return sorted(value) if kind is Type.SET else value
