"""Messages between processes: each is JSON values in a line."""

from __future__ import annotations

import json
import os
from collections import deque
from typing import Any

__all__ = ["Lines", "write"]

_CHUNK = 1 << 16


class Lines:
    """What was written to a file descriptor, line by line; `ended` where nobody can write to it any more."""

    def __init__(self, source: int) -> None:
        self._source = source
        self._rest = b""
        self._ready: deque[bytes] = deque()
        self.ended = False

    def next(self) -> bytes:
        """The next line; empty at the end."""
        while not self._ready and not self.ended:
            self.read()
        return self._ready.popleft() if self._ready else b""

    def read(self) -> None:
        """Wait for more, of which `taken` and `next` have what is complete."""
        try:
            chunk = os.read(self._source, _CHUNK)
        except ConnectionResetError:
            chunk = b""
        self.ended = not chunk
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        self._ready.extend(lines)

    def taken(self) -> list[bytes]:
        """What is complete by now, each line once."""
        lines = list(self._ready)
        self._ready.clear()
        return lines


def write(target: int, message: dict[str, Any] | bytes) -> None:
    """Write a message, or a line as it was read. Raises OSError where nobody reads any more."""
    data = (message if isinstance(message, bytes) else json.dumps(message).encode()) + b"\n"
    while data:
        data = data[os.write(target, data) :]
