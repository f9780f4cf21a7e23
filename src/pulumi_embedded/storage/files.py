"""Files that are either whole or as they were, also after a crash of the process or the machine."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["keep_backup", "write_atomically"]


def write_atomically(path: Path, content: bytes) -> None:
    """Replaces the file by temporary file, fsync and rename; after a failure the old content stands."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    _sync_folder(path.parent)


def keep_backup(path: Path, backup: Path) -> None:
    """Makes `backup` hold what `path` holds now; a hard link, so it costs no copy."""
    if not path.exists():
        return
    temporary = backup.with_name(f".{backup.name}.{os.getpid()}.tmp")
    temporary.unlink(missing_ok=True)
    temporary.hardlink_to(path)
    temporary.replace(backup)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
