"""The record of its scripts in a stack's state: a digest of each, short enough for a state file."""

from pathlib import Path

import pytest

from pulumi_alembic.errors import StoredScriptError
from pulumi_alembic.scripts import trust
from pulumi_alembic.scripts.revision import Revision, checksum


def revision(number: int, source: str = "") -> Revision:
    return Revision(f"20250101_{number:03}", (), (), Path(), "", source, checksum(source or str(number)))


def test_what_was_written_is_read_again() -> None:
    revisions = [revision(number) for number in range(3)]
    assert trust.read(trust.write(revisions), "here") == {each.id: trust.digest(each.checksum) for each in revisions}
    assert trust.read("", "here") == {}


def test_a_thousand_revisions_are_36_kilobytes() -> None:
    assert len(trust.write(revision(number) for number in range(1000))) < 36_000


def test_a_digest_is_128_bits_of_the_text_whatever_its_line_ends() -> None:
    assert trust.digest(checksum("a\r\nb\n")) == trust.digest(checksum("a\nb\n"))
    assert trust.digest(checksum("a\nb\n")) != trust.digest(checksum("a\nb"))
    assert len(trust.digest(checksum(""))) == 22


@pytest.mark.parametrize("text", ["yes", "20250101_001=short", "20250101_001=" + "x" * 23, "=" + "x" * 22])
def test_anything_else_is_an_error_that_names_where_it_stands(text: str) -> None:
    with pytest.raises(StoredScriptError, match=f"^there: '{text}' is not REVISION=DIGEST"):
        trust.read(text, "there")


def test_a_checksum_of_a_formula_to_come_is_not_taken_for_one_of_today() -> None:
    with pytest.raises(StoredScriptError, match="a newer version of pulumi-alembic wrote the checksum 'v2:00'"):
        trust.digest("v2:00")


def test_a_setting_that_is_none_is_an_error() -> None:
    assert (trust.refuse("refuse"), trust.refuse("rollback")) == (True, False)
    with pytest.raises(StoredScriptError, match="on_unknown_revision must be rollback or refuse, not 'ask'"):
        trust.refuse("ask")
