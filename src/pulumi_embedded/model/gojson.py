"""JSON as Go's encoding/json writes it. Pulumi stores configuration objects in this form, and programs see the text."""

from __future__ import annotations

import json
import math
import re
from typing import Any, Final

from pulumi_embedded.errors import EngineError

__all__ = ["compact", "number_text"]

_HTML: Final = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}
_HTML_CHARACTERS: Final = re.compile("[<>&\u2028\u2029]")
# From this exponent on, and below 1e-6, Go writes numbers with an exponent.
_LARGE: Final = 1e21
_SMALL: Final = 1e-6


def compact(value: Any, *, html: bool = True) -> str:
    """Return the value on one line, with sorted keys and without spaces. With `html`, `<`, `>` and `&` are escaped."""
    if isinstance(value, dict):
        pairs = (f"{_string(key, html)}:{compact(value[key], html=html)}" for key in sorted(value))
        return "{" + ",".join(pairs) + "}"
    if isinstance(value, list):
        return "[" + ",".join(compact(item, html=html) for item in value) + "]"
    if isinstance(value, str):
        return _string(value, html)
    if isinstance(value, float):
        return number_text(value)
    return json.dumps(value)


def number_text(number: float) -> str:
    """Return a whole number as an integer, and any other number in its shortest exact form."""
    if not math.isfinite(number):
        raise EngineError(f"the number {number} has no form in JSON")
    if number == 0 or _SMALL <= abs(number) < _LARGE:
        return str(int(number)) if number.is_integer() else _decimal(repr(number))
    return re.sub(r"e([+-])0?(\d)$", r"e\1\2", repr(number))


def _decimal(text: str) -> str:
    """Return a number such as Python's `1e-05` without an exponent."""
    mantissa, separator, exponent = text.partition("e-")
    if not separator:
        return text
    sign, digits = ("-", mantissa[1:]) if mantissa.startswith("-") else ("", mantissa)
    return f"{sign}0.{'0' * (int(exponent) - 1)}{digits.replace('.', '')}"


def _string(text: str, html: bool) -> str:
    quoted = json.dumps(text, ensure_ascii=False)
    return _HTML_CHARACTERS.sub(lambda match: _HTML[match[0]], quoted) if html else quoted
