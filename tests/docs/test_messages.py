"""An error in a block that no test types consists of texts that the program still prints."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.conftest import PROJECT
from tests.docs.test_pages import PAGES

BLOCK = re.compile(r"^```text\n(.*?)^```", re.S | re.M)
WORD = re.compile(r"[A-Za-z']{3,}")
SHORTEST = 8
"""The least length of a text, in characters. Shorter ones would occur in any sentence."""

FEWEST = 0.55
"""The least share of a message's words that are the program's.

The others are values. A stale message has under a third.
"""


def errors() -> Iterator[tuple[str, str]]:
    for page in PAGES:
        for block in BLOCK.findall((PROJECT / page).read_text()):
            if block.lstrip().startswith("error:"):
                yield page, block


@cache
def texts() -> list[list[str]]:
    """Return each text of the program as its constant parts, in order, without the values between them."""
    templates: set[str] = set()
    for path in sorted((PROJECT / "src").rglob("*.py")):
        templates |= {*_texts(path)}
    parts = [[part for part in template.split("\0") if part.strip()] for template in sorted(templates)]
    return [each for each in parts if sum(map(len, each)) >= SHORTEST]


def _texts(path: Path) -> Iterator[str]:
    tree, inside = ast.parse(path.read_text()), set()
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            inside |= {*node.values}
            text = "".join(str(part.value) if isinstance(part, ast.Constant) else "\0" for part in node.values)
            yield from text.split("\n")
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in inside:
            yield from node.value.split("\n")


def printed(block: str) -> float:
    """Return the share of a block's words that are within a text of the program."""
    own, words = 0, 0
    for line in block.splitlines():
        covered = set()
        for parts in texts():
            spans, at = [], 0
            for part in parts:
                if (at := line.find(part.strip(), at)) < 0:
                    break
                spans.append(range(at, at := at + len(part.strip())))
            else:
                covered |= {place for span in spans for place in span}
        found = [{*range(*match.span())} for match in WORD.finditer(line)]
        own, words = own + sum(places <= covered for places in found), words + len(found)
    return own / words


@pytest.mark.parametrize(("page", "block"), errors())
def test_an_error_on_a_page_is_one_that_the_program_prints(page: str, block: str) -> None:
    assert printed(block) >= FEWEST


def test_a_message_of_an_older_version_is_found() -> None:
    assert printed("    error: the way back leads through revisions that cannot be taken back:") < FEWEST
