"""The scripts on disk form one readable history, or the error names the file that breaks it."""

from pathlib import Path

import pytest

from pulumi_alembic.errors import HistoryError, TargetError
from pulumi_alembic.scripts.history import History
from pulumi_alembic.scripts.revision import checksum

SCRIPT = '''"""{message}

More about it.
"""

revision = "{id}"
down_revision = {down!r}


def upgrade():
    raise RuntimeError("reading a history must not run its scripts")


raise RuntimeError("reading a history must not import its scripts")
'''


def write(directory: Path, name: str, down: object = None, id: str | None = None) -> Path:
    path = directory / "versions" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(SCRIPT.format(message="the message", id=id or name[:12], down=down))
    return path


def test_reads_id_message_and_order_without_running_a_script(tmp_path: Path) -> None:
    write(tmp_path, "20250101_001_first.py")
    write(tmp_path, "20250102_002_second.py", "20250101_001")
    history = History.load(tmp_path)
    assert history.heads == ("20250102_002",)
    assert history.revisions["20250102_002"].down_revisions == ("20250101_001",)
    assert history.revisions["20250101_001"].message == "the message"
    assert history.ancestors(["20250102_002"]) == ("20250101_001", "20250102_002")


def test_head_becomes_an_id(tmp_path: Path) -> None:
    write(tmp_path, "20250101_001_first.py")
    assert History.load(tmp_path).resolve("head") == "20250101_001"


def test_an_empty_history_is_at_base(tmp_path: Path) -> None:
    (tmp_path / "versions").mkdir()
    assert History.load(tmp_path).resolve("head") == "base"


def test_two_heads_are_named_with_a_merge_command_that_keeps_the_naming_rule(tmp_path: Path) -> None:
    write(tmp_path, "20250101_001_first.py")
    write(tmp_path, "20250102_002_left.py", "20250101_001")
    write(tmp_path, "20250102_003_right.py", "20250101_001")
    with pytest.raises(TargetError, match="20250102_002 and 20250102_003") as caught:
        History.load(tmp_path).resolve("head")
    assert "alembic merge --rev-id " in str(caught.value)
    assert "_004 -m 'merge branches' 20250102_002 20250102_003" in str(caught.value)


def test_a_project_with_ids_of_alembic_keeps_them(tmp_path: Path) -> None:
    write(tmp_path, "ae1027a6acf_first.py", id="ae1027a6acf")
    write(tmp_path, "2025-01-01_left.py", "ae1027a6acf", id="1975ea83b712")
    write(tmp_path, "27c6a30d7c24_right.py", "ae1027a6acf", id="27c6a30d7c24")
    history = History.load(tmp_path)
    assert set(history.revisions) == {"ae1027a6acf", "1975ea83b712", "27c6a30d7c24"}
    assert history.heads == ("1975ea83b712", "27c6a30d7c24") and not history.is_named_by_rule
    assert history.merge_command(history.heads) == "alembic merge -m 'merge branches' 1975ea83b712 27c6a30d7c24"
    history.write_manifest()
    again = History.load(tmp_path)
    assert again.revisions.keys() == history.revisions.keys() and not again.differences


def test_one_script_by_the_rule_binds_the_others(tmp_path: Path) -> None:
    write(tmp_path, "20250101_001_first.py")
    write(tmp_path, "27c6a30d7c24_second.py", "20250101_001", id="27c6a30d7c24")
    with pytest.raises(HistoryError, match=r"27c6a30d7c24_second\.py breaks the naming rule"):
        History.load(tmp_path)


@pytest.mark.parametrize(
    ("name", "id"),
    [("first.py", "20250101_001"), ("first.py", "a" * 33), ("first.py", "a-b"), ("the first.py", "abc1")],
)
def test_an_id_that_nothing_can_name_is_refused(tmp_path: Path, name: str, id: str) -> None:
    write(tmp_path, name, id=id)
    with pytest.raises(HistoryError, match=r"first\.py (breaks the naming rule|has a space in its name)"):
        History.load(tmp_path)


def test_a_merge_builds_on_both_of_its_branches(tmp_path: Path) -> None:
    write(tmp_path, "20250101_001_first.py")
    write(tmp_path, "20250102_002_left.py", "20250101_001")
    write(tmp_path, "20250102_003_right.py", "20250101_001")
    write(tmp_path, "20250103_004_merge.py", ("20250102_002", "20250102_003"))
    history = History.load(tmp_path)
    assert history.resolve("head") == "20250103_004"
    assert history.ancestors(["20250103_004"])[-1] == "20250103_004"
    assert history.ancestors(["20250103_004"])[0] == "20250101_001"


def test_an_unknown_revision_is_refused_with_those_there_are(tmp_path: Path) -> None:
    write(tmp_path, "20250101_001_first.py")
    with pytest.raises(TargetError, match=r"'20990101_009'.*20250101_001"):
        History.load(tmp_path).resolve("20990101_009")


@pytest.mark.parametrize(
    "name",
    ["initial.py", "20250101_1_first.py", "20250101_001.py", "20251301_001_no_such_month.py", "20250101_001_First.py"],
)
def test_a_name_that_breaks_the_rule_is_refused(tmp_path: Path, name: str) -> None:
    write(tmp_path, name)
    with pytest.raises(HistoryError, match=f"{name} breaks the naming rule"):
        History.load(tmp_path)


def test_a_name_that_belies_the_revision_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "20250101_001_first.py", id="20250101_002")
    with pytest.raises(HistoryError, match=r"20250101_001_first\.py declares revision = '20250101_002'"):
        History.load(tmp_path)


def test_a_syntax_error_names_the_file_and_the_line(tmp_path: Path) -> None:
    path = write(tmp_path, "20250101_001_first.py")
    path.write_text("revision = '20250101_001'\ndef upgrade(:\n")
    with pytest.raises(HistoryError, match=r"20250101_001_first\.py, line 2: "):
        History.load(tmp_path)


def test_a_computed_down_revision_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, "20250101_001_first.py")
    path.write_text("revision = '20250101_001'\ndown_revision = latest()\n")
    with pytest.raises(HistoryError, match=r"20250101_001_first\.py:2: down_revision must be a plain literal"):
        History.load(tmp_path)


def test_two_scripts_of_one_id_are_refused(tmp_path: Path) -> None:
    write(tmp_path, "20250101_001_first.py")
    write(tmp_path, "20250101_001_other.py")
    with pytest.raises(HistoryError, match=r"first\.py and .*other\.py both are revision 20250101_001"):
        History.load(tmp_path)


def test_a_missing_down_revision_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "20250102_002_second.py", "20250101_001")
    with pytest.raises(HistoryError, match=r"second\.py builds on revision 20250101_001, but no script has that id"):
        History.load(tmp_path)


def test_a_cycle_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "20250101_001_first.py", "20250102_002")
    write(tmp_path, "20250102_002_second.py", "20250101_001")
    with pytest.raises(HistoryError, match="forms a cycle, correct it: 20250101_001, 20250102_002"):
        History.load(tmp_path)


def test_a_folder_without_versions_is_refused(tmp_path: Path) -> None:
    with pytest.raises(HistoryError, match=r"there is no folder .*versions"):
        History.load(tmp_path)


def test_what_a_revision_depends_on_comes_before_it(tmp_path: Path) -> None:
    write(tmp_path, "20250101_001_first.py")
    other = write(tmp_path, "20250102_002_other.py")
    other.write_text('revision: str = "20250102_002"\ndown_revision: str | None = None\ndepends_on = "20250101_001"\n')
    assert History.load(tmp_path).ancestors(["20250102_002"]) == ("20250101_001", "20250102_002")


def test_a_package_marker_is_no_script(tmp_path: Path) -> None:
    write(tmp_path, "20250101_001_first.py").with_name("__init__.py").touch()
    assert list(History.load(tmp_path).revisions) == ["20250101_001"]


def test_line_endings_do_not_change_a_checksum_and_a_letter_does() -> None:
    assert checksum("a\nb\n") == checksum("a\r\nb\r\n") == checksum("a\rb\r")
    assert checksum("a\nb\n") != checksum("a\nB\n")


def test_the_formula_of_checksums_is_a_storage_format() -> None:
    """Ledgers contain this value, so another formula needs a new prefix."""
    assert checksum("a\n") == "v1:87428fc522803d31065e7bce3cf03fe475096631e5e07bbd7a0fde60c4cf25c7"
