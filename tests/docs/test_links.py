"""Every link of README.md and docs/ leads to an existing file of the project, or to an existing heading."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.conftest import PROJECT
from tests.docs.pages import fences
from tests.docs.test_pages import PAGES

_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def anchors(page: Path) -> set[str]:
    """Return the names by which GitHub and the site know the headings of a page."""
    lines = page.read_text().splitlines()
    inside = {number for fence in fences(lines) for number in range(fence.first, fence.first + len(fence.lines))}
    headings = [line for number, line in enumerate(lines) if number not in inside and re.match(r"#+ ", line)]
    return {re.sub(r"[^\w\- ]", "", heading.lstrip("# ").lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES)
def test_each_link_leads_somewhere(page: str) -> None:
    path = PROJECT / page
    for target in _LINK.findall(re.sub(r"^(`{3,}).*?^\1$", "", path.read_text(), flags=re.S | re.M)):
        if re.match(r"https?:", target):
            continue
        name, _, anchor = target.partition("#")
        found = (path.parent / name).resolve() if name else path
        assert found.exists(), target
        assert not anchor or anchor in anchors(found), target


def test_readme_leads_to_every_page() -> None:
    linked = {
        (PROJECT / link.partition("#")[0]).resolve() for link in _LINK.findall((PROJECT / "README.md").read_text())
    }
    pages = {PROJECT / page for page in PAGES if page not in ("README.md", "docs/index.md")}
    assert pages <= linked, pages - linked
