"""YAML as the Pulumi CLI reads and writes it (3.260, Go's yaml.v3). An edit changes one value and no other line."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

import yaml

__all__ = ["load", "with_value", "without"]

_TAG: Final = "tag:yaml.org,2002:"
# Booleans of YAML 1.1 that PyYAML does not read as such.
_OLD_BOOLEANS: Final = {"y", "Y", "n", "N"}


class _Loader(yaml.SafeLoader):
    """Reads `yes` and `12:30` as texts, `1e3` as a number, and keys as texts."""

    yaml_implicit_resolvers: dict[str, list[Any]] = {}  # noqa: RUF012 - PyYAML's own form

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        pairs = super().construct_mapping(node, deep=True)
        return {key if isinstance(key, str) else str(key): value for key, value in pairs.items()}


def _int(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> int | float:
    text = node.value.replace("_", "")
    digits = text.lstrip("+-")
    old_octal = re.fullmatch(r"0[0-7]+", digits) is not None
    number = int(digits, 8) if old_octal else int(digits, 0) if digits[:2] in ("0x", "0o", "0b") else int(digits)
    number = -number if text.startswith("-") else number
    return number if -(2**63) <= number < 2**64 else float(number)


def _float(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> float:
    text = node.value.replace("_", "").lower()
    return float(text.replace(".inf", "inf").replace(".nan", "nan"))


def _timestamp(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> str:
    moment = loader.construct_yaml_timestamp(node)
    if not isinstance(moment, datetime):
        return f"{moment} 00:00:00 +0000 UTC"
    fraction = f".{moment.microsecond:06}".rstrip("0") if moment.microsecond else ""
    zone = moment.strftime("%z") or "+0000"
    return f"{moment:%Y-%m-%d %H:%M:%S}{fraction} {zone} {'UTC' if zone == '+0000' else zone}"


for _name, _pattern, _first in (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("int", r"[-+]?(?:0b[01_]+|0o[0-7_]+|0x[0-9a-fA-F_]+|[0-9][0-9_]*)", "-+0123456789"),
    (
        "float",
        r"[-+]?(?:\.[0-9]+|[0-9][0-9_]*\.?[0-9]*)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        "-+0123456789.",
    ),
    (
        "timestamp",
        r"\d{4}-\d\d?-\d\d?(?:(?:[Tt]|[ \t]+)\d\d?:\d\d:\d\d(?:\.\d*)?[ \t]*(?:Z|[-+]\d\d?(?::\d\d)?)?)?",
        "0123456789",
    ),
    ("merge", r"<<", "<"),
):
    _Loader.add_implicit_resolver(_TAG + _name, re.compile(f"(?:{_pattern})\\Z"), list(_first))
_Loader.add_constructor(_TAG + "int", _int)
_Loader.add_constructor(_TAG + "float", _float)
_Loader.add_constructor(_TAG + "timestamp", _timestamp)


class _Dumper(yaml.SafeDumper):
    """Indents lists, quotes texts that look like another type, and writes several lines as a block."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)

    def represent_text(self, text: str) -> yaml.ScalarNode:
        if "\n" in text:
            return self.represent_scalar(_TAG + "str", text, style="|")
        looks_else = any(_tag(loader, text) != _TAG + "str" for loader in (yaml.SafeLoader, _Loader))
        return self.represent_scalar(_TAG + "str", text, style='"' if looks_else else None)


def _tag(loader: type[yaml.SafeLoader], text: str) -> Any:
    """Return the type of a plain scalar. Texts that older readers take for a boolean, such as `yes`, have none."""
    resolver: Any = loader("")
    return "" if text in _OLD_BOOLEANS else resolver.resolve(yaml.ScalarNode, text, (True, False))


_Dumper.add_representer(str, _Dumper.represent_text)


def load(text: str) -> Any:
    """Return the document in the text. Raises yaml.YAMLError if it is not valid."""
    return yaml.load(text, Loader=_Loader)  # noqa: S506 - a SafeLoader


def with_value(text: str, path: Sequence[str], value: Any) -> str:
    """Return the text with the value at the path of keys. Other comments and the order stay the same."""
    if not yaml.compose(text, Loader=_Loader):
        return text + _dump(_nested(path, value))
    node, place = _deepest(text, path)
    if isinstance(value, dict) and value and len(place) == 1 and _is_block(_child(node, place[0])):
        return _merged(text, path, value)
    return _spliced(text, node, place[0], _nested(place[1:], value))


def _merged(text: str, path: Sequence[str], value: dict[str, Any]) -> str:
    """Return the text with the mapping at the path changed to another one, key by key."""
    present = load(text)
    for key in path:
        present = present[key]
    for key in [extra for extra in present if extra not in value]:
        text = without(text, [*path, key])
    for key, element in value.items():
        if key not in present or present[key] != element or type(present[key]) is not type(element):
            text = with_value(text, [*path, key], element)
    return text


def without(text: str, path: Sequence[str]) -> str:
    """Return the text without the value at the path, and without a mapping that becomes empty."""
    node, place = _deepest(text, path)
    if len(place) > 1 or _entry(node, place[0]) is None:
        return text
    lines = text.splitlines(keepends=True)
    start, end = _lines(node, place[0])
    if len(node.value) == 1 and len(path) > 1:
        return _spliced(text, _deepest(text, path[:-1])[0], path[-2], {})
    del lines[start:end]
    return "".join(lines)


def _nested(path: Sequence[str], value: Any) -> Any:
    for key in reversed(path):
        value = {key: value}
    return value


def _dump(value: Any) -> str:
    options: dict[str, Any] = {"default_flow_style": False, "allow_unicode": True, "width": 10**6, "sort_keys": True}
    return str(yaml.dump(value, Dumper=_Dumper, **options))


def _deepest(text: str, path: Sequence[str]) -> tuple[yaml.MappingNode, Sequence[str]]:
    """Return the innermost block mapping on the path, and the rest of the path."""
    node = yaml.compose(text, Loader=_Loader)
    assert isinstance(node, yaml.MappingNode)  # noqa: S101 - callers looked
    place = list(path)
    while len(place) > 1 and _is_block(child := _child(node, place[0])):
        node, place = child, place[1:]
    return node, place


def _is_block(node: yaml.Node | None) -> bool:
    return isinstance(node, yaml.MappingNode) and bool(node.value) and not node.flow_style


def _spliced(text: str, node: yaml.MappingNode, key: str, value: Any) -> str:
    lines = text.splitlines(keepends=True)
    if lines and not lines[-1].endswith("\n"):
        lines[-1] += "\n"
    exists = _entry(node, key) is not None
    start, end = _lines(node, key) if exists else (_last_line(node), _last_line(node))
    indent = " " * node.start_mark.column
    lines[start:end] = [indent + line for line in _dump({key: value}).splitlines(keepends=True)]
    return "".join(lines)


def _entry(node: yaml.MappingNode, key: str) -> tuple[yaml.Node, yaml.Node] | None:
    return next(((name, value) for name, value in node.value if name.value == key), None)


def _child(node: yaml.MappingNode, key: str) -> Any:
    entry = _entry(node, key)
    return entry[1] if entry else None


def _lines(node: yaml.MappingNode, key: str) -> tuple[int, int]:
    entry = _entry(node, key)
    assert entry is not None  # noqa: S101 - callers looked
    return entry[0].start_mark.line, max(_last_line(entry[1]), entry[0].end_mark.line + 1)


def _last_line(node: yaml.Node) -> int:
    """Return the line after the node's last one. A block node ends at the next token, so look inside it."""
    block = not getattr(node, "flow_style", None)
    if isinstance(node, yaml.MappingNode) and node.value and block:
        return _last_line(node.value[-1][1])
    if isinstance(node, yaml.SequenceNode) and node.value and block:
        return _last_line(node.value[-1])
    return int(node.end_mark.line) + (1 if node.end_mark.column else 0)
