"""The directory of an operation's Unix sockets, which no other user of the machine can enter."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from pulumi_embedded.errors import EngineError

__all__ = ["address_of", "socket_folder"]

_SHORT: Final = Path("/tmp")  # noqa: S108 - mkdtemp makes a folder of its own there
# Linux (unix(7)): 108 bytes with the closing zero.
_PATH_BYTES: Final = 107
# `/plugin-` and a number.
_NAME_BYTES: Final = 16


def address_of(socket: Path) -> str:
    """Return the address of a socket as gRPC spells it."""
    return f"unix:{socket}"


@contextmanager
def socket_folder() -> Iterator[Path]:
    """Create an empty directory of mode 0700 with a short path, and remove it at the end of the block.

    It is in `$XDG_RUNTIME_DIR` if only this user can enter that, otherwise in the temporary directory. If that path is
    too long, it is in /tmp, because the path of a socket is limited to 107 bytes.

    Raises:
        EngineError: No directory can be created.

    """
    folder = _make()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _make() -> Path:
    parents = list(dict.fromkeys([Path(tempfile.gettempdir()), _SHORT]))
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    if runtime and _is_private(Path(runtime)):
        parents.insert(0, Path(runtime))
    problems = []
    for parent in parents:
        try:
            folder = Path(tempfile.mkdtemp(prefix="pulumi-", dir=parent))
        except OSError as error:
            problems.append(f"  {parent}: {error.strerror or error}")
            continue
        if len(os.fsencode(folder)) + _NAME_BYTES <= _PATH_BYTES:
            # The umask can have removed rights of the owner.
            folder.chmod(0o700)
            return folder
        folder.rmdir()
        problems.append(f"  {parent}: its path is too long for a socket")
    reasons = "\n".join(problems)
    raise EngineError(
        f"no folder can be made for the engine's sockets:\n{reasons}\nname one with a short path:\n  export TMPDIR=…"
    )


def _is_private(folder: Path) -> bool:
    """Return whether only this user can enter the directory, so that other users cannot replace its contents."""
    try:
        status = folder.stat()
    except OSError:
        return False
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid() and not status.st_mode & 0o077
