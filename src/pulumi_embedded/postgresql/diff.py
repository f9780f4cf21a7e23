"""Compare a resource's outputs with its inputs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from pulumi_embedded.model.values import UNKNOWN
from pulumi_embedded.postgresql.properties import Property, Schema, Type, Values, plan

__all__ = ["Difference", "Edit", "difference"]


class Edit(IntEnum):
    """The change of one value. The numbers are those of `PropertyDiff.Kind`, where `+ 1` is a replacement."""

    ADD = 0
    DELETE = 2
    UPDATE = 4


@dataclass(frozen=True)
class Difference:
    """The changes of a resource.

    Attributes:
        paths: The changes by path.
        properties: The names of the changed properties.
        replaces: The properties whose change requires a replacement.
        stables: The properties that certainly do not change.

    """

    paths: Mapping[str, int]
    properties: list[str]
    replaces: list[str]
    stables: list[str]


def difference(schema: Schema, old: Mapping[str, Any], inputs: Values, ignored: Iterable[str] = ()) -> Difference:
    """Return what `inputs` would change. A computed property that the inputs do not name never differs."""
    planned = plan(schema, old, inputs, ignored)
    edits = {name: _edits(prop, old.get(name), planned[name], inputs.get(name)) for name, prop in schema.items()}
    changed = sorted(name for name, edit in edits.items() if edit)
    replaces = [name for name in changed if schema[name].replaces]
    paths = {name + suffix: edit + schema[name].replaces for name in changed for suffix, edit in edits[name].items()}
    return Difference(paths, changed, replaces, schema.stable(replaces))


def _edits(prop: Property, before: Any, after: Any, given: Any) -> dict[str, Edit]:
    if prop.write_only or (after is UNKNOWN and given is None):
        return {}
    if prop.type.collection:
        return _collection_edits(prop.type, before or [], after, given)
    unset = (None, prop.type.zero)
    if before == after or (before in unset and after in unset):
        return {}
    if before is None or after is None:
        return {"": Edit.ADD if before is None else Edit.DELETE}
    return {"": Edit.UPDATE}


def _collection_edits(kind: Type, before: list[Any], after: Any, given: Any) -> dict[str, Edit]:
    if after is UNKNOWN:
        return {"": Edit.UPDATE if before else Edit.ADD}
    if not before or not after:
        return {} if not before and not after else {"": Edit.DELETE if before else Edit.ADD}
    # Added elements are numbered in the program's order, not in the sorted one (pulumi-postgresql 3.18.2).
    wanted = given if isinstance(given, list) else after
    old, new = [_key(value) for value in before], [_key(value) for value in wanted]
    removed, added = _sequence_edits(old, new) if kind is Type.LIST else _set_edits(old, new)
    return {f"[{index}]": _edit(index in removed, index in added) for index in sorted(removed | added)}


def _key(value: Any) -> str:
    if isinstance(value, dict):
        value = {key: inner for key, inner in value.items() if key != "__defaults"}
    return json.dumps(value, sort_keys=True, default=repr)


def _edit(removed: bool, added: bool) -> Edit:
    if removed and added:
        return Edit.UPDATE
    return Edit.DELETE if removed else Edit.ADD


def _set_edits(old: list[str], new: list[str]) -> tuple[set[int], set[int]]:
    removed = {index for index, value in enumerate(old) if value not in new}
    return removed, {index for index, value in enumerate(new) if value not in old and value not in new[:index]}


def _sequence_edits(old: list[str], new: list[str]) -> tuple[set[int], set[int]]:
    """Return the smallest edit that keeps common values in order. It deletes before it adds."""
    common = [[0] * (len(new) + 1) for _ in range(len(old) + 1)]
    for i in reversed(range(len(old))):
        for j in reversed(range(len(new))):
            same = old[i] == new[j]
            common[i][j] = common[i + 1][j + 1] + 1 if same else max(common[i + 1][j], common[i][j + 1])
    removed, added, i, j = set(range(len(old))), set(range(len(new))), 0, 0
    while i < len(old) and j < len(new):
        if old[i] == new[j]:
            removed.discard(i)
            added.discard(j)
            i, j = i + 1, j + 1
        elif common[i + 1][j] >= common[i][j + 1]:
            i += 1
        else:
            j += 1
    return removed, added
