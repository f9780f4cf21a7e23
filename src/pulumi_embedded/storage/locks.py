"""Allow one operation at a time on a stack, with the Pulumi CLI's lock files, which both engines respect."""

from __future__ import annotations

import getpass
import json
import os
import socket
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pulumi_embedded.errors import EngineError
from pulumi_embedded.model.state import now
from pulumi_embedded.storage.backend import ORGANIZATION, FileBackend
from pulumi_embedded.storage.files import create_held, hold

__all__ = ["break_locks", "stack_lock"]

_HELD = "held"  # in the file of a lock that the operating system releases with its process; the Pulumi CLI's has none
_ENDING = 10.0  # seconds in which a dead engine's watchdog ends its plugins


@contextmanager
def stack_lock(backend: FileBackend, project: str, stack: str, tell: Callable[[str], None]) -> Iterator[Path]:
    """Hold the stack for this process, and give the lock file to the block.

    A lock of this engine whose process has ended on this machine is taken over, which the operating system confirms.
    Both sides write first and check afterwards, so at most one of two concurrent operations runs (CLI 3.260).

    Args:
        backend: The backend.
        project: The name of the project.
        stack: The name of the stack.
        tell: Receives a message if a lock is taken over.

    Raises:
        EngineError: Another operation runs. The text names its process.

    """
    folder = _folder(backend, project, stack)
    own = folder / f"{uuid.uuid4()}.json"
    _refuse_others(folder, own, tell)
    descriptor = create_held(own, _holder)
    # The watchdog inherits it, and holds the stack until it has ended the processes of a dead engine.
    os.set_inheritable(descriptor, True)
    try:
        _refuse_others(folder, own, tell)
        yield own
    finally:
        own.unlink(missing_ok=True)
        os.close(descriptor)


def _holder(held: bool) -> bytes:
    holder = {
        "pid": os.getpid(),
        "username": _user(),
        "hostname": socket.gethostname(),
        "timestamp": now(),
        _HELD: held,
    }
    return json.dumps(holder).encode()


def _user() -> str:
    """Return the user's name or, as in a container, its number."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def break_locks(backend: FileBackend, project: str, stack: str) -> int:
    """Remove every lock of the stack, and return how many there were. Running processes are not stopped."""
    locks = _locks(_folder(backend, project, stack))
    for path in locks:
        path.unlink(missing_ok=True)
        path.with_name(path.name + ".attrs").unlink(missing_ok=True)
    return len(locks)


def _folder(backend: FileBackend, project: str, stack: str) -> Path:
    return backend.locks_folder / ORGANIZATION / project / stack


def _locks(folder: Path) -> list[Path]:
    # Any other file locks the stack, for the Pulumi CLI too (3.260).
    return sorted(path for path in folder.iterdir() if path.suffix != ".attrs") if folder.is_dir() else []


def _refuse_others(folder: Path, own: Path, tell: Callable[[str], None]) -> None:
    others = [path for path in _locks(folder) if path != own and not _take_over(path, tell)]
    if not others:
        return
    lines = [
        f"the stack is currently locked by {len(others)} lock(s). Either wait for the other process(es) to end "
        "or delete the lock file with `pulumi-embedded cancel`."
    ]
    lines += [f"  file://{path}: {_describe(path)}" for path in others]
    raise EngineError("\n".join(lines))


def _take_over(path: Path, tell: Callable[[str], None]) -> bool:
    """Remove a lock whose process has ended. Return False if it has not, or if that is not known."""
    holder = _read(path)
    if not holder.get(_HELD) or holder.get("hostname") != socket.gethostname():
        return False
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return True
    try:
        deadline = time.monotonic() + _ENDING
        while not hold(descriptor):
            if _alive(holder.get("pid")) or time.monotonic() > deadline:
                return False
            time.sleep(0.05)
    finally:
        os.close(descriptor)
    tell(f"takes over the stack from pid {holder.get('pid')}, which ended in the midst of an operation")
    path.unlink(missing_ok=True)
    return True


def _read(path: Path) -> dict[str, Any]:
    try:
        holder = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return holder if isinstance(holder, dict) else {}


def _describe(path: Path) -> str:
    holder = _read(path)
    if not holder:
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
