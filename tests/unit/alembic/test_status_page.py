"""The page of `status` is accessible: every text has enough contrast, and every region has a name."""

import re

import pytest

from pulumi_alembic.status.page import COLOURS
from tests.contrast import contrast


@pytest.mark.parametrize("scheme", COLOURS)
def test_every_text_has_enough_contrast_on_every_ground(scheme: str) -> None:
    colours = COLOURS[scheme]
    for ground in ("ground", "panel"):
        for text in ("text", "soft", "bad", "good", "accent"):
            assert contrast(colours[text], colours[ground]) >= 4.5, (text, ground)
    assert contrast(colours["line"], colours["ground"]) >= 3, "a border that carries meaning"


def test_the_contrast_of_black_on_white_is_the_known_one() -> None:
    assert round(contrast("#000000", "#ffffff"), 2) == 21
    assert re.fullmatch("#[0-9a-f]{6}", COLOURS["dark"]["text"])
