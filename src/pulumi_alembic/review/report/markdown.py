"""Texts of scripts and messages as GitHub's Markdown. They cannot format, break the page or notify people.

Outside of code, GitHub turns `@name` into a mention, and `#1` and addresses into links, which the other side sees. An
invisible U+200B after the first character prevents that. Invisible characters and those that change the reading
direction are escaped, because a CI log prints the report too.
"""

from __future__ import annotations

import re

from pulumi_alembic.output.printable import printable

__all__ = ["code", "cut", "fence", "folded", "plain", "visible"]

_PUNCTUATION = re.compile(r"[!-/:-@\[-`{-~]")
_FORMATTING = re.compile(r"[\\`*\[\]<>|~&$#]|(?<![^\W_])_|_(?![^\W_])")
_BLOCK_START = re.compile(r"^[-+=]|^\d+(?=[.)])")
_REFERENCE = re.compile(r"(?i)@(?=\w)|#(?=\w)|\bgh(?=-\d)|https?:(?=//)|ftp:(?=//)|www(?=\.)|mailto:|xmpp:")
_MARK = "\u200b"
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "|": "&#124;", "\\": "&#92;", "$": "&#36;"}


def cut(text: str, width: int) -> str:
    """Return at most `width` characters of the text, with an ellipsis if it is cut."""
    return text if len(text) <= width else text[: max(width - 1, 0)] + "…"


def plain(text: str, width: int) -> str:
    """Return the text as words in a paragraph, a list or a table."""
    marked = _marked(_one_line(text, width))
    escaped = _FORMATTING.sub(lambda match: _ENTITIES.get(match.group(), f"\\{match.group()}"), marked)
    return _shown_mark(_BLOCK_START.sub(lambda match: "".join(map(_entity, match.group())), escaped))


def code(text: str, width: int) -> str:
    """Return the text as code in a paragraph, a list or a table."""
    shown = _one_line(text, width)
    if shown and not any(character in shown for character in "`|\\"):
        return f"`{shown}`"
    escaped = _PUNCTUATION.sub(lambda match: _entity(match.group()), shown)
    return f"<code>{escaped or '&nbsp;'}</code>"


def fence(text: str, language: str, width: int) -> str:
    """Return a block of code with at most `width` characters of a `visible` text."""
    shown = cut(text, width)
    ticks = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", shown)), default=0))
    return f"{ticks}{language}\n{shown}\n{ticks}"


def folded(title: str, body: str, *, opened: bool = False) -> str:
    """Return Markdown behind a line of HTML that a click opens."""
    return f"<details{' open' if opened else ''}><summary>{title}</summary>\n\n{body}\n\n</details>"


def visible(text: str) -> str:
    """Return the text with printable characters and one kind of line end."""
    return printable(text.replace("\r\n", "\n").replace("\r", "\n").strip("\n").rstrip())


def _one_line(text: str, width: int) -> str:
    # A text can be huge: read no more of it than can be shown.
    return cut(" ".join(visible(text[: 100 * width]).split()), width)


def _marked(text: str) -> str:
    return _REFERENCE.sub(lambda match: match.group() + _MARK, text)


def _shown_mark(text: str) -> str:
    return text.replace(_MARK, "&#8203;")


def _entity(character: str) -> str:
    return f"&#{ord(character)};"
