"""Check the settings of a GitHub repository that protect the workflows' secrets. See docs/security.md."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from typing import Any, Final

from taskdb.errors import TaskdbError

__all__ = ["BRANCHES", "SECRETS", "Ask", "ask", "problems"]

MAIN: Final = "main"
PULL_REQUESTS: Final = "refs/pull/*/merge"

BRANCHES: Final = {
    "staging": {MAIN},
    "staging-preview": {MAIN, PULL_REQUESTS},
    "prod": {MAIN},
    "prod-preview": {MAIN},
    "pypi": {"tag v*"},
}
"""By environment, the only refs that can be deployed to it. Their workflows get its secrets or identity."""

PUBLISHING: Final = "pypi"
"""The environment of releases. Only a repository that publishes the packages has it."""

REVIEWED: Final = ("staging-preview", "prod", PUBLISHING)
"""Environments whose jobs wait for a reviewer: a pull request's code, a change of prod, a release."""

SECRETS: Final = ("PULUMI_CONFIG_PASSPHRASE", "PGUSER", "PGPASSWORD")
"""Secrets that must belong to environments. The workflows of every branch get a secret of the repository."""

Ask = Callable[[str], Any]
"""Returns the answer of GitHub's REST API for a path as JSON values. None if the object does not exist."""


def ask(path: str) -> Any:
    """Query GitHub with the GitHub CLI and its login.

    Raises:
        TaskdbError: The GitHub CLI is not installed, or GitHub rejects the request.

    """
    program = shutil.which("gh")
    if program is None:
        raise TaskdbError("the GitHub CLI is not installed: https://cli.github.com")
    done = subprocess.run([program, "api", path], capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return json.loads(done.stdout)
    if "HTTP 404" in done.stderr:
        return None
    reason = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:] or ["it says nothing"]
    raise TaskdbError(f"GitHub does not answer {path}: {reason[0]}\n  gh auth status")


def problems(repository: str, ask: Ask) -> list[str]:
    """Return the changes that the repository's settings need, a line each. Empty if there are none.

    Args:
        repository: The repository as OWNER/NAME.
        ask: Queries GitHub.

    Raises:
        TaskdbError: The name is not valid, the repository does not exist, or GitHub cannot be queried.

    """
    if not re.fullmatch(r"[A-Za-z0-9-]+/[A-Za-z0-9._-]+", repository):
        raise TaskdbError(f"{repository!r} is not the name of a repository: OWNER/NAME")
    if ask(f"repos/{repository}") is None:
        raise TaskdbError(f"there is no repository {repository}, or this login cannot see it:\n  gh auth status")
    return [
        *(line for name, refs in BRANCHES.items() for line in _of_environment(repository, name, refs, ask)),
        *_of_repository(repository, ask),
    ]


def _of_environment(repository: str, name: str, refs: set[str], ask: Ask) -> Iterator[str]:
    path = f"repos/{repository}/environments/{name}"
    answer = ask(path)
    if answer is None and name == PUBLISHING:
        return
    if answer is None:
        yield f"environment {name}: it does not exist; create it with the deployment branches {_listed(refs)}"
        return
    policy = answer.get("deployment_branch_policy")
    if not policy or not policy.get("custom_branch_policies"):
        which = "every branch" if not policy else "every protected branch"
        yield f"environment {name}: {which} gets its secrets; allow the deployment branches {_listed(refs)} only"
    else:
        allowed = {
            f"tag {branch_policy['name']}" if branch_policy.get("type") == "tag" else branch_policy["name"]
            for branch_policy in (ask(f"{path}/deployment-branch-policies") or {}).get("branch_policies", [])
        }
        for ref in sorted(allowed - refs):
            yield f"environment {name}: {ref} gets its secrets; remove it from the deployment branches"
        for ref in sorted(refs - allowed):
            yield f"environment {name}: its jobs cannot run; add {ref} to the deployment branches"
    rules = {rule["type"]: rule for rule in answer.get("protection_rules") or []}
    reviewers = rules.get("required_reviewers") or {}
    if name in REVIEWED and not reviewers.get("reviewers"):
        yield f"environment {name}: deployments need no approval; add required reviewers"
    elif name == "prod" and not reviewers.get("prevent_self_review"):
        yield f"environment {name}: who starts a deployment can approve it; prevent self-review"
    if name in REVIEWED and answer.get("can_admins_bypass", True):
        yield f"environment {name}: administrators can bypass its rules; do not allow them to"


def _of_repository(repository: str, ask: Ask) -> Iterator[str]:
    secrets = {secret["name"] for secret in (ask(f"repos/{repository}/actions/secrets") or {}).get("secrets", [])}
    for name in sorted(secrets & set(SECRETS)):
        yield f"secret {name}: every branch's workflows get it; move it to the environments"
    token = ask(f"repos/{repository}/actions/permissions/workflow") or {}
    if token.get("default_workflow_permissions") != "read":
        yield "workflow permissions: a workflow that names none may write; set them to read"
    if token.get("can_approve_pull_request_reviews"):
        yield "workflow permissions: a workflow can approve a pull request; forbid it"
    rules = {
        rule["type"]: rule.get("parameters") or {} for rule in ask(f"repos/{repository}/rules/branches/{MAIN}") or []
    }
    if "pull_request" not in rules:
        yield f"branch {MAIN}: it can be pushed to without a pull request; require one by a ruleset"
    elif rules["pull_request"].get("required_approving_review_count", 0) < 1:
        yield f"branch {MAIN}: a pull request needs no approval; require one"
    if "non_fast_forward" not in rules:
        yield f"branch {MAIN}: it can be pushed to by force; block force pushes"


def _listed(refs: set[str]) -> str:
    return " and ".join(sorted(refs))
