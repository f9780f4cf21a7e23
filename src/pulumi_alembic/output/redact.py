"""Remove passwords from messages that quote SQL or a script."""

from __future__ import annotations

import re

__all__ = ["redact", "redact_source"]

_BEHIND = r"(?is)(\bPASSWORD(?:\s+|/\*.*?\*/|--[^\n]*(?:\n|$))*)"
_LITERAL = re.compile(_BEHIND + r"(?:(?:E|U&)?'(?!')(?:[^'\\]|''|\\.)*'|\$(\w*)\$.*?\$\2\$)")
# Within a literal, as in EXECUTE of a DO block, and in a connection string.
_IN_LITERAL = re.compile(_BEHIND + r"(?:E|U&)?''.*?''")
_IN_CONNECTION = re.compile(r"(?i)(\bPASSWORD\s*=\s*)(?:'[^']*'|[^\s'\"]+)")
_IN_SOURCE = re.compile(r"""(?i)(\bPASSWORD\b[^'"$=]*['"$=]).*""")


def redact(text: str) -> str:
    """Return the text without the value after each PASSWORD, in any kind of quotes."""
    text = _IN_LITERAL.sub(r"\1''…''", text)
    return _IN_CONNECTION.sub(r"\1…", _LITERAL.sub(r"\1'…'", text))


def redact_source(line: str) -> str:
    """Return a line of a script without all that follows PASSWORD and a quote: Python can nest quotes in many ways."""
    return _IN_SOURCE.sub(r"\1…", line)
