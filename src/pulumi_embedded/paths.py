"""Property paths such as `a.b[0]["c d"]`, as in ignore_changes and in a plugin's detailed diff."""

from __future__ import annotations

import copy
import re
from collections.abc import Sequence
from typing import Final

from pulumi_embedded.errors import EngineError
from pulumi_embedded.values import Properties, Secret, Value

__all__ = ["Path", "contains", "copy_at", "get_at", "parse_path"]

Path = tuple[str | int, ...]

_TOKEN: Final = re.compile(r'\.?([^.\[\]"]+)|\.?\[(\d+)\]|\.?\["((?:[^"\\]|\\.)*)"\]|\.?\[(\*)\]')
_MISSING: Final = object()


def parse_path(text: str) -> Path:
    """The elements of a path; raises EngineError where it is none."""
    path: list[str | int] = []
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise EngineError(f"{text!r} is not a property path; write it as in a.b[0]")
        name, index, quoted, wildcard = match.groups()
        if index is not None:
            path.append(int(index))
        elif quoted is not None:
            path.append(re.sub(r"\\(.)", r"\1", quoted))
        else:
            path.append(name if name is not None else wildcard)
        position = match.end()
    return tuple(path)


def contains(outer: Path, inner: Path) -> bool:
    """Whether `inner` names the place that `outer` names, or one inside it; `*` stands for any element."""
    if len(inner) < len(outer):
        return False
    return all(each in ("*", inner[index]) for index, each in enumerate(outer))


def get_at(value: Value, path: Sequence[str | int]) -> Value:
    """The value at the path, None where there is none."""
    found = _get(value, path)
    return None if found is _MISSING else found


def _get(value: Value, path: Sequence[str | int]) -> Value:
    for element in path:
        if isinstance(value, Secret):
            value = value.value
        has_key = isinstance(value, dict) and element in value
        has_index = isinstance(value, list) and isinstance(element, int) and element < len(value)
        if not (has_key or has_index):
            return _MISSING
        value = value[element]
    return value


def copy_at(target: Properties, source: Properties, path: Path) -> Properties:
    """The target with what the source has at the path: also nothing, where the source has nothing there."""
    if "*" in path:
        for each in _expand(target, path) | _expand(source, path):
            target = copy_at(target, source, each)
        return target
    found = _get(source, path)
    result = copy.deepcopy(target)
    holder = _get(result, path[:-1])
    if isinstance(holder, Secret):
        holder = holder.value
    last = path[-1]
    if isinstance(holder, dict):
        if found is _MISSING:
            holder.pop(last, None)
        else:
            holder[last] = found
    elif isinstance(holder, list) and isinstance(last, int) and last < len(holder) and found is not _MISSING:
        holder[last] = found
    return result


def _expand(value: Value, path: Path) -> set[Path]:
    star = path.index("*")
    holder = _get(value, path[:star])
    keys: list[str | int] = []
    if isinstance(holder, dict):
        keys = list(holder)
    elif isinstance(holder, list):
        keys = list(range(len(holder)))
    expanded: set[Path] = set()
    for key in keys:
        each = (*path[:star], key, *path[star + 1 :])
        expanded |= _expand(value, each) if "*" in each else {each}
    return expanded
