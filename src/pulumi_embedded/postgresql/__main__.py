"""The plugin's program: `python -m pulumi_embedded.postgresql [SOCKET] ENGINE_ADDRESS` serves, and prints its address.

Pulumi's protocol has no SOCKET: the plugin listens on a free port of the loopback interface and prints it. With the
path of a socket, it listens there and prints `unix:SOCKET`.
"""

from __future__ import annotations

import os
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from types import FrameType

from pulumi_embedded.startup import start_quickly

__all__ = ["main"]


def main() -> None:
    """Serve until SIGTERM or the end of the engine. The first line of output is the address.

    SIGINT is ignored: a terminal sends it to the engine too, and the engine decides what is cancelled.
    """
    signal.signal(signal.SIGTERM, _leave)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    engine = os.getppid()
    start_quickly()
    import grpc
    from pulumi.runtime.proto import provider_pb2_grpc

    from pulumi_embedded.postgresql.configuration import VARIABLES
    from pulumi_embedded.postgresql.connection import libpq_variables
    from pulumi_embedded.postgresql.provider import PostgresqlProvider

    # Only the configuration determines the connection, so libpq's own variables are removed.
    libpq_settings = {name: os.environ.pop(name) for name in libpq_variables() | VARIABLES if name in os.environ}
    variables = {name: value for name, value in libpq_settings.items() if name in VARIABLES}
    provider = PostgresqlProvider(variables, sys.argv[-1] if len(sys.argv) > 1 else "")
    # Pulumi sends whole stacks in one message, beyond gRPC's limit of 4 MB.
    options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
    # Enough threads for calls that wait for each other, so that a Cancel is never delayed.
    server = grpc.server(ThreadPoolExecutor(max_workers=256), options=options)
    provider_pb2_grpc.add_ResourceProviderServicer_to_server(provider, server)
    socket = f"unix:{sys.argv[1]}" if len(sys.argv) > 2 else None
    port = server.add_insecure_port(socket or "127.0.0.1:0")
    server.start()
    print(socket or port, flush=True)
    while server.wait_for_termination(timeout=1) and os.getppid() == engine:
        pass
    _leave()


def _leave(number: int = 0, frame: FrameType | None = None) -> None:
    """End at once. The server ends the sessions of closed connections, and rolls back open transactions."""
    os._exit(0)


if __name__ == "__main__":
    main()
