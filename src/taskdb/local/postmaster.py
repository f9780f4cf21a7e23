"""The process that serves a data directory: the one of postmaster.pid, checked against the processes."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

from taskdb.errors import TaskdbError

__all__ = ["forget_foreign_process", "postmaster", "stop_postmaster"]

STOP_SECONDS = 60


def postmaster(data: Path) -> int | None:
    """Return the process id of the server that runs on `data`, never another program's.

    After a reboot, or in a new container, a stale pid file names whatever has that pid by then.
    """
    pid = _pid_file(data)
    return pid if pid and _serves(pid, data) else None


def forget_foreign_process(data: Path) -> None:
    """Delete the pid file if its pid is another program's; PostgreSQL decides about any other.

    PostgreSQL takes over a stale pid file itself, unless that pid lives and belongs to the same user.
    """
    pid = _pid_file(data)
    if pid and _is_alive(pid) and postmaster(data) is None:
        (data / "postmaster.pid").unlink()


def stop_postmaster(data: Path) -> None:
    """End the server that runs on `data`, if any, and its sessions; committed transactions stay."""
    pid = postmaster(data)
    if pid is None:
        return
    # PostgreSQL's "fast shutdown". Not by pg_ctl, which takes an ended process that nobody has reaped
    # (in a container without an init) for a running one, and which may have been uninstalled since.
    os.kill(pid, signal.SIGINT)
    deadline = time.monotonic() + STOP_SECONDS
    while _serves(pid, data):
        if time.monotonic() > deadline:
            raise TaskdbError(
                f"The server on {data} (process {pid}) did not stop within {STOP_SECONDS} seconds. "
                f"End it by force, which loses nothing committed: kill -QUIT {pid}"
            )
        time.sleep(0.02)


def _pid_file(data: Path) -> int | None:
    try:
        return int((data / "postmaster.pid").read_text().partition("\n")[0])
    except (FileNotFoundError, ValueError):
        return None


def _serves(pid: int, data: Path) -> bool:
    return str(data) in _command_line(pid)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _command_line(pid: int) -> str:
    """Return the arguments of a live process; nothing for one that has ended, reaped or not."""
    if Path("/proc/self/cmdline").exists():
        try:
            return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
        except OSError:
            return ""
    command = ["ps", "-ww", "-o", "args=", "-p", str(pid)]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout
