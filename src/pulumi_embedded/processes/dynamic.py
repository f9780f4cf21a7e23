"""Runs the SDK's plugin for dynamic providers, with the modules loaded that its providers are made of.

Started as a process of its own in the program's virtual environment. Its arguments: the path of the socket to
listen on, the modules' names, the engine's address. It imports nothing of this package, so that it also runs where only
the Pulumi SDK is installed.
"""

from __future__ import annotations

import gc
import importlib
import os
import runpy
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

__all__ = ["main"]


def main() -> None:
    """Loads, before the plugin tells its port: what is loaded by then, no call has to wait for."""
    # What is loaded stays to the end: collections would look through it for nothing.
    gc.disable()
    # As `python -m pulumi.dynamic` has it: providers are looked for beside the program too.
    sys.path.insert(0, os.getcwd())  # noqa: PTH109 - as a text
    import grpc
    import pulumi.dynamic  # noqa: F401

    with _standard_output_free():
        for name in sys.argv[2:-1]:
            # A module that is gone, or fails, matters only to the calls that need it: they say so.
            with suppress(Exception, SystemExit):
                importlib.import_module(name)
    gc.freeze()
    gc.enable()
    _listen_on(f"unix:{sys.argv[1]}", grpc)
    runpy.run_module("pulumi.dynamic", run_name="__main__", alter_sys=True)


def _listen_on(address: str, grpc: Any) -> None:
    """Let the next server listen on the address; it prints that where it would print its port.

    The SDK (3.272) asks for a port of the loopback interface, which every user of the machine could call.
    """
    make = grpc.server

    def server(*arguments: Any, **options: Any) -> Any:
        grpc.server = make
        grpc_server = make(*arguments, **options)
        listen = grpc_server.add_insecure_port

        def add_insecure_port(*_: str, **__: str) -> str:
            listen(address)
            return address

        grpc_server.add_insecure_port = add_insecure_port
        return grpc_server

    grpc.server = server


@contextmanager
def _standard_output_free() -> Iterator[None]:
    """The first line on standard output is the port: what a module prints goes to standard error."""
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)


if __name__ == "__main__":
    main()
