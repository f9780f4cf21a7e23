"""Write files completely or not at all, even if the process or the machine crashes.

Only this user can read them, whatever the umask is. Files have the mode 0600, and new directories 0700.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Final

from pulumi_embedded.errors import EngineError

__all__ = [
    "close_to_others",
    "create_held",
    "hold",
    "keep_backup",
    "open_private",
    "remove_leftovers",
    "write_atomically",
    "write_private",
]

_FILE: Final = 0o600
_FOLDER: Final = 0o700
_OTHERS: Final = 0o077


def write_atomically(path: Path, content: bytes, *, mode: int = _FILE) -> None:
    """Replace the file by a temporary file, fsync and rename. After a failure it has the old content."""
    with _told(path):
        _make_folder(path.parent)
        temporary = _temporary(path)
        try:
            temporary.unlink(missing_ok=True)
            with _new(temporary, mode) as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
        _sync_folder(path.parent)


def create_held(path: Path, content: Callable[[bool], bytes]) -> int:
    """Create a new file, hold it, and return its descriptor.

    The operating system holds it (flock) until all processes that inherited the descriptor have closed it or ended.

    Args:
        path: The file, which must not exist.
        content: Returns the content. It receives whether the file is held, because some file systems cannot hold files.

    Raises:
        EngineError: The file exists or cannot be written.

    """
    with _told(path):
        _make_folder(path.parent)
        descriptor = _open_new(path, _FILE)
        try:
            os.write(descriptor, content(hold(descriptor)))
        except BaseException:
            os.close(descriptor)
            path.unlink(missing_ok=True)
            raise
        return descriptor


def hold(descriptor: int) -> bool:
    """Return whether the file could be held. False if another process holds it, or the file system cannot."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def keep_backup(path: Path, backup: Path) -> None:
    """Give `backup` the present content of `path`, by a hard link or, if that fails, a copy."""
    with _told(backup):
        if not path.exists():
            return
        temporary = _temporary(backup)
        temporary.unlink(missing_ok=True)
        try:
            try:
                temporary.hardlink_to(path)
            except OSError:
                with path.open("rb") as old, _new(temporary) as copy:
                    shutil.copyfileobj(old, copy)
            temporary.replace(backup)
        finally:
            # If both names are links to the same file, rename does nothing.
            temporary.unlink(missing_ok=True)


def remove_leftovers(path: Path) -> None:
    """Remove the temporary files of processes that were killed while they wrote `path` or its backup."""
    for leftover in path.parent.glob(f".{path.name}.*tmp"):
        leftover.unlink(missing_ok=True)


def write_private(path: Path, text: str) -> bool:
    """Write a file, or a device such as `/dev/stdout`. Return whether other users could read the old file."""
    was_open = path.is_file() and bool(path.stat().st_mode & _OTHERS)
    with _told(path), open_private(path) as file:
        file.write(text)
    return was_open


def open_private(path: str | Path) -> IO[str]:
    """Open a file or a device for writing, and make a file private. Raises OSError."""
    file = open(path, "w", encoding="utf-8", opener=lambda name, flags: os.open(name, flags, _FILE))  # noqa: SIM115 - the caller closes it
    if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        os.fchmod(file.fileno(), _FILE)
    return file


def close_to_others(folder: Path) -> int:
    """Remove other users' rights on a directory and its contents, and return how many entries had such rights.

    A private directory is not searched, because no other user can reach its contents. Raises OSError if another user
    owns it.
    """
    if not folder.is_dir() or not folder.stat().st_mode & _OTHERS:
        return 0
    count = 1
    for parent, folders, files in os.walk(folder):
        for path, mode in [(Path(parent, name), _FOLDER) for name in folders] + [
            (Path(parent, name), _FILE) for name in files
        ]:
            status = path.lstat()
            if status.st_mode & _OTHERS and not stat.S_ISLNK(status.st_mode):
                path.chmod(mode)
                count += 1
    folder.chmod(_FOLDER)
    return count


def _make_folder(folder: Path) -> None:
    missing = [directory for directory in (folder, *folder.parents) if not directory.exists()]
    for directory in reversed(missing):
        with contextlib.suppress(FileExistsError):
            directory.mkdir()
            directory.chmod(_FOLDER)


def _new(path: Path, mode: int = _FILE) -> IO[bytes]:
    return os.fdopen(_open_new(path, mode), "wb")


def _open_new(path: Path, mode: int) -> int:
    descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, _FILE)
    # The umask can have removed rights.
    os.fchmod(descriptor, mode)
    return descriptor


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
