"""The plan that the preview of a command has printed, so that the update of the same command does not print it again.

Preview and update run in different plugin processes, and share the engine's process above them. A file in the
temporary directory is named after that process.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path

__all__ = ["noted", "noted_target", "remember"]

_GENERATIONS = 6
_OLD = 24 * 3600.0  # seconds


def remember(digest: str, urn: str, target: str = "") -> None:
    """Write down that the plan with this digest was printed. An error of the file system only causes a second printing.

    Args:
        digest: The digest of the plan.
        urn: The resource.
        target: The revision that the plan reaches or, for many databases, the time as of which contracts are due.

    """
    with suppress(OSError):
        file = _file(urn)
        if file is None:
            return
        for other in file.parent.iterdir():
            if time.time() - other.stat().st_mtime > _OLD:
                other.unlink()
        file.write_text(f"{digest} {target}")


def noted(urn: str) -> str:
    """Return the digest of the plan that this process's engine printed last. Empty if there is none."""
    return _noted(urn)[0]


def noted_target(urn: str) -> str:
    """Return the `target` that was remembered with that plan. Empty if there is none."""
    return _noted(urn)[1]


def _noted(urn: str) -> tuple[str, str]:
    with suppress(OSError):
        if file := _file(urn):
            digest, _, target = file.read_text().partition(" ")
            return digest, target
    return "", ""


def _file(urn: str) -> Path | None:
    """Return the file of this engine and this resource, in a directory of the user only. None without an engine."""
    engine = _engine()
    if engine is None:
        return None
    folder = Path(tempfile.gettempdir(), f"pulumi-alembic-{os.getuid()}")
    folder.mkdir(mode=0o700, exist_ok=True)
    status = folder.lstat()
    if status.st_uid != os.getuid() or status.st_mode & 0o077 or folder.is_symlink():
        raise OSError(f"{folder} is not private")
    return folder / f"{engine}-{hashlib.sha256(urn.encode()).hexdigest()[:16]}"


def _engine() -> int | None:
    """Return the process id of the `pulumi` command, or of the engine in its place, that started this plugin."""
    names = {"pulumi", os.environ.get("PULUMI_COMMAND", "pulumi")}
    pid = os.getppid()
    for _ in range(_GENERATIONS):
        parent, arguments = _process(pid)
        # The second argument is the script, if the first is its interpreter.
        if names & {Path(argument).name for argument in arguments[:2]}:
            return pid
        if parent <= 1:
            break
        pid = parent
    return None


def _process(pid: int) -> tuple[int, list[str]]:
    """Return the parent's id and the arguments of a process."""
    folder = Path("/proc", str(pid))
    if folder.exists():
        # The program's name can contain spaces and parentheses. It ends with the last parenthesis.
        parent = folder.joinpath("stat").read_text().rpartition(")")[2].split()[1]
        return int(parent), folder.joinpath("cmdline").read_bytes().decode(errors="replace").split("\0")
    listed = subprocess.run(["ps", "-o", "ppid=,args=", "-p", str(pid)], capture_output=True, text=True, check=False)
    parent, *arguments = listed.stdout.split() or ["0"]
    return int(parent), arguments
