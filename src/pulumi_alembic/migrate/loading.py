"""What takes long to load stays loaded, and costs nothing more."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["for_good"]


@contextmanager
def for_good(module: str) -> Iterator[None]:
    """What is imported within the block is out of the garbage collector's sight; `module` is the last of it.

    None of it is ever garbage, and to find that out Python would go through all of it again and again: while it is
    loaded, and several times at the end of the process, which together takes a third as long as the loading itself.
    What else there is at that moment stays too, of which nothing is garbage. Nothing happens where `module` is there.
    """
    if module in sys.modules:
        yield
        return
    collects = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
        gc.freeze()
    finally:
        if collects:
            gc.enable()
