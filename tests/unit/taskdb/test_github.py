"""The check of GitHub's settings prints a line with a repair for each missing setting, and misses none."""

from __future__ import annotations

import copy
import re
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from taskdb import cli, github
from taskdb.errors import TaskdbError
from tests.conftest import PROJECT

REPOSITORY = "owner/name"
ROOT = f"repos/{REPOSITORY}"


def environment(name: str, *rules: dict[str, Any]) -> dict[str, Any]:
    """Return an answer of `GET /repos/OWNER/NAME/environments/ENVIRONMENT` (API version 2022-11-28)."""
    return {
        "id": 161088068,
        "node_id": "MDExOkVudmlyb25tZW50MTYxMDg4MDY4",
        "name": name,
        "url": f"https://api.github.com/{ROOT}/environments/{name}",
        "can_admins_bypass": False,
        "protection_rules": [{"id": 3736, "node_id": "x", "type": "branch_policy"}, *rules],
        "deployment_branch_policy": {"protected_branches": False, "custom_branch_policies": True},
    }


def policies(*names: str, kind: str = "branch") -> dict[str, Any]:
    """Return an answer of `GET …/deployment-branch-policies`."""
    return {
        "total_count": len(names),
        "branch_policies": [{"id": 361471, "node_id": "x", "name": name, "type": kind} for name in names],
    }


REVIEWERS = {
    "id": 3755,
    "node_id": "x",
    "type": "required_reviewers",
    "prevent_self_review": True,
    "reviewers": [{"type": "User", "reviewer": {"login": "octocat", "id": 1}}],
}
GOOD: dict[str, Any] = {
    ROOT: {"full_name": REPOSITORY},
    f"{ROOT}/environments/staging": environment("staging"),
    f"{ROOT}/environments/staging/deployment-branch-policies": policies("main"),
    f"{ROOT}/environments/staging-preview": environment("staging-preview", REVIEWERS),
    f"{ROOT}/environments/staging-preview/deployment-branch-policies": policies("main", "refs/pull/*/merge"),
    f"{ROOT}/environments/prod": environment("prod", REVIEWERS),
    f"{ROOT}/environments/prod/deployment-branch-policies": policies("main"),
    f"{ROOT}/environments/prod-preview": environment("prod-preview"),
    f"{ROOT}/environments/prod-preview/deployment-branch-policies": policies("main"),
    f"{ROOT}/environments/pypi": environment("pypi", REVIEWERS),
    f"{ROOT}/environments/pypi/deployment-branch-policies": policies("v*", kind="tag"),
    f"{ROOT}/actions/secrets": {"total_count": 1, "secrets": [{"name": "CODECOV_TOKEN", "created_at": "x"}]},
    f"{ROOT}/actions/permissions/workflow": {
        "default_workflow_permissions": "read",
        "can_approve_pull_request_reviews": False,
    },
    f"{ROOT}/rules/branches/main": [
        {"type": "deletion", "ruleset_source_type": "Repository", "ruleset_id": 42},
        {"type": "non_fast_forward", "ruleset_source_type": "Repository", "ruleset_id": 42},
        {"type": "pull_request", "ruleset_id": 42, "parameters": {"required_approving_review_count": 1}},
    ],
}


def found(answers: dict[str, Any]) -> list[str]:
    return github.problems(REPOSITORY, answers.get)


def test_settings_as_they_should_be_are_no_problem() -> None:
    assert found(GOOD) == []


def wrong(path: str, change: Any) -> dict[str, Any]:
    answers = copy.deepcopy(GOOD)
    if change is None:
        del answers[f"{ROOT}/{path}"]
    else:
        change(answers[f"{ROOT}/{path}"])
    return answers


def clear_rules(answer: Any) -> None:
    answer["protection_rules"] = []


WRONG: list[tuple[str, Any, str]] = [
    ("environments/prod", None, "environment prod: it does not exist"),
    *(
        (f"environments/{name}", lambda each: each.update(deployment_branch_policy=None), f"{name}: every branch gets")
        for name in github.BRANCHES
    ),
    (
        "environments/staging",
        lambda each: each.update(
            deployment_branch_policy={"protected_branches": True, "custom_branch_policies": False}
        ),
        "staging: every protected branch gets its secrets; allow the deployment branches main only",
    ),
    (
        "environments/prod-preview/deployment-branch-policies",
        lambda each: each.update(policies("main", "refs/pull/*/merge")),
        "prod-preview: refs/pull/*/merge gets its secrets; remove it",
    ),
    (
        "environments/prod/deployment-branch-policies",
        lambda each: each.update(policies("ma*")),
        "prod: ma* gets its secrets; remove it",
    ),
    (
        "environments/staging-preview/deployment-branch-policies",
        lambda each: each.update(policies("main")),
        "staging-preview: its jobs cannot run; add refs/pull/*/merge",
    ),
    ("environments/prod", clear_rules, "prod: deployments need no approval"),
    ("environments/staging-preview", clear_rules, "staging-preview: deployments need no approval"),
    (
        "environments/prod",
        lambda each: each["protection_rules"][1].update(prevent_self_review=False),
        "prod: who starts a deployment can approve it",
    ),
    ("environments/prod", lambda each: each.update(can_admins_bypass=True), "prod: administrators can bypass"),
    (
        "actions/secrets",
        lambda each: each["secrets"].append({"name": "PGPASSWORD"}),
        "secret PGPASSWORD: every branch's workflows get it",
    ),
    (
        "actions/permissions/workflow",
        lambda each: each.update(default_workflow_permissions="write"),
        "a workflow that names none may write",
    ),
    (
        "actions/permissions/workflow",
        lambda each: each.update(can_approve_pull_request_reviews=True),
        "a workflow can approve a pull request",
    ),
    ("rules/branches/main", lambda each: each.pop(), "branch main: it can be pushed to without a pull request"),
    (
        "rules/branches/main",
        lambda each: each[2]["parameters"].update(required_approving_review_count=0),
        "branch main: a pull request needs no approval",
    ),
    ("rules/branches/main", lambda each: each.pop(1), "branch main: it can be pushed to by force"),
]


@pytest.mark.parametrize(("path", "change", "text"), WRONG, ids=[text for _, _, text in WRONG])
def test_each_setting_that_is_missing_is_named_alone(path: str, change: Any, text: str) -> None:
    [line] = [line for line in found(wrong(path, change)) if text in line] or [""]
    assert line, found(wrong(path, change))


def test_what_cannot_be_read_counts_as_missing() -> None:
    """If a login cannot read a setting, the check must not report that the setting exists."""
    lines = found({ROOT: GOOD[ROOT]})
    assert {line.split(":")[0] for line in lines} == {
        *(f"environment {name}" for name in github.BRANCHES if name != github.PUBLISHING),
        "workflow permissions",
        "branch main",
    }


def test_a_repository_that_publishes_nothing_needs_no_environment_for_it() -> None:
    assert found({path: answer for path, answer in GOOD.items() if "environments/pypi" not in path}) == []


def test_a_branch_named_like_a_tag_is_none() -> None:
    path = f"{ROOT}/environments/pypi/deployment-branch-policies"
    assert any("v* gets its secrets" in line for line in found({**GOOD, path: policies("v*")}))


def test_names_are_checked_before_anything_is_asked() -> None:
    def never(path: str) -> Any:
        raise AssertionError(path)

    for name in ("name", "owner/name/../other", "owner/na me", "owner/$(id)"):
        with pytest.raises(TaskdbError, match="is not the name of a repository"):
            github.problems(name, never)
    with pytest.raises(TaskdbError, match="there is no repository owner/name"):
        github.problems(REPOSITORY, lambda path: None)


def test_the_command_prints_what_to_change_and_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(github, "ask", GOOD.get)
    good = CliRunner().invoke(cli.main, ["check-settings", REPOSITORY])
    assert (good.exit_code, good.output) == (0, "the settings are as the workflows need them\n")
    monkeypatch.setattr(github, "ask", wrong("environments/prod", clear_rules).get)
    bad = CliRunner().invoke(cli.main, ["check-settings", REPOSITORY])
    assert (bad.exit_code, bad.output) == (
        3,
        "environment prod: deployments need no approval; add required reviewers\n",
    )


def test_every_environment_and_secret_of_the_workflows_is_checked() -> None:
    """This includes environments and secrets that a workflow gets later."""
    environments, secrets = set(), set()
    for path in sorted((PROJECT / ".github/workflows").glob("*.yml")):
        secrets |= set(re.findall(r"secrets\.(\w+)", path.read_text()))
        for job in yaml.safe_load(path.read_text())["jobs"].values():
            for stack in ("staging", "prod"):
                name = re.sub(r"\$\{\{ (matrix|inputs)\.stack \}\}", stack, job.get("environment", ""))
                environments |= {name} - {""}
    assert environments == set(github.BRANCHES)
    assert secrets == set(github.SECRETS)


def test_only_main_reaches_the_environments_that_no_pull_request_may() -> None:
    """GitHub's settings keep other branches out.

    A workflow that can be started on another branch excludes it by a condition too.
    """
    for path in sorted((PROJECT / ".github/workflows").glob("*.yml")):
        workflow = yaml.safe_load(path.read_text())
        started = set(workflow[True])
        for name, job in workflow["jobs"].items():
            kept = job.get("if", "")
            needed = [workflow["jobs"][each].get("if", "") for each in [job.get("needs")] if each]
            if "environment" in job and "pull_request" not in started and started != {"push"}:
                assert "github.ref == 'refs/heads/main'" in [kept, *needed], f"{path.name}: {name}"
            if "prod" in job.get("environment", ""):
                assert "pull_request" not in started, path.name


def test_the_page_says_what_is_checked() -> None:
    rows = re.findall(
        r"^\| `([a-z-]+)` \| (`.+`) \| (.+) \|$", (PROJECT / "docs/security.md").read_text(), re.MULTILINE
    )
    said = {name: (set(re.findall(r"`([^`]+)`", branches)), reviewers) for name, branches, reviewers in rows}
    assert {name: branches for name, (branches, _) in said.items()} == github.BRANCHES
    assert {name for name, (_, reviewers) in said.items() if "required" in reviewers} == set(github.REVIEWED)
