"""A picture of a page shows what a terminal shows, is readable in both schemes, and loads nothing."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.conftest import PROJECT
from tests.contrast import contrast
from tests.docs.terminal import COLOURS, picture, printed, screen

PICTURES = sorted((PROJECT / "docs").glob("*.svg"))


def shown(text: str, columns: int = 80) -> list[str]:
    return ["".join(character for character, _ in line) for line in screen(text, columns)]


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("one\r\ntwo\r\n", ["one", "two"]),
        ("one\rtwo\r\n", ["two"]),
        ("a frame\r\nof two\r\x1b[2K\x1b[1A\x1b[2Kthe last\r\n", ["the last"]),
        ("\x1b[?25l\x1b[1mbold\x1b[0m plain\x1b[?25h", ["bold plain"]),
        ("12345678", ["12345", "678"]),
        ("1234\x1b[2A\r12\x1b[K", ["12"]),
        ("\r\n\r\nthird\r\n \r\n", ["", "", "third"]),
    ],
)
def test_the_screen_is_that_of_a_terminal(text: str, lines: list[str]) -> None:
    assert shown(text, 5 if text == "12345678" else 80) == lines


def test_a_command_is_asked_in_a_terminal_of_so_many_columns() -> None:
    assert shown(printed("stty size; test -t 1 && echo terminal", 120)) == ["200 120", "terminal"]


def test_a_picture_is_text_with_its_styles() -> None:
    text = picture(screen("\x1b[1;32m<a>\x1b[0m &\r\n", 80), 80)
    assert '<tspan class="bold green">&lt;a&gt;</tspan> &amp;</text>' in text


@pytest.mark.parametrize("scheme", COLOURS)
def test_every_colour_can_be_read(scheme: str) -> None:
    colours = COLOURS[scheme]
    assert all(contrast(colour, colours["ground"]) >= 4.5 for name, colour in colours.items() if name != "ground")


@pytest.mark.parametrize("path", PICTURES, ids=lambda path: path.stem)
def test_a_picture_loads_nothing_and_is_described_where_it_stands(path: Path) -> None:
    text = path.read_text().replace('xmlns="http://www.w3.org/2000/svg"', "")
    assert not re.search(r"https?:|url\(|href|@import|<script", text)
    pages = [page.read_text() for page in (PROJECT / "docs").rglob("*.md")]
    described = [len(alt.split()) for page in pages for alt in re.findall(rf"!\[([^\]]*)\]\({path.name}\)", page)]
    assert described and min(described) >= 8
