"""No other user of the machine can read a file that the engine writes, with any umask."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from pulumi_embedded.storage.backend import FileBackend
from pulumi_embedded.storage.config import ConfigFile
from pulumi_embedded.storage.files import create_held, keep_backup, write_atomically, write_private
from pulumi_embedded.storage.workspace import Project, select_stack


@pytest.fixture(params=[0o000, 0o022, 0o277], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[None]:
    before = os.umask(request.param)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def open_to_others(folder: Path) -> list[str]:
    """Return the files and folders below the folder that another user can read or enter."""
    return [f"{each.relative_to(folder)} {mode(each):o}" for each in folder.rglob("*") if mode(each) & 0o077]


@pytest.mark.usefixtures("umask")
def test_state_backups_history_and_locks_are_the_users_alone(tmp_path: Path) -> None:
    backend = FileBackend.open(f"file://{tmp_path}", tmp_path)
    for number in (1, 2):
        backend.write("p", "dev", {"n": number})
        backend.back_up("p", "dev")
        backend.add_history("p", "dev", {"kind": "update"})
    os.close(create_held(backend.locks_folder / "organization/p/dev/lock.json", lambda held: b"{}"))
    assert {each.name for each in (tmp_path / ".pulumi").iterdir()} == {
        "meta.yaml",
        "stacks",
        "backups",
        "history",
        "locks",
    }
    assert open_to_others(tmp_path) == []
    assert {mode(each) for each in tmp_path.rglob("*") if each.is_file()} == {0o600}
    assert {mode(each) for each in tmp_path.rglob("*") if each.is_dir()} == {0o700}


@pytest.mark.usefixtures("umask")
def test_a_backup_that_is_a_copy_is_the_users_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy is made because some file systems have no hard links."""

    def refuse(self: Path, target: Path) -> None:
        raise OSError

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    write_atomically(tmp_path / "dev.json", b"old")
    keep_backup(tmp_path / "dev.json", tmp_path / "dev.json.bak")
    assert (mode(tmp_path / "dev.json.bak"), (tmp_path / "dev.json.bak").read_bytes()) == (0o600, b"old")


@pytest.mark.usefixtures("umask")
def test_the_selected_stack_is_the_users_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PULUMI_HOME", str(tmp_path / "home"))
    select_stack(Project("p", tmp_path / "Pulumi.yaml", {}), "file://.", "dev")
    assert len(list(tmp_path.rglob("*-workspace.json"))) == 1
    assert open_to_others(tmp_path) == []


@pytest.mark.parametrize(("before", "after"), [(None, 0o600), (0o644, 0o644), (0o600, 0o600)])
def test_a_configuration_keeps_its_mode_and_a_new_one_is_the_users_alone(
    tmp_path: Path, before: int | None, after: int
) -> None:
    """The configuration is part of the project, and has the mode that git gives it."""
    config = ConfigFile(Project("p", tmp_path / "Pulumi.yaml", {}), "dev")
    if before is not None:
        config.path.write_text("config: {}\n")
        config.path.chmod(before)
    config.set("key", "value")
    assert mode(config.path) == after


@pytest.mark.usefixtures("umask")
def test_an_exported_state_is_the_users_alone(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    assert not write_private(path, "{}")
    assert mode(path) == 0o600
    path.chmod(0o644)
    assert write_private(path, "{}"), "others could read it"
    assert mode(path) == 0o600


def test_files_that_others_could_read_are_corrected_once_and_it_is_said(tmp_path: Path) -> None:
    """The first release left files of mode 0644 in folders of mode 0755."""
    backend = FileBackend.open(f"file://{tmp_path}", tmp_path)
    backend.write("p", "dev", {"n": 1})
    backend.add_history("p", "dev", {"kind": "update"})
    left = [tmp_path / ".pulumi", *(tmp_path / ".pulumi").rglob("*")]
    for path in left:
        path.chmod(0o755 if path.is_dir() else 0o644)
    said: list[str] = []
    backend.close_to_others(said.append)
    backend.close_to_others(said.append)
    assert said == [
        f"other users of this machine could enter {tmp_path / '.pulumi'}; corrected {len(left)} modes",
    ]
    assert open_to_others(tmp_path) == []


def test_a_state_of_another_user_is_reported_and_not_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    backend = FileBackend.open(f"file://{tmp_path}", tmp_path)
    backend.write("p", "dev", {"n": 1})
    (tmp_path / ".pulumi").chmod(0o755)

    def refuse(self: Path, mode: int) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "chmod", refuse)
    said: list[str] = []
    backend.close_to_others(said.append)
    assert said == [
        f"other users of this machine can enter {tmp_path / '.pulumi'}, which cannot be changed: "
        "Operation not permitted"
    ]
