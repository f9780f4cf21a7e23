"""Text of a statement for traces: its operation, and the text without values. Pure functions."""

from __future__ import annotations

import re

from pulumi_alembic.sql.outside_transaction import lexed

__all__ = ["operation", "without_constants"]

_WIDTH = 2000
_NUMBER = re.compile(r"[\w.]+")
_PARAMETER = re.compile(r"\$\d+")
_WITH_OBJECT = {"ALTER", "COMMENT", "CREATE", "DROP"}
_BEFORE_OBJECT = {
    *("GLOBAL", "LOCAL", "OR", "ON", "PROCEDURAL", "REPLACE", "RECURSIVE", "TEMP", "TEMPORARY", "TRUSTED", "UNIQUE"),
    "UNLOGGED",
}


def operation(sql: str) -> str:
    """Return the operation with low cardinality, such as `INSERT` or `CREATE INDEX`.

    Empty for a text without a statement.
    """
    words = (token.text.upper() for token in lexed(sql) if token.kind == "word")
    first = next(words, "")
    if first not in _WITH_OBJECT:
        return first
    return f"{first} {next((word for word in words if word not in _BEFORE_OBJECT), '')}".strip()


def without_constants(sql: str) -> str:
    """Return at most 2,000 characters of the statement, with a question mark for each constant, without comments.

    The question mark follows OpenTelemetry's semantic conventions for databases (1.40), "Sanitization of
    db.query.text". The text ends after an unterminated constant, or one whose end depends on a setting of the session.
    """
    written, end = "", 0
    for token in lexed(sql):
        if token.start < end:
            continue
        if len(written) > _WIDTH:
            return written[:_WIDTH] + "…"
        written += " " if token.start > end and written else ""
        text, end = token.text, token.start + len(token.text)
        if token.kind == "string":
            written += "?"
            # With standard_conforming_strings off, the quote belongs to the constant.
            if text[0] == "'" and "\\'" in text:
                return written
        elif token.kind == "other" and (text.isdigit() or _is_fraction(sql, token.start)):
            written, end = written + "?", _end(_NUMBER, sql, token.start)
        elif text == "$" and (parameter := _PARAMETER.match(sql, token.start)):
            written, end = written + parameter[0], parameter.end()
        elif token.kind == "other" and text in "'$\"":
            return written + "?"
        else:
            written += text
    return written


def _is_fraction(sql: str, start: int) -> bool:
    return re.compile(r"(?<![\w\"])\.\d").match(sql, start) is not None


def _end(pattern: re.Pattern[str], sql: str, start: int) -> int:
    match = pattern.match(sql, start)
    return match.end() if match else start
