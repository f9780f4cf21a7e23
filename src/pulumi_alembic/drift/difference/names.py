"""Names as PostgreSQL prints them: a part in quotes may hold dots and brackets. Pure."""

from __future__ import annotations

import re
from typing import NamedTuple

__all__ = ["Name", "split", "unquoted"]

_PART = r'"(?:[^"]|"")*"|[^".(]+'
_NAME = re.compile(rf"(?:({_PART})\.)?({_PART})(\(.*\))?", re.DOTALL)


class Name(NamedTuple):
    """An object's name; `schema` and the `arguments` of a function, in brackets, are empty where it has none."""

    schema: str
    bare: str
    arguments: str = ""


def split(name: str) -> Name:
    """The parts, as they are printed."""
    match = _NAME.fullmatch(name)
    return Name(match[1] or "", match[2], match[3] or "") if match else Name("", name)


def unquoted(part: str) -> str:
    """The part as the catalog has it."""
    return part[1:-1].replace('""', '"') if part.startswith('"') else part
