"""The prose of a page: its sentences, without code and output."""

from __future__ import annotations

import re
from collections.abc import Iterator

LONGEST = 30
"""The limit of a sentence, in words."""

REPLACED = (
    "way back",
    "takes away",
    "writes anew",
    "reads whole",
    "sets aside",
    "puts back",
    "concluded from the text",
    "leads back",
    "mend",
    "excuse",
    "capsule",
    "goes in a ring",
    "dead twin",
    "anew",
    "may not",
    "may nothing",
    "where there is",
    "where there are",
    "lets it go",
    "nobody is here",
)
"""Words of the project's past that readers do not know. Plain words replaced them."""

_REPLACED = re.compile(rf"\b(?:{'|'.join(REPLACED)})(?:s|ed|d|ing)?\b", re.I)
_FENCE = re.compile(r"^(`{3,})\w*\n.*?^\1$", re.S | re.M)
_COMMENT = re.compile(r"<!--.*?-->", re.S)
_CODE = re.compile(r"(`+)(?!`).+?(?<!`)\1(?!`)", re.S)
_LINK = re.compile(r"!?\[([^\]]*)\]\([^)]*\)")
_END = re.compile(r"(?<=[.!?])\s+|(?<=[.!?][*_)\"])\s+|(?<=[.!?]\*\*)\s+|\n{2,}|\n(?=\s*(?:[-*|#>]|\d+\.) ?)| [|·] ")


def prose(page: str) -> str:
    """Return the page without blocks, comments and code. Each piece of code within a sentence is one word."""
    for pattern, text in ((_FENCE, ""), (_COMMENT, ""), (_CODE, "CODE"), (_LINK, r"\1")):
        page = pattern.sub(text, page)
    return page


def sentences(page: str) -> Iterator[str]:
    """Yield the sentences of a page. An item of a list, a heading and a cell of a table end a sentence too."""
    for sentence in _END.split(prose(page)):
        words = re.sub(r"[*|#>]|-{3,}|^\s*[-\d.]+ ", " ", sentence).split()
        if words:
            yield " ".join(words)


def replaced(text: str) -> list[str]:
    """Return the words of the text that plain words replaced."""
    return [found[0] for found in _REPLACED.finditer(text)]
