"""What a process of this package does to be there and gone quickly; for entry points, not for libraries."""

from __future__ import annotations

import atexit
import gc
import importlib.util
import sys

__all__ = ["start_quickly"]


def start_quickly() -> None:
    """Let the protocol's stubs be imported without the rest of the SDK, and the process end without a collection.

    The stubs are in `pulumi.runtime.proto`; `pulumi` itself takes longer to import than all the rest, and at the end
    its objects take 0.1 s to be collected for nothing.
    """
    for name in ("pulumi", "pulumi.runtime"):
        spec = importlib.util.find_spec(name)
        if spec is not None and name not in sys.modules:
            sys.modules[name] = importlib.util.module_from_spec(spec)
    atexit.register(gc.freeze)
