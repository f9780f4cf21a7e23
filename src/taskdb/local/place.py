"""The directories of a project's development server."""

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

# Root's servers run as another user, which cannot enter a project below root's home.
BASE_FOR_ROOT = Path("/var/lib/taskdb")


@dataclass(frozen=True)
class Place:
    """Directories that the user of the server can enter.

    Attributes:
        base: Contains the server, the lock and downloaded server programs.
        server: The complete server, never one that is partly created or removed.

    """

    base: Path
    server: Path

    @classmethod
    def of(cls, project: Path) -> Place:
        """Return the project's ignored `.local` or, for root, a directory outside of the project."""
        project = project.resolve()
        if os.geteuid() != 0:
            return cls(project / ".local", project / ".local" / "server")
        name = re.sub(r"[^A-Za-z0-9_-]", "-", project.name)
        digest = hashlib.sha256(os.fsencode(project)).hexdigest()[:12]
        return cls(BASE_FOR_ROOT, BASE_FOR_ROOT / f"{name}-{digest}")

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Allow one command at a time. Delete the leftovers of an interrupted command first."""
        # Root's servers run as another user, which must be able to enter.
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
        """Create a directory that is renamed once it is complete. The next command deletes leftovers."""
        folder = Path(tempfile.mkdtemp(prefix="incomplete-", dir=self.base))
        folder.chmod(0o755)
        return folder

    def discard_server(self) -> None:
        """Delete the server's directory. Other processes see all of it or nothing."""
        folder = self.incomplete()
        self.server.rename(folder / "server")
        shutil.rmtree(folder)
