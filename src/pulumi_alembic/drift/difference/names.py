"""Names as PostgreSQL prints them. A quoted part can contain dots and parentheses. Pure functions."""

from __future__ import annotations

import re
from typing import NamedTuple

__all__ = ["Name", "split", "unquoted"]

_PART = r'"(?:[^"]|"")*"|[^".(]+'
_NAME = re.compile(rf"(?:({_PART})\.)?({_PART})(\(.*\))?", re.DOTALL)


class Name(NamedTuple):
    """The parts of an object's name.

    Attributes:
        schema: empty if there is none.
        arguments: those of a function, in parentheses. Empty otherwise.

    """

    schema: str
    bare: str
    arguments: str = ""


def split(name: str) -> Name:
    """Return the parts of the name, as they are printed."""
    match = _NAME.fullmatch(name)
    return Name(match[1] or "", match[2], match[3] or "") if match else Name("", name)


def unquoted(part: str) -> str:
    """Return the part without quotes, as the catalog has it."""
    return part[1:-1].replace('""', '"') if part.startswith('"') else part
