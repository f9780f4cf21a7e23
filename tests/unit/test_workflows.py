"""The workflows are what GitHub reads, safe, and run nothing but commands that a person can run."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import PROJECT

WORKFLOWS = sorted((PROJECT / ".github/workflows").glob("*.yml"))
ACTIONS = sorted((PROJECT / ".github/actions").glob("*/action.yml"))


def read(path: Path) -> dict[str, Any]:
    """A workflow; YAML 1.1 reads its key `on` as true."""
    found: dict[str, Any] = yaml.safe_load(path.read_text())
    return found


def steps(path: Path) -> Iterator[dict[str, Any]]:
    for job in read(path)["jobs"].values():
        yield from job["steps"]


def tool(name: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [Path(sys.executable).with_name(name), *arguments], capture_output=True, text=True, cwd=PROJECT
    )


@pytest.mark.parametrize(("schema", "files"), [("github-workflows", WORKFLOWS), ("github-actions", ACTIONS)])
def test_they_fit_the_schema(schema: str, files: list[Path]) -> None:
    done = tool("check-jsonschema", "--builtin-schema", f"vendor.{schema}", *files)
    assert files and done.returncode == 0, done.stdout + done.stderr


def test_zizmor_has_nothing_against_them() -> None:
    done = tool("zizmor", "--offline", "--no-progress", ".github")
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_action_is_pinned_by_its_hash_with_its_version_beside() -> None:
    for path in (*WORKFLOWS, *ACTIONS):
        for used in re.findall(r"uses: (.+)", path.read_text()):
            assert used == "./.github/actions/prepare" or re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d[\d.]*", used)


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_what_runs_is_a_target_of_make(path: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (PROJECT / "Makefile").read_text(), re.MULTILINE))
    for command in [each["run"] for each in steps(path) if "run" in each]:
        words = command.split()
        named = {word for word in words[1:] if "=" not in word}
        assert words[0] == "make" and named and named <= targets, command


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_rights_are_given_to_jobs_alone_and_no_stack_has_two_at_once(path: Path) -> None:
    workflow = read(path)
    assert workflow["permissions"] == {}
    for name, job in workflow["jobs"].items():
        assert job["permissions"].get("contents") == "read", name
        assert set(job["permissions"]) <= {"contents", "pull-requests"}, name
        if "environment" in job:
            stack = (
                "pr-${{ github.event.number }}" if "PR" in job["env"] else job["environment"].removesuffix("-preview")
            )
            assert job["concurrency"]["group"] == f"stack-{stack}", name


def test_the_cli_is_of_the_sdks_version() -> None:
    [sdk] = re.findall(r"^pulumi==(\S+)", (PROJECT / "requirements.txt").read_text(), re.MULTILINE)
    assert read(ACTIONS[0])["inputs"]["pulumi"]["default"] == sdk
