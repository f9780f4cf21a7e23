"""Messages between processes, as JSON values in lines."""

from __future__ import annotations

import json
import os
from collections import deque
from typing import Any

__all__ = ["Lines", "write"]

_CHUNK = 1 << 16


class Lines:
    """Reads a file descriptor line by line. `ended` is whether all writers have closed it."""

    def __init__(self, source: int) -> None:
        self._source = source
        self._rest = b""
        self._ready: deque[bytes] = deque()
        self.ended = False

    def next(self) -> bytes:
        """Wait for the next line. Empty at the end."""
        while not self._ready and not self.ended:
            self.read()
        return self._ready.popleft() if self._ready else b""

    def read(self) -> None:
        """Wait for more data, whose complete lines `taken` and `next` return."""
        try:
            chunk = os.read(self._source, _CHUNK)
        except ConnectionResetError:
            chunk = b""
        self.ended = not chunk
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        self._ready.extend(lines)

    def taken(self) -> list[bytes]:
        """Return the complete lines that were not returned yet."""
        lines = list(self._ready)
        self._ready.clear()
        return lines


def write(target: int, message: dict[str, Any] | bytes) -> None:
    """Write a message, or a line as it was read. Raises OSError if the reader is gone."""
    data = (message if isinstance(message, bytes) else json.dumps(message).encode()) + b"\n"
    while data:
        data = data[os.write(target, data) :]
