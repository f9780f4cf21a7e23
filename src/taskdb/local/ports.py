"""TCP ports on loopback."""

from __future__ import annotations

import random
import socket

from taskdb.errors import TaskdbError
from taskdb.local.cluster import HOST

__all__ = ["free_port", "is_free"]

# Below the ports that systems hand out for outgoing connections (Linux from 32768, macOS and BSD from 49152).
PORTS = range(20000, 32000)


def is_free(port: int) -> bool:
    """Whether a server could listen on `port` of the loopback address now."""
    with socket.socket() as probe:
        # As PostgreSQL does it: connections of a server that just stopped do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def free_port() -> int:
    """Pick a port that nothing listens on, at random, so that two callers at once get different ones."""
    for port in random.sample(PORTS, 100):
        if is_free(port):
            return port
    raise TaskdbError(f"No free port found on {HOST}: name one with taskdb server start --port")
