"""Files that are either whole or as they were, also after a crash of the process or the machine."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from pulumi_embedded.errors import EngineError

__all__ = ["create_held", "hold", "keep_backup", "remove_leftovers", "write_atomically"]


def write_atomically(path: Path, content: bytes) -> None:
    """Replaces the file by temporary file, fsync and rename; after a failure the old content stands."""
    with _told(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = _temporary(path)
        try:
            with temporary.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
        _sync_folder(path.parent)


def create_held(path: Path, content: Callable[[bool], bytes]) -> int:
    """Makes a file that does not exist yet, and no other beside it at any moment; gives its descriptor.

    The operating system holds it (flock) until the descriptor is closed here and in the processes that inherited it,
    however they end. `content` is told whether it does: not every file system can.
    """
    with _told(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
        try:
            os.write(descriptor, content(hold(descriptor)))
        except BaseException:
            os.close(descriptor)
            path.unlink(missing_ok=True)
            raise
        return descriptor


def hold(descriptor: int) -> bool:
    """Whether the file could be held; False where another process holds it, or the file system cannot."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def keep_backup(path: Path, backup: Path) -> None:
    """Makes `backup` hold what `path` holds now; a hard link where the file system has them, so it costs no copy."""
    with _told(backup):
        if not path.exists():
            return
        temporary = _temporary(backup)
        temporary.unlink(missing_ok=True)
        try:
            try:
                temporary.hardlink_to(path)
            except OSError:
                shutil.copyfile(path, temporary)
            temporary.replace(backup)
        finally:
            # Renaming one link of a file to another of it does nothing.
            temporary.unlink(missing_ok=True)


def remove_leftovers(path: Path) -> None:
    """Removes the temporary files of processes that were killed while they wrote `path` or its backup."""
    for leftover in path.parent.glob(f".{path.name}.*tmp"):
        leftover.unlink(missing_ok=True)


def _temporary(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}.tmp")


@contextlib.contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise EngineError(f"{path} cannot be written: {error.strerror or error}") from None


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
