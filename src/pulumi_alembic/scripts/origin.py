"""Where a run comes from: the stack, the commit of the scripts, and the person; what is not known is left empty."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Origin", "git"]


@dataclass(frozen=True)
class Origin:
    """What the ledger keeps of a run beside what ran. `commit` ends in `+` where the scripts are not as committed."""

    stack: str = ""
    commit: str = ""
    by: str = ""

    @classmethod
    def of(cls, directory: Path, stack: str = "") -> Origin:
        """That of a run of the scripts in `directory`, begun by whoever is logged in here, or by whom CI runs it for.

        The commit is git's HEAD; where `directory` is in no repository, GITHUB_SHA.
        """
        commit = _head(directory) or os.environ.get("GITHUB_SHA", "")
        return cls(stack, commit, os.environ.get("GITHUB_ACTOR") or _user())

    def completed(self, directory: Path) -> Origin:
        """Itself if it is known, or else that of a run of the scripts in `directory` for the same stack."""
        return self if self.commit or self.by else Origin.of(directory, self.stack)


def _head(directory: Path) -> str:
    head = git(directory, "rev-parse", "--verify", "HEAD")
    if not head:
        return ""
    changes = git(directory, "status", "--porcelain", "--untracked-files=all", "--", ".")
    return head.decode().strip() + ("" if changes == b"" else "+")


def git(directory: Path, *arguments: str, seconds: float = 10) -> bytes | None:
    """What git prints; None if there is no git, no repository, or none that this user may use."""
    command = ["git", "-C", str(directory), "--no-optional-locks", *arguments]
    try:
        done = subprocess.run(command, capture_output=True, timeout=seconds, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None


def _user() -> str:
    # It loads termios, which a run with nothing pending does without.
    import getpass

    try:
        return getpass.getuser()
    except (OSError, KeyError):
        # A container may run as a number that has no name.
        return ""
