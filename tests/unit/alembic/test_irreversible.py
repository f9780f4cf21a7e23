"""A downgrade that always fails is rejected before anything runs. One that can succeed is not."""

from pathlib import Path

import pytest

from pulumi_alembic.errors import TargetError
from pulumi_alembic.migrate.function_check import refuse_irreversible
from pulumi_alembic.scripts.shape import Function


def function(body: str, name: str = "downgrade") -> Function:
    return Function(Path("versions/20250101_001_a.py"), f"def upgrade():\n    pass\ndef downgrade():\n{body}\n", name)


@pytest.mark.parametrize(
    ("body", "line", "said"),
    [
        ("    raise NotImplementedError", 4, "raise NotImplementedError"),
        ("    '''Rows are gone.'''\n    raise RuntimeError('restore a backup')", 5, "raise RuntimeError('restore a"),
        ("    op.execute('DROP TABLE t')\n    raise ValueError", 5, "raise ValueError"),
    ],
)
def test_a_downgrade_that_raises_in_any_case_is_named_with_its_line(body: str, line: int, said: str) -> None:
    with pytest.raises(TargetError) as caught:
        refuse_irreversible([function("    pass"), function(body)])
    assert f"\n  versions/20250101_001_a.py:{line}: {said}" in str(caught.value)


@pytest.mark.parametrize(
    "body",
    [
        "    pass",
        "    if op.get_bind().scalar('SELECT 1'):\n        raise ValueError",
        "    if done():\n        return\n    raise ValueError",
        "    def fail():\n        raise ValueError\n    op.execute('DROP TABLE t')",
    ],
)
def test_one_that_may_end_well_is_left_to_run(body: str) -> None:
    refuse_irreversible([function(body)])


def test_what_goes_up_may_have_no_way_back() -> None:
    refuse_irreversible([function("    raise NotImplementedError", "upgrade")])


def whole(upgrade: str, downgrade: str) -> Function:
    source = f"def upgrade():\n    {upgrade}\ndef downgrade():\n    {downgrade}\n"
    return Function(Path("versions/20250101_001_a.py"), source, "downgrade")


@pytest.mark.parametrize("nothing", ["pass", "...", "return", "return None", "'Nothing to do.'", "# later\n    pass"])
def test_a_downgrade_that_does_nothing_is_named(nothing: str) -> None:
    with pytest.raises(TargetError) as caught:
        refuse_irreversible([whole("op.execute('CREATE TABLE t ()')", nothing)])
    assert "\n  versions/20250101_001_a.py:3: downgrade() does nothing, and upgrade() does something" in str(
        caught.value
    )
    assert "Nothing was run" in str(caught.value)


@pytest.mark.parametrize(
    ("upgrade", "downgrade"),
    [
        # A merge revision.
        ("pass", "pass"),
        ("'Only joins.'", "..."),
        ("op.execute('UPDATE t SET a = 1')", "op.execute('UPDATE t SET a = 0')"),
        ("op.execute('CREATE TABLE t ()')", "return taken_back()"),
        ("op.execute('CREATE TABLE t ()')", "# lint: allow irreversible-downgrade: the rows are right\n    pass"),
    ],
)
def test_nothing_to_take_back_or_meant_so_is_no_reason(upgrade: str, downgrade: str) -> None:
    refuse_irreversible([whole(upgrade, downgrade)])


@pytest.mark.parametrize(
    "word",
    [
        "'# lint: allow irreversible-downgrade: in a text'",
        "# lint: allow irreversible-downgrade:\n    pass",
        "# lint: allow undocumented-revision: it is short\n    pass",
    ],
)
def test_what_is_no_such_word_with_a_reason_means_nothing(word: str) -> None:
    with pytest.raises(TargetError, match="does nothing"):
        refuse_irreversible([whole("op.execute('CREATE TABLE t ()')", word)])


def test_no_password_of_such_a_line_is_shown() -> None:
    with pytest.raises(TargetError) as caught:
        refuse_irreversible([function("""    raise ValueError("ALTER ROLE x PASSWORD 'hunter2'")""")])
    assert "hunter2" not in str(caught.value)
