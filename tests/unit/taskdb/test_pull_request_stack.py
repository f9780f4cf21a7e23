"""A pull request's stack goes to the source's revision first, then to its own, without settings that protect data."""

from __future__ import annotations

import json
import stat
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml

from taskdb.engine import Engine
from taskdb.errors import TaskdbError
from taskdb.pull_request import PROTECTION, PullRequest
from tests.conftest import PROJECT

BASE = "20250126_002"
CONFIGURATION = {
    "taskdb:revision": {"value": "head", "secret": False},
    "taskdb:lock_timeout": {"value": "300ms", "secret": False},
    "taskdb:lint": {"value": '{"large_rows": "20"}', "objectValue": {"large_rows": "20"}, "secret": False},
    "postgresql:password": {"value": "hunter2", "secret": True},
} | {name: {"value": "true", "secret": False} for name in PROTECTION}


@dataclass(frozen=True)
class Recorder(Engine):
    """An engine that answers from a table, and records in order the calls that would change something."""

    program: str = "pulumi"
    stacks: list[str] = field(default_factory=lambda: ["staging"])
    outputs: dict[str, str] = field(default_factory=dict)
    done: list[tuple[str, ...]] = field(default_factory=list)

    def ask(self, *arguments: str, stack: str = "", stdin: str = "") -> str:
        match arguments:
            case ("stack", "output", "revision"):
                return BASE
            case ("config", "--json", "--show-secrets"):
                return json.dumps(CONFIGURATION)
            case ("stack", "ls", "--json"):
                return json.dumps([{"name": f"organization/taskdb/{name}"} for name in self.stacks])
            case ("stack", "output", "--json"):
                return json.dumps(self.outputs)
        self.done.append((stack, *arguments, *([f"< {stdin}"] if stdin else [])))
        return ""

    def show(self, *arguments: str, stack: str) -> None:
        self.done.append((stack, *arguments))


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "migrations").symlink_to(PROJECT / "migrations")
    return tmp_path


UP = ("up", "--yes", "--skip-preview")
SECRET = ("pr-7", "config", "set", "--secret", "postgresql:password", "< hunter2")


def test_a_new_stack_goes_to_the_source_s_revision_and_then_to_its_own(project: Path) -> None:
    engine, said = Recorder(), list[str]()
    PullRequest(7, engine, project).up(said.append)
    assert engine.done == [
        ("pr-7", "stack", "init", "--no-select"),
        SECRET,
        ("pr-7", "config", "set", "taskdb:revision", BASE),
        ("pr-7", *UP),
        ("pr-7", "config", "set", "taskdb:revision", "head"),
        ("pr-7", *UP),
    ]
    assert said == [f"creating pr-7 at {BASE}, the revision of staging", "updating pr-7 to head"]
    file = project / "Pulumi.pr-7.yaml"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert yaml.safe_load(file.read_text())["config"] == {
        "taskdb:revision": "head",
        "taskdb:lock_timeout": "300ms",
        "taskdb:lint": {"large_rows": "20"},
    }


def test_a_stack_that_is_up_goes_to_its_own_revision_only_and_keeps_its_salt(project: Path) -> None:
    (project / "Pulumi.pr-7.yaml").write_text("encryptionsalt: v1:salt\nconfig: {'taskdb:protect': 'true'}\n")
    engine, said = Recorder(stacks=["staging", "pr-7"], outputs={"revision": BASE}), list[str]()
    PullRequest(7, engine, project).up(said.append)
    assert engine.done == [SECRET, ("pr-7", "config", "set", "taskdb:revision", "head"), ("pr-7", *UP)]
    assert said == ["updating pr-7 to head"]
    kept = yaml.safe_load((project / "Pulumi.pr-7.yaml").read_text())
    assert kept["encryptionsalt"] == "v1:salt" and "taskdb:protect" not in kept["config"]


def test_a_stack_that_was_cut_off_before_its_first_update_begins_there(project: Path) -> None:
    engine = Recorder(stacks=["staging", "pr-7"])
    PullRequest(7, engine, project).up(lambda line: None)
    assert engine.done[1:3] == [("pr-7", "config", "set", "taskdb:revision", BASE), ("pr-7", *UP)]


def test_scripts_without_the_source_s_revision_are_refused_first(tmp_path: Path) -> None:
    (tmp_path / "migrations" / "versions").mkdir(parents=True)
    engine = Recorder()
    with pytest.raises(TaskdbError, match=f"staging is at {BASE}, from which pr-7 would be made.* Merge the branch"):
        PullRequest(7, engine, tmp_path).up(lambda line: None)
    assert engine.done == [] and not (tmp_path / "Pulumi.pr-7.yaml").exists()


def test_a_stack_is_destroyed_and_removed_and_can_be_missing(project: Path) -> None:
    file = project / "Pulumi.pr-7.yaml"
    for stacks, expected in (
        (["pr-7", "pr-70"], [("pr-7", "destroy", "--yes", "--skip-preview"), ("pr-7", "stack", "rm", "--yes")]),
        (["pr-70"], []),
    ):
        file.touch()
        engine, said = Recorder(stacks=stacks), list[str]()
        PullRequest(7, engine, project).down(said.append)
        assert engine.done == expected and not file.exists()
        assert said == ([] if expected else ["There is no stack pr-7"])
