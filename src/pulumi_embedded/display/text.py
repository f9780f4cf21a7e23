"""Format texts and numbers as Go does, in which the Pulumi CLI is written."""

from __future__ import annotations

import json
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

import yaml

from pulumi_embedded.storage import yaml_text

__all__ = ["Decoded", "decoded", "number", "quoted"]

_ESCAPES: Final = {
    "\a": "\\a",
    "\b": "\\b",
    "\f": "\\f",
    "\n": "\\n",
    "\r": "\\r",
    "\t": "\\t",
    "\v": "\\v",
    "\\": "\\\\",
    '"': '\\"',
}
# Between these exponents a number is written without one.
_SMALLEST: Final = -4
_LARGEST: Final = 6


@dataclass(frozen=True)
class Decoded:
    """A list or an object in a text, and its format: `json` or `yaml`."""

    value: Any
    kind: str


def decoded(text: str) -> Decoded | None:
    """Return the list or object in a text. None if there is none. Only a text of several lines can be YAML."""
    stripped = text.strip()
    if stripped.startswith(("{", "[")):
        try:
            return Decoded(json.loads(stripped), "json")
        except ValueError:
            pass
    if "\n" not in stripped and "\r" not in stripped:
        return None
    try:
        value = yaml_text.load(stripped)
    except (yaml.YAMLError, ValueError):
        return None
    return Decoded(value, "yaml") if isinstance(value, list | dict) else None


def quoted(text: str) -> str:
    """Return the text in double quotes, with all invisible characters escaped."""
    return (
        '"'
        + "".join(
            _ESCAPES.get(character) or (character if character.isprintable() else _escaped(character))
            for character in text
        )
        + '"'
    )


def _escaped(character: str) -> str:
    code = ord(character)
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def number(value: float) -> str:
    """Return a number in its shortest exact form, whole ones as integers."""
    if value.is_integer():
        return f"{value:.0f}"
    sign, digits, exponent = Decimal(repr(value)).normalize().as_tuple()
    assert isinstance(exponent, int)  # noqa: S101 - a finite number
    power = len(digits) + exponent - 1
    if _SMALLEST <= power < _LARGEST:
        return format(Decimal(repr(value)).normalize(), "f")
    text = "".join(map(str, digits))
    return f"{'-' if sign else ''}{text[0]}{'.' if text[1:] else ''}{text[1:]}e{power:+03d}"
