"""The update of the same engine process, and only this one, knows the plan that a preview has printed."""

import os
import tempfile
from pathlib import Path

import pytest

from pulumi_alembic.stack import shown

URN = "urn:pulumi:dev::p::t::schema"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(shown, "_engine", lambda: 4711)
    return tmp_path / f"pulumi-alembic-{os.getuid()}"


def test_a_printed_plan_is_known_until_another_one_is_printed(folder: Path) -> None:
    assert shown.noted(URN) == ""
    shown.remember("v2:1", URN)
    assert (shown.noted(URN), shown.noted(f"{URN}2")) == ("v2:1", "")
    shown.remember("v2:2", URN)
    assert shown.noted(URN) == "v2:2"
    assert folder.stat().st_mode & 0o777 == 0o700


def test_another_engine_has_printed_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown.remember("v2:1", URN)
    for engine in (4712, None):
        monkeypatch.setattr(shown, "_engine", lambda engine=engine: engine)
        assert shown.noted(URN) == ""


def test_a_folder_that_others_can_enter_is_not_used(folder: Path) -> None:
    folder.mkdir(mode=0o755)
    shown.remember("v2:1", URN)
    assert shown.noted(URN) == "" and not list(folder.iterdir())


def test_old_notes_are_deleted(folder: Path) -> None:
    shown.remember("v2:1", "old")
    [old] = folder.iterdir()
    os.utime(old, (0, 0))
    shown.remember("v2:1", URN)
    assert not old.exists() and len(list(folder.iterdir())) == 1


def test_the_engine_is_found_among_the_processes_above() -> None:
    parent, arguments = shown._process(os.getpid())
    assert parent == os.getppid() and arguments[0]
