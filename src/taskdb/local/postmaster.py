"""The process that serves a data directory, from postmaster.pid and the running processes."""

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
    """Return the process id of the server that runs on `data`. None if there is none.

    After a reboot or in a new container, a stale pid file can contain the id of another program.
    """
    pid = _pid_file(data)
    return pid if pid and _serves(pid, data) else None


def forget_foreign_process(data: Path) -> None:
    """Delete the pid file if it contains the id of another program. PostgreSQL handles all other stale files.

    PostgreSQL replaces a stale pid file itself, unless the process exists and belongs to the same user.
    """
    pid = _pid_file(data)
    if pid and _is_alive(pid) and postmaster(data) is None:
        (data / "postmaster.pid").unlink()


def stop_postmaster(data: Path) -> None:
    """End the server that runs on `data`, if there is one, with its sessions. Committed transactions remain.

    Raises:
        TaskdbError: The server did not stop within STOP_SECONDS.

    """
    pid = postmaster(data)
    if pid is None:
        return
    # PostgreSQL's "fast shutdown". pg_ctl can be uninstalled by now, and it takes an ended process that
    # was not reaped, as in a container without an init, for a running one.
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
    """Return the arguments of a running process. Empty if it has ended, even if it was not reaped."""
    if Path("/proc/self/cmdline").exists():
        try:
            return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
        except OSError:
            return ""
    command = ["ps", "-ww", "-o", "args=", "-p", str(pid)]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout
