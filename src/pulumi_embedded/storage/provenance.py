"""Where an operation came from: the commit that was checked out, as the Pulumi CLI records it (3.260)."""

from __future__ import annotations

import subprocess
from pathlib import Path

__all__ = ["git_facts"]


def git_facts(folder: Path) -> tuple[dict[str, str], str]:
    """The commit's facts for the history and its message's first line; nothing outside a repository."""
    shown = _git(folder, "log", "-1", "--format=%H%n%an%n%ae%n%cn%n%ce%n%s")
    if shown is None or shown.count("\n") < 5:
        return {}, ""
    commit, author, author_mail, committer, committer_mail, subject = shown.split("\n")[:6]
    facts = {
        "git.head": commit,
        "git.author": author,
        "git.author.email": author_mail,
        "git.committer": committer,
        "git.committer.email": committer_mail,
        "git.dirty": str(bool(_git(folder, "status", "--porcelain"))).lower(),
    }
    branch = _git(folder, "symbolic-ref", "--short", "-q", "HEAD")
    if branch:
        facts["git.headName"] = f"refs/heads/{branch}"
    return facts, subject


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        run = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return run.stdout.strip() if run.returncode == 0 else None
