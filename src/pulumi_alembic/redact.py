"""Keeps passwords out of messages that quote SQL or a script."""

from __future__ import annotations

import re

__all__ = ["redact", "redact_source"]

_PASSWORD = re.compile(r"(?i)(\bPASSWORD\s+)'(?:[^']|'')*'")
_PASSWORD_IN_SOURCE = re.compile(r"""(?i)(\bPASSWORD\s+\\?['"]).*""")


def redact(text: str) -> str:
    """The text with nothing between the quotes behind each PASSWORD."""
    return _PASSWORD.sub(r"\1'…'", text)


def redact_source(line: str) -> str:
    """A line of a script with nothing behind PASSWORD and a quote: Python may quote the quotes in any way."""
    return _PASSWORD_IN_SOURCE.sub(r"\1…", line)
