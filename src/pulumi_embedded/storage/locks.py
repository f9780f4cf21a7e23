"""One operation at a time on a stack: the lock file is the Pulumi CLI's, so either engine respects the other's."""

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
_ENDING = 10.0  # seconds that a dead engine's watchdog may take to end its plugins


@contextmanager
def stack_lock(backend: FileBackend, project: str, stack: str, tell: Callable[[str], None]) -> Iterator[Path]:
    """Hold the stack for this process by a file, which it gives.

    Raises EngineError, naming the holder, if another operation runs. A lock of this engine's that was left by a
    process which ended on this machine is taken over, and `tell` told: the operating system says whether it did.

    Both sides write first and look afterwards, so of two that start at once at most one goes on (CLI 3.260).
    """
    folder = _folder(backend, project, stack)
    own = folder / f"{uuid.uuid4()}.json"
    _refuse_others(folder, own, tell)
    descriptor = create_held(own, _holder)
    # For the watchdog: it ends what a dead engine left, and holds the stack until it has.
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
    """The user's name; the number where it has none, as in a container."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


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
    """Remove a lock that nobody holds any more; False if somebody does, or it cannot be known."""
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
