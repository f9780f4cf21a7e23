"""TCP ports on loopback."""

from __future__ import annotations

import random
import socket

from taskdb.errors import TaskdbError
from taskdb.local.cluster import HOST

__all__ = ["free_port", "is_free"]

# Below the ports of outgoing connections (Linux from 32768, macOS and BSD from 49152).
PORTS = range(20000, 32000)


def is_free(port: int) -> bool:
    """Return whether a server can listen on `port` of the loopback address now."""
    with socket.socket() as probe:
        # As PostgreSQL does, ignore connections of a server that has just stopped.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def free_port() -> int:
    """Return a random port that no program listens on. Two concurrent callers get different ones."""
    for port in random.sample(PORTS, 100):
        if is_free(port):
            return port
    raise TaskdbError(f"No free port found on {HOST}: name one with taskdb server start --port")
