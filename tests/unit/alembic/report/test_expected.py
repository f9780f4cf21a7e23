"""The reports of whole previews equal the files in `expected/`, byte for byte.

After an intended change: REGENERATE=1 pytest tests/unit/alembic/report, then read the difference.
"""

import json
import os
from pathlib import Path

import pytest

from pulumi_alembic.review.report import LIMIT, MARKER, comment, document, judge, of_review, read
from tests.unit.alembic.report.previews import PREVIEWS, REVIEWS

EXPECTED = Path(__file__).parent / "expected"


def assert_expected(name: str, text: str) -> None:
    file = EXPECTED / name
    if os.environ.get("REGENERATE"):
        file.write_text(text, encoding="utf-8")
    assert text == file.read_text(encoding="utf-8"), "if that is meant: REGENERATE=1 pytest tests/unit/alembic/report"


@pytest.mark.parametrize("name", PREVIEWS)
def test_the_comment_is_the_expected_one(name: str) -> None:
    preview = read(json.dumps(PREVIEWS[name]).encode())
    text = comment(preview, judge(preview))
    assert len(text.encode()) <= LIMIT
    assert_expected(f"{name}.md", text)


def test_the_document_is_the_expected_one() -> None:
    preview = read(json.dumps(PREVIEWS["3-revisions"]).encode())
    assert_expected("3-revisions.json", json.dumps(document(preview, judge(preview)), indent=2) + "\n")


def test_a_report_without_a_preview_names_no_digest_to_approve() -> None:
    """A stack with settings of its own requires another digest, which only its preview knows."""
    preview = of_review(REVIEWS["1-revision"])
    text = comment(preview, judge(preview), MARKER)
    assert "- Apply: " in text and "APPROVE" not in text


def test_every_expected_file_is_compared() -> None:
    assert {file.name for file in EXPECTED.iterdir()} == {*(f"{name}.md" for name in PREVIEWS), "3-revisions.json"}
