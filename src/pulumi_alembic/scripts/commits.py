"""Whether git has a revision's script, in whatever commit of whatever branch: asked where a stack's state is lost."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

from pulumi_alembic.scripts.revision import checksum

__all__ = ["has_script"]

TIMEOUT = 30  # seconds that git may take


def has_script(directory: Path, id: str, sum: str) -> bool:
    """Whether a commit that a branch or a tag of this repository reaches has a script of `id` with this checksum.

    False too where there is no repository, or no git.
    """
    return any(checksum(text) == sum for text in _texts(directory, id))


def _texts(directory: Path, id: str) -> Iterator[str]:
    """Each text that the script ever had, the newest first."""
    asked = ["log", "--all", "--no-renames", "--diff-filter=AM", "--raw", "--no-abbrev", "--format="]
    listed = _git(directory, *asked, "--", f"versions/{id}_*.py")
    for line in listed.splitlines():
        # `:100644 100644 BLOB-BEFORE BLOB-AFTER M<tab>PATH`
        blob = line.split(b" ")[3].decode()
        yield _git(directory, "cat-file", "blob", blob).decode(errors="replace")


def _git(directory: Path, *arguments: str) -> bytes:
    try:
        return subprocess.run(
            ["git", *arguments], cwd=directory, capture_output=True, check=True, timeout=TIMEOUT
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return b""
