"""The workflows are valid for GitHub, safe, and run only commands that a person can run."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from taskdb import preflight
from tests.conftest import PROJECT

WORKFLOWS = sorted((PROJECT / ".github/workflows").glob("*.yml"))
ACTIONS = sorted((PROJECT / ".github/actions").glob("*/action.yml"))


def read(path: Path) -> dict[str, Any]:
    """Return a workflow. YAML 1.1 reads its key `on` as true."""
    found: dict[str, Any] = yaml.safe_load(path.read_text())
    return found


def steps(path: Path) -> Iterator[dict[str, Any]]:
    for job in read(path)["jobs"].values():
        yield from job.get("steps", [])


def tool(name: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [Path(sys.executable).with_name(name), *arguments], capture_output=True, text=True, cwd=PROJECT
    )


FORMS = sorted((PROJECT / ".github/ISSUE_TEMPLATE").glob("[!c]*.yml"))


@pytest.mark.parametrize(
    ("schema", "files"),
    [
        ("github-workflows", WORKFLOWS),
        ("github-actions", ACTIONS),
        ("github-issue-forms", FORMS),
        ("github-issue-config", [PROJECT / ".github/ISSUE_TEMPLATE/config.yml"]),
    ],
)
def test_they_fit_the_schema(schema: str, files: list[Path]) -> None:
    done = tool("check-jsonschema", "--builtin-schema", f"vendor.{schema}", *files)
    assert files and done.returncode == 0, done.stdout + done.stderr


def test_zizmor_has_nothing_against_them() -> None:
    done = tool("zizmor", "--offline", "--no-progress", ".github")
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_action_is_pinned_by_its_hash_with_its_version_beside() -> None:
    for path in (*WORKFLOWS, *ACTIONS):
        for used in re.findall(r"uses: (.+)", path.read_text()):
            assert re.fullmatch(r"\./\.github/(actions/prepare|workflows/nightly\.yml)", used) or re.fullmatch(
                r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d[\d.]*", used
            )


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
        if (path.stem, name) == ("release", "publish"):
            # This job runs no code of the repository.
            assert job["permissions"] == {"id-token": "write"}
            assert not [step for step in job["steps"] if "run" in step or step["uses"].startswith("./")]
            continue
        assert job["permissions"].get("contents") == "read", name
        assert set(job["permissions"]) <= {"contents", "pull-requests", "actions"}, name
        assert job["permissions"].get("actions", "read") == "read", name
        if "environment" in job:
            stack = (
                "pr-${{ github.event.number }}" if "PR" in job["env"] else job["environment"].removesuffix("-preview")
            )
            assert job["concurrency"]["group"] == f"stack-{stack}", name


def test_the_supported_versions_are_those_that_the_workflows_test() -> None:
    supported = [str(version) for version in range(preflight.OLDEST, preflight.NEWEST_TESTED + 1)]
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    pythons = {name.rpartition(" ")[2] for name in project["classifiers"] if "Python :: 3." in name}
    for name, job in (("pull-request", "test"), ("nightly", "test-all")):
        matrix = read(PROJECT / f".github/workflows/{name}.yml")["jobs"][job]["strategy"]["matrix"]
        assert [pair["postgresql"] for pair in matrix["include"]] == supported, name
        assert {pair["python"] for pair in matrix["include"]} == pythons, name
    security = (PROJECT / "SECURITY.md").read_text()
    assert f"| PostgreSQL | {supported[0]} to {supported[-1]} |" in security
    assert f"| Python | {min(pythons, key=_number)} to {max(pythons, key=_number)} |" in security


def test_the_readme_names_only_versions_and_platforms_that_a_workflow_checks() -> None:
    """Each version is in a workflow or in a package's requirements, and each badge shows the state of a workflow."""
    readme = (PROJECT / "README.md").read_text()
    badges = re.findall(r"\[?!\[[^\]]*\]\((https?://[^)]+)\)", readme)
    workflows = {path.name for path in WORKFLOWS}
    assert all(url.partition("/workflows/")[2].partition("/")[0] in workflows for url in badges), badges
    [needs] = re.findall(r"^(Python .* or newer · PostgreSQL .*)$", readme, re.MULTILINE)
    matrix = read(PROJECT / ".github/workflows/nightly.yml")["jobs"]["test-all"]["strategy"]["matrix"]["include"]
    pythons, servers = ({pair[name] for pair in matrix} for name in ("python", "postgresql"))
    library = tomllib.loads((PROJECT / "packages/pulumi-alembic/pyproject.toml").read_text())["project"]
    required = {re.split(r"[\[<>=]", text)[0]: re.findall(r"[\d.]+", text) for text in library["dependencies"]}
    alembic, after = required["alembic"]
    assert int(after.split(".")[1]) == int(alembic.split(".")[1]) + 1, "one minor version, which the lock files have"
    systems = {job["runs-on"] for path in WORKFLOWS for job in read(path)["jobs"].values() if "runs-on" in job}
    assert {system.partition("-")[0] for system in systems} == {"ubuntu"}
    assert needs == " · ".join(
        [
            f"Python {min(pythons, key=_number)} or newer",
            f"PostgreSQL {min(servers, key=int)} to {max(servers, key=int)}",
            f"Alembic {alembic.rpartition('.')[0]}",
            f"Pulumi's Python SDK {required['pulumi'][0]} or newer, with or without the Pulumi CLI",
            "Linux (tested); macOS (not tested in CI).",
        ]
    )


def _number(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


@pytest.mark.parametrize(
    "hook", yaml.safe_load((PROJECT / ".pre-commit-hooks.yaml").read_text()), ids=lambda hook: hook["id"]
)
def test_each_pre_commit_hook_runs_a_command_that_exists(hook: dict[str, Any]) -> None:
    program, *arguments = hook["entry"].split()
    done = tool(program, *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(hook["files"], "migrations/versions/20250126_001_initial_schema.py")
    assert not re.search(hook["files"], "migrations/env.py")


def test_a_release_is_published_after_every_test_is_green() -> None:
    jobs = read(PROJECT / ".github/workflows/release.yml")["jobs"]
    assert jobs["publish"]["needs"] == "build" and jobs["build"]["needs"] == "test-all"
    assert jobs["test-all"]["uses"] == "./.github/workflows/nightly.yml"
    assert "workflow_call" in read(PROJECT / ".github/workflows/nightly.yml")[True]


def test_a_forks_jobs_name_no_secret() -> None:
    """GitHub gives a fork's jobs no secrets. These jobs must not depend on one, and their conditions say that."""
    jobs = read(PROJECT / ".github/workflows/pull-request.yml")["jobs"]
    theirs = {name: job for name, job in jobs.items() if "environment" not in job}
    assert set(theirs) == {"test", "docs", "report"}
    assert not re.search(r"secrets\.|vars\.|write", str(theirs))
    assert jobs["report"]["if"] == "github.event.pull_request.head.repo.full_name != github.repository"
    assert {"GH_TOKEN": "${{ github.token }}"} in [step.get("env") for step in jobs["report"]["steps"]]


def test_the_cli_is_of_the_sdks_version() -> None:
    [sdk] = re.findall(r"^pulumi==(\S+)", (PROJECT / "requirements.txt").read_text(), re.MULTILINE)
    assert read(ACTIONS[0])["inputs"]["pulumi"]["default"] == sdk


GH = """#!/bin/sh
# Stands in for the GitHub CLI: answers from a file, and downloads a schema of the run that it is asked for.
cd "$(dirname "$0")"
for last; do :; done
case "$*" in
api*) jq -r "$last" artifacts.json ;;
run\\ download*) echo "{\\"server\\": 17, \\"run\\": $3}" >"$last/schema.json" ;;
esac
"""


def artifact(run: int, at: str, *, branch: str = "main", fork: bool = False, expired: bool = False) -> dict[str, Any]:
    source = {"id": run, "head_branch": branch, "repository_id": 1, "head_repository_id": 2 if fork else 1}
    return {"created_at": f"2026-01-0{at}T00:00:00Z", "expired": expired, "workflow_run": source}


@pytest.mark.skipif(not shutil.which("jq"), reason="no jq on the PATH, whose language the GitHub CLI speaks")
def test_a_fork_reports_on_the_newest_schema_of_the_repositorys_own_main(tmp_path: Path) -> None:
    gh = tmp_path / "gh"
    gh.write_text(GH.replace('"$last/', f'"{tmp_path}/$last/'))
    gh.chmod(0o755)
    others = [
        artifact(5, "5", fork=True),
        artifact(6, "6", branch="feature"),
        artifact(7, "7", expired=True),
    ]
    for mine, expected in (([artifact(1, "1"), artifact(3, "3"), artifact(2, "2")], 3), ([], None)):
        (tmp_path / "artifacts.json").write_text(json.dumps({"artifacts": others + mine}))
        output = tmp_path / f"output-{expected}"
        output.touch()
        done = subprocess.run(
            [PROJECT / ".ci/fetch-schema", "owner/name"],
            cwd=tmp_path,
            env=os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}", "GITHUB_OUTPUT": str(output)},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        path = tmp_path / ".local/schema.json"
        assert (json.loads(path.read_text())["run"] if path.exists() else None) == expected
        assert output.read_text() == ("postgresql=17\n" if expected else "")
