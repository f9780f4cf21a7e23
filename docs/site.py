"""A hook of MkDocs: each page's description is its first paragraph."""

from __future__ import annotations

import re
from typing import Any

_PARAGRAPH = re.compile(r"^(?!```|[#<|\-*>!\s])(?:.+\n)+", re.MULTILINE)
_LINK = re.compile(r"\[([^\]]*)\]\([^)]*\)")
LONGEST = 160
"""Characters of a description that a search engine shows."""


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> None:
    """Give the page a description."""
    first = _PARAGRAPH.search(markdown + "\n")
    if first:
        text = " ".join(_LINK.sub(r"\1", first[0]).replace("`", "").replace("*", "").split())
        page.meta.setdefault("description", text if len(text) <= LONGEST else f"{text[:LONGEST].rpartition(' ')[0]} …")
