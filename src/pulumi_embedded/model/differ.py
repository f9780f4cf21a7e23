"""Compare two property values: added, deleted, updated and unchanged parts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pulumi_embedded.model.values import Properties, Secret, Value, unwrap

__all__ = ["ArrayDiff", "ObjectDiff", "ValueDiff", "diff_objects", "diff_values", "equal", "is_internal"]


@dataclass
class ValueDiff:
    """One value that changed. For arrays and objects it contains the differences inside."""

    old: Value
    new: Value
    array: ArrayDiff | None = None
    object: ObjectDiff | None = None


@dataclass
class ArrayDiff:
    """The differences of two arrays by index."""

    adds: dict[int, Value] = field(default_factory=dict)
    deletes: dict[int, Value] = field(default_factory=dict)
    sames: dict[int, Value] = field(default_factory=dict)
    updates: dict[int, ValueDiff] = field(default_factory=dict)

    def __len__(self) -> int:
        """Return the highest index plus one. A plugin's detailed diff can omit the elements before it."""
        return max((*self.adds, *self.deletes, *self.sames, *self.updates), default=-1) + 1


@dataclass
class ObjectDiff:
    """The differences of two objects by name."""

    adds: Properties = field(default_factory=dict)
    deletes: Properties = field(default_factory=dict)
    sames: Properties = field(default_factory=dict)
    updates: dict[str, ValueDiff] = field(default_factory=dict)

    def keys(self) -> list[str]:
        """Return the properties of both sides, sorted."""
        return sorted({*self.adds, *self.deletes, *self.sames, *self.updates})

    def changed_keys(self) -> list[str]:
        """Return the properties that differ, sorted."""
        return sorted({*self.adds, *self.deletes, *self.updates})


def is_internal(name: str) -> bool:
    """Return whether the property belongs to the engine or the SDK and is not shown."""
    return name.startswith("__")


def equal(left: Value, right: Value) -> bool:
    """Return whether two values are equal. A boolean never equals a number, and a secret never equals a plain value."""
    if isinstance(left, Secret) or isinstance(right, Secret):
        both = isinstance(left, Secret) and isinstance(right, Secret)
        return both and equal(unwrap(left), unwrap(right))
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(equal, left, right))
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(equal(left[key], right[key]) for key in left)
    return bool(left == right)


def diff_objects(old: Mapping[str, Value], new: Mapping[str, Value], *, internal: bool = False) -> ObjectDiff | None:
    """Return the difference of two objects. None if they are equal.

    Args:
        old: The old object.
        new: The new object.
        internal: Whether internal properties, which begin with `__`, count.

    """
    diff = ObjectDiff()
    for key in sorted({*old, *new}):
        if is_internal(key) and not internal:
            continue
        before, after = old.get(key), new.get(key)
        change = diff_values(before, after, internal=internal)
        if change is None:
            if key in old and key in new:
                diff.sames[key] = after
        elif before is None:
            diff.adds[key] = after
        elif after is None:
            diff.deletes[key] = before
        else:
            diff.updates[key] = change
    return diff if diff.changed_keys() else None


def diff_values(old: Value, new: Value, *, internal: bool = False) -> ValueDiff | None:
    """Return the difference of two values. None if they are equal. Two secrets always count as equal."""
    if isinstance(old, Secret) and isinstance(new, Secret):
        return None
    if isinstance(old, dict) and isinstance(new, dict):
        objects = diff_objects(old, new, internal=internal)
        return ValueDiff(old, new, object=objects) if objects else None
    if isinstance(old, list) and isinstance(new, list):
        array = _diff_arrays(old, new, internal)
        return ValueDiff(old, new, array=array) if array else None
    return None if equal(old, new) else ValueDiff(old, new)


def _diff_arrays(old: list[Value], new: list[Value], internal: bool) -> ArrayDiff | None:
    diff = ArrayDiff()
    for index in range(max(len(old), len(new))):
        if index >= len(old):
            diff.adds[index] = new[index]
        elif index >= len(new):
            diff.deletes[index] = old[index]
        elif change := diff_values(old[index], new[index], internal=internal):
            diff.updates[index] = change
        else:
            diff.sames[index] = new[index]
    return diff if diff.adds or diff.deletes or diff.updates else None
