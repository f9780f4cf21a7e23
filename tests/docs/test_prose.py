"""The pages are plain: their sentences are short, without words that only this project used."""

from __future__ import annotations

import pytest

from tests.conftest import PROJECT
from tests.docs.prose import LONGEST, prose, replaced, sentences
from tests.docs.test_pages import PAGES


@pytest.mark.parametrize("page", PAGES)
def test_a_page_is_plain(page: str) -> None:
    text = (PROJECT / page).read_text()
    assert [sentence for sentence in sentences(text) if len(sentence.split()) > LONGEST] == []
    assert replaced(prose(text)) == []


def test_a_sentence_ends_where_a_reader_ends_it() -> None:
    page = "# A title\n\nOne. Two, `a b c`;\nstill two! (Three.)\n\n- four\n- five\n\n| six | seven |\n|---|---|\n"
    assert list(sentences(page)) == [
        "A title",
        "One.",
        "Two, CODE; still two!",
        "(Three.)",
        "four",
        "five",
        "six",
        "seven",
    ]


def test_a_word_is_found_in_each_of_its_forms_and_not_in_another_word() -> None:
    assert replaced("It mends what an excuse excused, anew.") == ["mends", "excuse", "excused", "anew"]
    assert replaced("It amends the recommended command.") == []
