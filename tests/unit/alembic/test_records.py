"""The history of a database fits 100 columns, for every content of its ledger."""

from datetime import UTC, datetime

from pulumi_alembic.ledger.records import Record, table

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def test_no_line_is_longer_than_100_columns_and_nothing_is_lost() -> None:
    long = "failed: " + "check constraint of a relation is violated by some row " * 5
    records = [
        Record(AT, ("1",), ("2",), "upgrade 2", "applied", "a_migrator", "a person", "dev", "1" * 40, 1.5, 4, "b1"),
        Record(AT, ("2",), ("2",), "restore app.conversations of 20250126_003", long, "m" * 40, "p" * 40, "s" * 30),
        Record(None, ("2",), ("1",), "-", "moved by hand"),
    ]
    lines = table(records)
    assert max(map(len, lines)) <= 100
    text = " ".join(" ".join(lines).split())
    assert " ".join(long.split()) in text
    assert "1 → 2, by a_migrator (a person), stack dev, commit 11111111, 4 statements, backup b1" in text
    assert "2 → 1" in text and "moved by hand" in text
