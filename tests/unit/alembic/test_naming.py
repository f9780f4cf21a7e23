"""The naming rule accepts the names that it generates, and generates ids that sort in order."""

from datetime import date

import pytest

from pulumi_alembic.scripts.naming import next_revision_id, revision_id_of


def test_the_number_counts_on_over_the_days() -> None:
    assert next_revision_id(["20250126_001", "20250126_003"], date(2026, 11, 22)) == "20261122_004"


def test_the_first_number_is_one() -> None:
    assert next_revision_id([], date(2026, 1, 2)) == "20260102_001"


def test_after_999_there_is_none() -> None:
    with pytest.raises(ValueError, match="999"):
        next_revision_id(["20250126_999"], date(2026, 1, 2))


def test_a_file_name_tells_its_revision() -> None:
    assert revision_id_of("20250126_001_initial_schema.py") == "20250126_001"
    assert revision_id_of("20250230_001_no_such_day.py") is None
