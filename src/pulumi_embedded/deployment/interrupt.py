"""Handle Ctrl-C: the first one finishes the running steps and stops, the second one ends at once."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

from pulumi_embedded.model.events import EventSink, SystemMessage
from pulumi_embedded.model.options import Cancellation

__all__ = ["interruptible"]

# Pulumi CLI 3.260.
_CANCELLED: Final = 8


@contextmanager
def interruptible(cancellation: Cancellation, sink: EventSink, abandon: Callable[[], None]) -> Iterator[None]:
    """Turn SIGINT and SIGTERM into a cancellation while the operation runs. A second signal abandons it.

    Steps that were running when it was abandoned remain in the state as pending.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def on_signal(number: int, frame: FrameType | None) -> None:
        if cancellation.by_user:
            abandon()
            _leave()
        # In another thread, because the interrupted one can hold the display's lock.
        threading.Thread(target=announce, daemon=True).start()

    def announce() -> None:
        cancellation.cancel()
        sink(
            SystemMessage(
                "^C received; cancelling. If you would like to terminate immediately, press ^C again.\n"
                "Note that terminating immediately may lead to orphaned resources and other inconsistencies."
            )
        )

    before = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _leave() -> None:
    """End this process without using the display, which can be in the middle of a line."""
    if sys.stdout.isatty():
        # A live display hides the cursor.
        os.write(1, b"\x1b[?25h\n")
    os.write(2, b"error: the operation was cancelled\n")
    os._exit(_CANCELLED)
