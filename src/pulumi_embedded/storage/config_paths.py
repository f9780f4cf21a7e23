"""Values inside configuration objects, as the Pulumi CLI handles `config set --path a.b[0] x` (3.260)."""

from __future__ import annotations

import re
from typing import Any, Final

from pulumi_embedded.errors import EngineError
from pulumi_embedded.model.paths import Path

__all__ = ["coerced", "is_secure", "placed", "removed"]

_RESERVED: Final = 'maps with the single key "secure" are reserved'


def coerced(text: str) -> Any:
    """Return the text as a boolean or whole number if it looks like one. `007` and `1.5` remain texts."""
    if text in ("true", "false"):
        return text == "true"
    if re.fullmatch(r"[+-][0-9]+|0|[1-9][0-9]*", text) and -(2**63) <= int(text) < 2**64:
        return int(text)
    return text


def is_secure(value: Any) -> bool:
    """Return whether the value is an encrypted one in its written form."""
    return isinstance(value, dict) and set(value) == {"secure"} and isinstance(value["secure"], str)


def _container(element: str | int) -> Any:
    return [None] * (element + 1) if isinstance(element, int) else {}


def placed(root: Any, path: Path, new: Any, at: Path) -> Any:
    """Return the value with `new` at the path. Missing parts are created, and a plain root is replaced.

    Args:
        root: The value.
        path: The path inside of it.
        new: The new part.
        at: The path of the value itself, for errors.

    Raises:
        EngineError: The path does not fit the value.

    """
    if not path:
        return new
    element, here = path[0], (*at, path[0])
    plain = is_secure(root) or not isinstance(root, dict | list)
    if root is None or (plain and len(at) == 1):
        root = _container(element)
    elif plain:
        raise _misplaced(at, f"expected {'an array' if isinstance(element, int) else 'a map'}")
    if isinstance(root, list):
        return _placed_in_list(root, path, new, here)
    if not isinstance(element, str):
        raise _misplaced(here, "key for a map must be a string")
    if len(path) == 1 and not root and element == "secure" and isinstance(new, str):
        raise EngineError(f"could not set config: {_RESERVED}")
    return {**root, element: placed(root.get(element), path[1:], new, here)}


def _placed_in_list(root: list[Any], path: Path, new: Any, here: Path) -> list[Any]:
    index = path[0]
    if not isinstance(index, int):
        raise _misplaced(here, "key for an array must be an int")
    if index > len(root):
        raise _misplaced(here, "array index out of range")
    elements = [*root, None] if index == len(root) else list(root)
    elements[index] = placed(elements[index], path[1:], new, here)
    return elements


def _misplaced(at: Path, problem: str) -> EngineError:
    text = "".join(f"[{step}]" if isinstance(step, int) else _key_text(step) for step in at).removeprefix(".")
    return EngineError(f"could not set config: {text}: {problem}")


def _key_text(key: str) -> str:
    return f'["{key}"]' if re.search(r'[.\[\]"]', key) else f".{key}"


def removed(root: Any, path: Path) -> Any:
    """Return the value without the part at the path. A missing part is no error."""
    element = path[0]
    if isinstance(root, list) and isinstance(element, int) and element < len(root):
        if len(path) == 1:
            return root[:element] + root[element + 1 :]
        return [*root[:element], removed(root[element], path[1:]), *root[element + 1 :]]
    if not isinstance(root, dict) or is_secure(root) or element not in root:
        return root
    if len(path) > 1:
        return {**root, element: removed(root[element], path[1:])}
    rest = {key: value for key, value in root.items() if key != element}
    if is_secure(rest):
        raise EngineError(_RESERVED)
    return rest
