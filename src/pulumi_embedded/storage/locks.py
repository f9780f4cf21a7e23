"""One operation at a time on a stack: the lock file is the Pulumi CLI's, so either engine respects the other's."""

from __future__ import annotations

import getpass
import json
import os
import socket
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pulumi_embedded.errors import EngineError
from pulumi_embedded.state import now
from pulumi_embedded.storage.backend import ORGANIZATION, FileBackend
from pulumi_embedded.storage.files import write_once

__all__ = ["break_locks", "stack_lock"]


@contextmanager
def stack_lock(backend: FileBackend, project: str, stack: str) -> Iterator[Path]:
    """Holds the stack for this process by a file, which it gives.

    Raises EngineError, naming the holder, where another operation runs.

    Both sides write first and look afterwards, so of two that start at once at most one goes on (CLI 3.260).
    """
    folder = _folder(backend, project, stack)
    own = folder / f"{uuid.uuid4()}.json"
    _refuse_others(folder, own)
    holder = {
        "pid": os.getpid(),
        "username": getpass.getuser(),
        "hostname": socket.gethostname(),
        "timestamp": now(),
    }
    write_once(own, json.dumps(holder).encode())
    try:
        _refuse_others(folder, own)
        yield own
    finally:
        own.unlink(missing_ok=True)


def break_locks(backend: FileBackend, project: str, stack: str) -> int:
    """Removes every lock of the stack and says how many there were; a process that still runs is not stopped."""
    locks = _locks(_folder(backend, project, stack))
    for path in locks:
        path.unlink(missing_ok=True)
        path.with_name(path.name + ".attrs").unlink(missing_ok=True)
    return len(locks)


def _folder(backend: FileBackend, project: str, stack: str) -> Path:
    return backend.locks_folder / ORGANIZATION / project / stack


def _locks(folder: Path) -> list[Path]:
    # Whatever else is there locks the stack for the Pulumi CLI too (3.260).
    return sorted(path for path in folder.iterdir() if path.suffix != ".attrs") if folder.is_dir() else []


def _refuse_others(folder: Path, own: Path) -> None:
    others = [path for path in _locks(folder) if path != own]
    if not others:
        return
    lines = [
        f"the stack is currently locked by {len(others)} lock(s). Either wait for the other process(es) to end "
        "or delete the lock file with `pulumi-embedded cancel`."
    ]
    lines += [f"  file://{path}: {_describe(path)}" for path in others]
    raise EngineError("\n".join(lines))


def _describe(path: Path) -> str:
    try:
        holder: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return "unreadable"
    described = (
        f"created by {holder.get('username')}@{holder.get('hostname')} (pid {holder.get('pid')}) "
        f"at {holder.get('timestamp')}"
    )
    if holder.get("hostname") == socket.gethostname() and not _alive(holder.get("pid")):
        described += "; that process no longer runs, so the lock is stale: pulumi-embedded cancel"
    return described


def _alive(pid: Any) -> bool:
    try:
        os.kill(int(pid), 0)
    except (ProcessLookupError, TypeError, ValueError):
        return False
    except PermissionError:
        return True
    return True
