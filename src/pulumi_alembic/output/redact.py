"""Keeps passwords out of messages that quote SQL or a script."""

from __future__ import annotations

import re

__all__ = ["redact", "redact_source"]

_BEHIND = r"(?is)(\bPASSWORD(?:\s+|/\*.*?\*/|--[^\n]*(?:\n|$))*)"
_LITERAL = re.compile(_BEHIND + r"(?:(?:E|U&)?'(?!')(?:[^'\\]|''|\\.)*'|\$(\w*)\$.*?\$\2\$)")
# In a literal itself, as in a DO block's EXECUTE; and in a connection string.
_IN_LITERAL = re.compile(_BEHIND + r"(?:E|U&)?''.*?''")
_IN_CONNECTION = re.compile(r"(?i)(\bPASSWORD\s*=\s*)(?:'[^']*'|[^\s'\"]+)")
_IN_SOURCE = re.compile(r"""(?i)(\bPASSWORD\b[^'"$=]*['"$=]).*""")


def redact(text: str) -> str:
    """The text without what stands behind each PASSWORD, in whichever quotes it is."""
    text = _IN_LITERAL.sub(r"\1''…''", text)
    return _IN_CONNECTION.sub(r"\1…", _LITERAL.sub(r"\1'…'", text))


def redact_source(line: str) -> str:
    """A line of a script with nothing behind PASSWORD and a quote: Python may quote the quotes in any way."""
    return _IN_SOURCE.sub(r"\1…", line)
