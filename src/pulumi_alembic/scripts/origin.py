"""The origin of a run: the stack, the commit of the scripts, and the person. Unknown parts are empty."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Origin", "git", "head"]


@dataclass(frozen=True)
class Origin:
    """The origin of a run, as the ledger records it.

    Attributes:
        commit: ends in `+` if the scripts differ from the committed ones.
        by: the login name, or the actor of a CI job.

    """

    stack: str = ""
    commit: str = ""
    by: str = ""

    @classmethod
    def of(cls, directory: Path, stack: str = "") -> Origin:
        """Return the origin of a run of the scripts in `directory`.

        The person is GITHUB_ACTOR or the user who is logged in. The commit is git's HEAD, or GITHUB_SHA outside of a
        repository.
        """
        commit = head(directory) or os.environ.get("GITHUB_SHA", "")
        return cls(stack, commit, os.environ.get("GITHUB_ACTOR") or _user())

    def completed(self, directory: Path) -> Origin:
        """Return itself if it has a commit or a person.

        Otherwise return the origin of a run in `directory` for its stack.
        """
        return self if self.commit or self.by else Origin.of(directory, self.stack)


def head(directory: Path) -> str:
    """Return git's HEAD, with `+` if the files in the directory differ from it. Empty without a repository."""
    commit = git(directory, "rev-parse", "--verify", "HEAD")
    if not commit:
        return ""
    changes = git(directory, "status", "--porcelain", "--untracked-files=all", "--", ".")
    return commit.decode().strip() + ("" if changes == b"" else "+")


def git(directory: Path, *arguments: str, seconds: float = 10) -> bytes | None:
    """Return what git prints. None if git fails, for example without a repository."""
    command = ["git", "-C", str(directory), "--no-optional-locks", *arguments]
    try:
        done = subprocess.run(command, capture_output=True, timeout=seconds, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None


def _user() -> str:
    # It imports termios, which a run with nothing pending does not need.
    import getpass

    try:
        return getpass.getuser()
    except (OSError, KeyError):
        # A container can run as a user id without a name.
        return ""
