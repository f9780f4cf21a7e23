"""Check a stack's configuration against the declarations of Pulumi.yaml (Pulumi CLI 3.260)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Protocol

from pulumi_embedded.errors import EngineError

__all__ = ["check_config"]


class _Value(Protocol):
    @property
    def text(self) -> str: ...

    @property
    def secret(self) -> bool: ...

    @property
    def is_object(self) -> bool: ...


def check_config(project: str, stack: str, declared: Mapping[str, Any], values: Mapping[str, _Value]) -> None:
    """Check that each declared value exists, is secret if declared so, and has the declared type.

    Args:
        project: The name of the project.
        stack: The name of the stack.
        declared: The `config` of Pulumi.yaml, by full key.
        values: The stack's values, by full key.

    Raises:
        EngineError: A value is missing or wrong. The text contains the command that sets it.

    """
    own = {key.removeprefix(f"{project}:"): key for key in sorted(declared) if key.startswith(f"{project}:")}
    missing = [name for name, key in own.items() if key not in values]
    if missing:
        _refuse_missing(stack, missing)
    for name, key in own.items():
        schema = declared[key]
        if isinstance(schema, dict) and "type" in schema:
            _check(stack, name, schema, values[key])


def _refuse_missing(stack: str, names: list[str]) -> None:
    listed = ", ".join(f"'{name}'" for name in names[:-1])
    listed += (" and " if listed else "") + f"'{names[-1]}'"
    commands = "".join(f"\n  pulumi-embedded config set {name} VALUE -s {stack}" for name in names)
    plural = "values" if len(names) > 1 else "value"
    raise EngineError(f"Stack '{stack}' is missing configuration {plural} {listed}; set it:{commands}")


def _check(stack: str, name: str, schema: Mapping[str, Any], value: _Value) -> None:
    if schema.get("secret") and not value.secret:
        raise EngineError(
            f"Stack '{stack}' with configuration key '{name}' must be encrypted as it's secret; set it:\n"
            f"  pulumi-embedded config set --secret {name} VALUE -s {stack}"
        )
    content = json.loads(value.text) if value.is_object else value.text
    if not _fits(content, schema):
        raise EngineError(f"Stack '{stack}' with configuration key '{name}' must be of type '{_type_name(schema)}'")


def _type_name(schema: Mapping[str, Any]) -> str:
    items = schema.get("items")
    return f"array<{_type_name(items)}>" if schema["type"] == "array" and items else str(schema["type"])


def _fits(content: Any, schema: Mapping[str, Any]) -> bool:
    kind = schema["type"]
    if kind == "string":
        return isinstance(content, str)
    if kind == "integer":
        return _is_integer(content)
    if kind == "boolean":
        return isinstance(content, bool) or content in ("true", "false")
    if kind == "array":
        items = schema.get("items") or {}
        return isinstance(content, list) and all(_fits(item, items) for item in content if items)
    return kind != "object" or isinstance(content, dict)


def _is_integer(content: Any) -> bool:
    if isinstance(content, str):
        try:
            int(content)
        except ValueError:
            return False
        return True
    return isinstance(content, int) and not isinstance(content, bool)
