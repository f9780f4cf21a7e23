"""The project and the selected stack are found in the places of the Pulumi CLI."""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

import pytest

from pulumi_embedded.errors import EngineError, Unsupported
from pulumi_embedded.storage.workspace import find_project, select_stack, selected_stack


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("PULUMI_STACK", "PULUMI_BACKEND_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PULUMI_HOME", str(tmp_path / "home"))
    (tmp_path / "Pulumi.yaml").write_text("name: rec\nruntime: python\n")
    return tmp_path


def test_the_project_is_found_from_a_folder_inside_it(folder: Path) -> None:
    inner = folder / "a" / "b"
    inner.mkdir(parents=True)
    assert find_project(inner).folder == folder
    assert find_project(inner).python() == sys.executable


@pytest.mark.parametrize(
    ("option", "refused"), [("toolchain: uv", True), ("typechecker: mypy", True), ("toolchain: pip", False)]
)
def test_a_type_checker_and_other_toolchains_are_refused_by_name(folder: Path, option: str, refused: bool) -> None:
    (folder / "Pulumi.yaml").write_text(f"name: rec\nruntime: {{name: python, options: {{{option}}}}}\n")
    project = find_project(folder)
    if not refused:
        assert project.python() == sys.executable
        return
    with pytest.raises(Unsupported, match=f"runtime.options.{option.replace(': ', ' .')}"):
        project.python()


def test_the_selected_stack_lies_where_the_cli_looks_for_it(folder: Path) -> None:
    project = find_project(folder)
    assert selected_stack(project, "file://./x") is None
    select_stack(project, "file://./x", "dev")
    digest = hashlib.sha1(str(folder / "Pulumi.yaml").encode()).hexdigest()
    file = folder / "home" / "workspaces" / f"rec-{digest}-workspace.json"
    assert json.loads(file.read_text()) == {"stacks": {"file://./x": "organization/rec/dev"}}
    assert selected_stack(project, "file://./x") == "dev"
    assert selected_stack(project, "file://./y") is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("runtime: python", "missing a 'name'"),
        ("name: [", "cannot be read"),
    ],
)
def test_a_broken_project_file_is_an_error(folder: Path, text: str, message: str) -> None:
    (folder / "Pulumi.yaml").write_text(text)
    with pytest.raises(EngineError, match=message):
        find_project(folder)


@pytest.mark.parametrize("runtime", ["nodejs", "go", "{name: yaml}"])
def test_other_languages_are_refused_by_name(folder: Path, runtime: str) -> None:
    (folder / "Pulumi.yaml").write_text(f"name: rec\nruntime: {runtime}\n")
    with pytest.raises(Unsupported, match=r"the runtime '.*the Pulumi CLI does it"):
        find_project(folder)


def test_a_missing_virtual_environment_is_named_with_the_commands_that_make_it(folder: Path) -> None:
    (folder / "Pulumi.yaml").write_text("name: rec\nruntime: {name: python, options: {virtualenv: venv}}\n")
    with pytest.raises(EngineError, match="python3 -m venv"):
        find_project(folder).python()


def test_no_project_no_backend_and_no_stack_say_what_to_do(folder: Path) -> None:
    with pytest.raises(EngineError, match="export PULUMI_BACKEND_URL=file://"):
        find_project(folder).backend_url()
    (folder / "Pulumi.yaml").unlink()
    with pytest.raises(EngineError, match=r"no Pulumi\.yaml project file found"):
        find_project(folder)
