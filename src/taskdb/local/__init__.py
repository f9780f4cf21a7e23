"""The development server: a PostgreSQL cluster on loopback, run with this machine's own programs.

As root it runs as another user, from /var/lib/taskdb; otherwise from the project's `.local`.
"""

from taskdb.local.control import Status, find, is_running, remove, start, status, stop
from taskdb.local.record import Server

__all__ = ["Server", "Status", "find", "is_running", "remove", "start", "status", "stop"]
