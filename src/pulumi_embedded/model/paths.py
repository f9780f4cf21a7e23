"""Property paths such as `a.b[0]["c d"]`, as in ignore_changes and in a plugin's detailed diff."""

from __future__ import annotations

import copy
import re
from collections.abc import Sequence
from typing import Final

from pulumi_embedded.errors import EngineError
from pulumi_embedded.model.values import Properties, Secret, Value

__all__ = ["Path", "contains", "get_at", "parse_path", "path_text", "reset_at"]

Path = tuple[str | int, ...]

_TOKEN: Final = re.compile(r'\.?([^.\[\]"]+)|\.?\[(\d+)\]|\.?\["((?:[^"\\]|\\.)*)"\]|\.?\[(\*)\]')
_PLAIN: Final = re.compile(r"[A-Za-z0-9_]*")
_MISSING: Final = object()


def parse_path(text: str) -> Path:
    """Return the elements of a path. Raises EngineError if the text is not a path."""
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


def path_text(path: Path) -> str:
    """Return the path as text, which parse_path reads.

    Names with characters other than letters, digits and `_` are quoted.
    """
    text = ""
    for element in path:
        if isinstance(element, int):
            text += f"[{element}]"
        elif _PLAIN.fullmatch(element):
            text += f".{element}" if text else element
        else:
            text += '["' + element.replace('"', '\\"') + '"]'
    return text


def contains(outer: Path, inner: Path) -> bool:
    """Return whether `inner` is the place of `outer` or inside it. `*` stands for any element."""
    if len(inner) < len(outer):
        return False
    return all(part in ("*", inner[index]) for index, part in enumerate(outer))


def get_at(value: Value, path: Sequence[str | int]) -> Value:
    """Return the value at the path. None if there is none."""
    result = _get(value, path)
    return None if result is _MISSING else result


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


def reset_at(target: Properties, source: Properties, path: Path) -> tuple[Properties, bool]:
    """Return the target with the source's value at the path, and whether that was possible (Pulumi CLI 3.260).

    A property that the source lacks is removed. List elements are neither added nor removed. If that would be
    necessary, or if the values on the path are of different kinds, the result is False.
    """
    result = copy.deepcopy(target)
    return result, _reset(source, result, path, hidden=False)


def _reset(source: Value, target: Value, path: Path, *, hidden: bool) -> bool:
    """Change the target in place. `hidden` is whether a secret of the source, and none of the target, contains it."""
    (source, was_secret), (target, is_secret) = _bare(source), _bare(target)
    hidden = (hidden or was_secret) and not is_secret
    key, rest = path[0], path[1:]
    if key == "*":
        return _reset_all(source, target, rest, hidden=hidden)
    if isinstance(key, int):
        return _reset_element(source, target, key, rest, hidden=hidden)
    return _reset_property(source, target, key, rest, hidden=hidden)


def _reset_element(source: Value, target: Value, index: int, rest: Path, *, hidden: bool) -> bool:
    if not isinstance(source, list) or not isinstance(target, list):
        return not isinstance(source, list) and not isinstance(target, list)
    if index < len(source) and index < len(target):
        if rest:
            return _reset(source[index], target[index], rest, hidden=hidden)
        target[index] = _copied(source[index], hidden)
        return True
    return not rest and index >= len(source) and index >= len(target)


def _reset_property(source: Value, target: Value, key: str, rest: Path, *, hidden: bool) -> bool:
    if not isinstance(target, dict):
        return not isinstance(source, dict) or not (rest or key in source)
    if not rest and not (isinstance(source, dict) and key in source):
        target.pop(key, None)
        return True
    if not isinstance(source, dict):
        return False
    if not rest:
        target[key] = _copied(source[key], hidden)
        return True
    if key not in target:
        return key not in source
    return _reset(source.get(key), target[key], rest, hidden=hidden)


def _reset_all(source: Value, target: Value, rest: Path, *, hidden: bool) -> bool:
    if isinstance(target, dict) and isinstance(source, dict):
        if rest:
            return all(key in target and _reset(source[key], target[key], rest, hidden=hidden) for key in source)
        target.clear()
        target.update({key: _copied(value, hidden) for key, value in source.items()})
        return True
    if isinstance(target, list) and isinstance(source, list):
        done = True
        for index in range(min(len(source), len(target))):
            if rest:
                done = done and _reset(source[index], target[index], rest, hidden=hidden)
            else:
                target[index] = _copied(source[index], hidden)
        return done and len(source) == len(target)
    return not rest and isinstance(target, dict | list)


def _bare(value: Value) -> tuple[Value, bool]:
    secret = isinstance(value, Secret)
    return (_bare(value.value)[0] if secret else value), secret


def _copied(value: Value, hidden: bool) -> Value:
    value = copy.deepcopy(value)
    return Secret(value) if hidden else value
