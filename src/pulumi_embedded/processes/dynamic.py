"""Run the SDK's plugin for dynamic providers, with the modules of its providers loaded.

This is a program in the program's virtual environment. Its arguments are the path of the socket to listen on, the names
of the modules, and the engine's address. It imports nothing of this package, so that the Pulumi SDK is enough.
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
    """Load the modules before the plugin prints its address, so that no call waits for them."""
    # Loaded modules stay until the end, so collections in them would be useless.
    gc.disable()
    # As with `python -m pulumi.dynamic`, providers are also found in the program's directory.
    sys.path.insert(0, os.getcwd())  # noqa: PTH109 - as a text
    import grpc
    import pulumi.dynamic  # noqa: F401

    with _standard_output_free():
        for name in sys.argv[2:-1]:
            # A module that cannot be imported is reported by the calls that need it.
            with suppress(Exception, SystemExit):
                importlib.import_module(name)
    gc.freeze()
    gc.enable()
    _listen_on(f"unix:{sys.argv[1]}", grpc)
    runpy.run_module("pulumi.dynamic", run_name="__main__", alter_sys=True)


def _listen_on(address: str, grpc: Any) -> None:
    """Let the next gRPC server listen on the address, and print the address instead of a port.

    The SDK (3.272) listens on a port of the loopback interface, which every user of the machine can call.
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
    """Redirect a module's output to standard error, because the first line of standard output is the address."""
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)


if __name__ == "__main__":
    main()
