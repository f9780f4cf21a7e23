"""The file backend: stacks, backups and history in the Pulumi CLI's layout under `.pulumi/` (CLI 3.260)."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from pulumi_embedded.errors import EngineError, Unsupported
from pulumi_embedded.storage.files import close_to_others, keep_backup, write_atomically
from pulumi_embedded.storage.statefile import StateFile

__all__ = ["ORGANIZATION", "FileBackend"]

# The organization of every stack, except in the Pulumi Cloud.
ORGANIZATION = "organization"


class FileBackend:
    """A directory of stacks. Every write of a state file is atomic, and keeps the previous content as `.bak`."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url = url
        self.folder = folder
        self._root = folder / ".pulumi"
        self._files: dict[Path, StateFile] = {}

    @classmethod
    def open(cls, url: str, relative_to: Path) -> FileBackend:
        """Return the backend of a `file://` URL.

        Raises:
            Unsupported: The URL has another scheme.
            EngineError: The directory does not exist.

        """
        scheme, separator, rest = url.partition("://")
        if not separator or scheme != "file":
            raise Unsupported(f"the backend {scheme + '://…' if separator else url}")
        path = Path(unquote(rest.partition("?")[0])).expanduser()
        folder = path if path.is_absolute() else relative_to / path
        if not folder.is_dir():
            raise EngineError(f"the backend's folder {folder} does not exist; make it: mkdir -p {folder}")
        return cls(url, folder)

    def close_to_others(self, tell: Callable[[str], None]) -> None:
        """Make files private that other users of the machine can read, which early versions left so, and report it."""
        try:
            count = close_to_others(self._root)
        except OSError as error:
            tell(f"other users of this machine can enter {self._root}, which cannot be changed: {error.strerror}")
            return
        if count:
            tell(f"other users of this machine could enter {self._root}; corrected {count} modes")

    def _state_file(self, project: str, stack: str) -> Path:
        return self._root / "stacks" / project / f"{stack}.json"

    def projects(self) -> list[str]:
        """Return the names of the projects with stacks, sorted."""
        folder = self._root / "stacks"
        return sorted(path.name for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []

    def stacks(self, project: str) -> list[str]:
        """Return the names of the project's stacks, sorted."""
        folder = self._root / "stacks" / project
        return sorted(path.stem for path in folder.glob("*.json")) if folder.is_dir() else []

    def exists(self, project: str, stack: str) -> bool:
        """Return whether the stack exists."""
        return self._state_file(project, stack).is_file()

    def modified(self, project: str, stack: str) -> float:
        """Return when the state file was last written, in seconds since the epoch."""
        return self._state_file(project, stack).stat().st_mtime

    def state_file(self, project: str, stack: str) -> StateFile:
        """Return the stack's state file, always as the same object, which knows what it has read and written."""
        path = self._state_file(project, stack)
        if path not in self._files:
            self._files[path] = self._unread(project, stack)
        return self._files[path]

    def look(self, project: str, stack: str) -> dict[str, Any] | None:
        """Return the stack's deployment document as `read` does, beside an operation that can be writing it.

        The object of `state_file` does not change.
        """
        return self._unread(project, stack).read()

    def read(self, project: str, stack: str) -> dict[str, Any] | None:
        """Return the stack's deployment document. Raises EngineError if the file is no state file."""
        return self.state_file(project, stack).read()

    def write(self, project: str, stack: str, deployment: dict[str, Any]) -> None:
        """Make the deployment the stack's state. See StateFile.write."""
        self.state_file(project, stack).write(deployment)

    def _unread(self, project: str, stack: str) -> StateFile:
        path, backups = self._state_file(project, stack), self._root / "backups" / project / stack
        return StateFile(path, f"{ORGANIZATION}/{project}/{stack}", backups, self._prepare)

    def _prepare(self) -> None:
        """Write the layout's version first. The directory of the backend itself is never created."""
        if not self.folder.is_dir():
            raise EngineError(f"the backend's folder {self.folder} is gone")
        if not (self._root / "meta.yaml").exists():
            write_atomically(self._root / "meta.yaml", b"version: 1\n")

    def back_up(self, project: str, stack: str) -> None:
        """Copy the present state to the backups of the stack."""
        target = self._root / "backups" / project / stack / f"{stack}.{time.time_ns()}.json"
        self._copy_state(project, stack, target)

    def add_history(self, project: str, stack: str, entry: dict[str, Any]) -> None:
        """Record an operation with a copy of the state after it."""
        self._prepare()
        folder = self._root / "history" / project / stack
        stem = f"{stack}-{time.time_ns()}"
        write_atomically(folder / f"{stem}.history.json", json.dumps(entry, indent=4).encode())
        self._copy_state(project, stack, folder / f"{stem}.checkpoint.json")

    def _copy_state(self, project: str, stack: str, target: Path) -> None:
        path = self._state_file(project, stack)
        try:
            content = path.read_bytes()
        except OSError as error:
            raise EngineError(f"the state file {path} cannot be read: {error.strerror}") from None
        write_atomically(target, content)

    def history(self, project: str, stack: str) -> list[dict[str, Any]]:
        """Return the operations of the stack, newest first."""
        folder = self._root / "history" / project / stack
        return [_entry(path) for path in sorted(folder.glob("*.history.json"), reverse=True)]

    def rename(self, project: str, old: str, new: str, deployment: dict[str, Any]) -> None:
        """Replace a stack by one of the new name, with the deployment as its state and with the old one's history.

        A `.bak` of the old state file and its backups remain, as with the CLI.
        """
        self.write(project, new, deployment)
        path = self._state_file(project, old)
        keep_backup(path, path.with_name(path.name + ".bak"))
        path.unlink()
        history = self._root / "history" / project
        for folder in sorted((history / old).glob(f"{old}-*")):
            target = history / new / f"{new}{folder.name.removeprefix(old)}"
            write_atomically(target, folder.read_bytes())
            folder.unlink()

    def remove(self, project: str, stack: str, *, backups: bool = False) -> None:
        """Remove a stack and its history. A `.bak` of its state remains, as with the CLI, unless `backups` is set."""
        path = self._state_file(project, stack)
        keep_backup(path, path.with_name(path.name + ".bak"))
        path.unlink()
        path.with_name(path.name + ".attrs").unlink(missing_ok=True)
        shutil.rmtree(self._root / "history" / project / stack, ignore_errors=True)
        if backups:
            path.with_name(path.name + ".bak").unlink(missing_ok=True)
            shutil.rmtree(self._root / "backups" / project / stack, ignore_errors=True)

    @property
    def locks_folder(self) -> Path:
        """The directory of the lock files of running operations."""
        return self._root / "locks"


def _entry(path: Path) -> dict[str, Any]:
    try:
        entry = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise EngineError(f"the history's entry {path} cannot be read: {error}") from None
    if not isinstance(entry, dict):
        raise EngineError(f"the history's entry {path} is damaged: it is no JSON object")
    return entry
