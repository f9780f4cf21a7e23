"""Every difference from the manifest is noticed, except line endings, which git can change."""

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pulumi_alembic.errors import HistoryError, TargetError
from pulumi_alembic.scripts.history import History
from pulumi_alembic.scripts.manifest import Manifest
from pulumi_alembic.scripts.revision import checksum

ONE, TWO, THREE = "20250101_001", "20250102_002", "20250103_003"


def write(directory: Path, id: str, down: object, depends_on: object = None) -> Path:
    path = directory / "versions" / f"{id}_script.py"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        f'"""the message of {id}"""\n\nrevision = {id!r}\ndown_revision = {down!r}\ndepends_on = {depends_on!r}\n'
    )
    return path


def rewrite(directory: Path) -> None:
    History.load(directory).write_manifest()


def complaint(directory: Path) -> str:
    with pytest.raises(HistoryError) as caught:
        History.load(directory).require_manifest()
    return str(caught.value)


@pytest.fixture
def scripts(tmp_path: Path) -> Path:
    """Write three scripts and their manifest."""
    directory = tmp_path / "migrations"
    for id, down in ((ONE, None), (TWO, ONE), (THREE, TWO)):
        write(directory, id, down)
    rewrite(directory)
    return directory


def test_what_was_just_written_fits(scripts: Path) -> None:
    History.load(scripts).require_manifest()


def test_a_project_without_one_is_not_asked_for_it(scripts: Path) -> None:
    (scripts / "manifest").unlink()
    write(scripts, "20250104_004", THREE)
    History.load(scripts).require_manifest()


def test_one_changed_byte_is_named_with_its_file_and_the_command(scripts: Path) -> None:
    path = scripts / "versions" / f"{TWO}_script.py"
    path.write_bytes(path.read_bytes().replace(b"message", b"massage"))
    assert complaint(scripts) == (
        "migrations/manifest does not match the scripts:\n"
        f"  {path.name} was edited\n"
        "If that is meant, update it: pulumi-alembic manifest"
    )
    rewrite(scripts)
    History.load(scripts).require_manifest()


def test_a_checkout_with_windows_line_endings_fits(scripts: Path) -> None:
    for path in (scripts / "manifest", *(scripts / "versions").iterdir()):
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    History.load(scripts).require_manifest()


def test_a_renamed_file_is_named_with_both_names(scripts: Path) -> None:
    path = scripts / "versions" / f"{TWO}_script.py"
    path.rename(path.with_name(f"{TWO}_other.py"))
    assert f"{TWO}_script.py is now named {TWO}_other.py" in complaint(scripts)


def test_a_removed_and_an_added_file_are_named(scripts: Path) -> None:
    (scripts / "versions" / f"{THREE}_script.py").unlink()
    write(scripts, "20250104_004", TWO)
    assert f"  {THREE}_script.py is gone\n  20250104_004_script.py is not in it yet\n" in complaint(scripts)


def test_writing_it_tells_what_has_changed_in_it_and_not_what_it_lacked(scripts: Path) -> None:
    """No line of the output says that something is missing in the manifest that was just written."""
    versions = scripts / "versions"
    (versions / f"{THREE}_script.py").unlink()
    write(scripts, "20250104_004", TWO)
    first = versions / f"{ONE}_script.py"
    first.rename(first.with_name(f"{ONE}_other.py"))
    second = versions / f"{TWO}_script.py"
    second.write_text(second.read_text() + "# more\n")
    assert History.load(scripts).write_manifest() == [
        f"renamed {ONE}_script.py to {ONE}_other.py",
        f"updated {TWO}_script.py",
        f"removed {THREE}_script.py",
        "added 20250104_004_script.py",
    ]
    history = History.load(scripts)
    entries = [each.entry for each in history.revisions.values()]
    history.manifest.write(reversed(entries))
    assert History.load(scripts).write_manifest() == ["put its lines in the order of the revisions"]
    (scripts / "manifest").write_text("<<<<<<< HEAD\n")
    [line] = History.load(scripts).write_manifest()
    assert line.startswith("replaced a manifest that was not usable: line 1 is a conflict marker of git")
    (scripts / "manifest").unlink()
    assert History.load(scripts).write_manifest() == []


@pytest.mark.parametrize("order", [[0, 2, 1, 3], [0, 1, 3], [0, 1, 2, 3, 3], [1, 2, 3]])
def test_lines_that_were_moved_removed_or_doubled_are_noticed(scripts: Path, order: list[int]) -> None:
    lines = (scripts / "manifest").read_text().splitlines(keepends=True)
    (scripts / "manifest").write_text("".join(lines[number] for number in order))
    assert "Write it again: pulumi-alembic manifest" in complaint(scripts)


def test_a_last_line_that_is_missing_is_noticed(scripts: Path) -> None:
    lines = (scripts / "manifest").read_text().splitlines(keepends=True)
    (scripts / "manifest").write_text("".join(lines[:-1]))
    assert f"{THREE}_script.py is not in it yet" in complaint(scripts)


def test_an_order_of_its_own_is_noticed_though_its_chain_is_whole(scripts: Path) -> None:
    history = History.load(scripts)
    history.manifest.write([history.revisions[id].entry for id in (ONE, THREE, TWO)])
    assert "its lines are not in the order of the revisions" in complaint(scripts)


@given(data=st.data())
def test_no_changed_byte_of_it_goes_unnoticed(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    directory = tmp_path_factory.mktemp("project") / "migrations"
    write(directory, TWO, ONE)
    write(directory, ONE, None)
    rewrite(directory)
    path = directory / "manifest"
    before = path.read_bytes()
    place = data.draw(st.integers(0, len(before) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda byte: byte not in {before[place], ord("\r")}))
    path.write_bytes(before[:place] + bytes([byte]) + before[place + 1 :])
    complaint(directory)


def test_a_script_that_fits_is_not_parsed(scripts: Path) -> None:
    """A script whose checksum matches was parsed once already, when the manifest was written."""
    path = scripts / "versions" / f"{THREE}_script.py"
    history = History.load(scripts)
    entries = [revision.entry for revision in history.revisions.values()]
    path.write_text("this is no Python\n")
    history.manifest.write([*entries[:2], replace(entries[2], checksum=checksum("this is no Python\n"))])
    History.load(scripts).require_manifest()


def test_what_it_says_of_a_script_is_what_the_script_says(tmp_path: Path) -> None:
    write(tmp_path, ONE, None)
    write(tmp_path, TWO, None)
    write(tmp_path, THREE, (ONE,), depends_on=TWO)
    parsed = History.load(tmp_path).revisions
    rewrite(tmp_path)
    assert [entry.file for entry in Manifest.load(tmp_path).entries] == [f"{id}_script.py" for id in (ONE, TWO, THREE)]
    assert History.load(tmp_path).revisions == parsed
    assert History.load(tmp_path).revisions[THREE].depends_on == (TWO,)


def git(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    identity = ("-c", "user.name=somebody", "-c", "user.email=somebody@example.org", "-c", "commit.gpgsign=false")
    return subprocess.run(["git", *identity, *arguments], cwd=folder, capture_output=True, text=True)


def test_revisions_of_two_branches_conflict_in_git_with_the_remedy(scripts: Path) -> None:
    project = scripts.parent
    for command in (["init", "--quiet", "--initial-branch=left"], ["add", "."], ["commit", "--quiet", "-m", "three"]):
        assert git(project, *command).returncode == 0
    git(project, "branch", "right")
    for branch, id in (("left", "20250104_004"), ("right", "20250105_004")):
        git(project, "checkout", "--quiet", branch)
        write(scripts, id, THREE)
        rewrite(scripts)
        git(project, "add", ".")
        assert git(project, "commit", "--quiet", "-m", id).returncode == 0
    merged = git(project, "merge", "left")
    assert merged.returncode != 0
    assert "CONFLICT (content): Merge conflict in migrations/manifest" in merged.stdout

    told = complaint(scripts)
    assert "line 5 is a conflict marker of git: two branches each added a revision" in told
    joining = History.load(scripts).merge_command(["20250104_004", "20250105_004"])
    assert told.endswith(f"Merge them:\n  {joining}\n  pulumi-alembic manifest")
    with pytest.raises(TargetError, match="\n  pulumi-alembic manifest"):
        History.load(scripts).resolve("head")
    write(scripts, "20250106_005", ("20250104_004", "20250105_004"))
    assert complaint(scripts).endswith("\nWrite it again: pulumi-alembic manifest")
    rewrite(scripts)
    History.load(scripts).require_manifest()
