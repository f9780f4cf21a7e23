"""The development server: a PostgreSQL cluster on loopback, run with the programs of this machine.

Under root, it runs as another user in /var/lib/taskdb. Otherwise it runs in the project's `.local`.
"""

from taskdb.local.control import Status, find, is_running, remove, start, status, stop
from taskdb.local.record import Server

__all__ = ["Server", "Status", "find", "is_running", "remove", "start", "status", "stop"]
