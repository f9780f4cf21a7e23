"""The folders of a project's development server on this machine."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Place"]

# Root's servers run as another user, who cannot enter a project below root's home.
BASE_FOR_ROOT = Path("/var/lib/taskdb")


@dataclass(frozen=True)
class Place:
    """Every folder here can be entered by the user that the server runs as.

    `server` is the folder of the complete server, never of a half-made or half-removed one.
    `base` holds that folder, the lock and the server programs that were fetched.
    """

    base: Path
    server: Path

    @classmethod
    def of(cls, project: Path) -> Place:
        """Choose the project's ignored `.local`; for root, a folder outside the project."""
        project = project.resolve()
        if os.geteuid() != 0:
            return cls(project / ".local", project / ".local" / "server")
        name = re.sub(r"[^A-Za-z0-9_-]", "-", project.name)
        digest = hashlib.sha256(os.fsencode(project)).hexdigest()[:12]
        return cls(BASE_FOR_ROOT, BASE_FOR_ROOT / f"{name}-{digest}")

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Let one command at a time work here; leftovers of an interrupted one are deleted first."""
        # Root's servers run as another user, who has to enter.
        mode = 0o755 if os.geteuid() == 0 else 0o700
        if not self.base.exists():
            self.base.mkdir(exist_ok=True)
        elif self.base.stat().st_mode & 0o777 & ~mode:
            print(f"Other users of this machine could enter {self.base}; corrected its mode.", file=sys.stderr)
        self.base.chmod(mode)
        with open(self.base / "lock", "w", opener=lambda name, flags: os.open(name, flags, 0o600)) as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            for leftover in self.base.glob("incomplete-*"):
                shutil.rmtree(leftover, ignore_errors=True)
            yield

    def incomplete(self) -> Path:
        """Create a folder that is renamed when it is complete; the next command deletes leftovers."""
        folder = Path(tempfile.mkdtemp(prefix="incomplete-", dir=self.base))
        folder.chmod(0o755)
        return folder

    def discard_server(self) -> None:
        """Delete the server's folder, in one step for every reader."""
        folder = self.incomplete()
        self.server.rename(folder / "server")
        shutil.rmtree(folder)
