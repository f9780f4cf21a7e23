"""Which failures of a revision are worth another attempt, and for how long."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING

import psycopg
import sqlalchemy.exc

from pulumi_alembic.errors import MigrationError
from pulumi_alembic.policy import Policy

if TYPE_CHECKING:
    from pulumi_alembic.database.connection import Aborted

__all__ = ["Retries", "busy", "caught", "connection_lost", "server_error"]

_BUSY = {"55P03", "40P01", "40001"}
"""A lock that was not to be had in time, a deadlock, two transactions that cannot both be serialized: all was undone,
and the same again may succeed."""

_SHUTDOWN = ("57P", "08")
"""The server ended the session, or the connection broke."""

_PAUSE = (0.4, 0.8)
"""Seconds between two attempts: long enough for those who queued behind one to be served, short enough to be through
within a second of the blocker's end, and drawn again, so that two do not meet again and again."""


class Retries:
    """A revision is tried again for as long as the policy's `lock_deadline` lasts, counted from its first failure.

    After a lost connection it is tried again once: a revision whose statement brings the server down shall not do so
    for five minutes.
    """

    def __init__(self, policy: Policy, clock: Callable[[], float] = time.monotonic) -> None:
        self._policy = policy
        self._clock = clock
        self._revision: Hashable = None
        self._begun = 0.0
        self._failed: float | None = None
        self._waits: float | None = None
        self._lost = False
        self.attempts = 0

    def begin(self, revision: Hashable) -> None:
        """An attempt at `revision` begins; another one than before has all of its time before it."""
        if revision != self._revision or self.attempts == 0:
            self._revision, self._begun = revision, self._clock()
            self._failed, self._lost, self.attempts = None, False, 0
        self._waits = None
        self.attempts += 1

    def wait(self, *, begins: bool) -> None:
        """A wait for locks begins, before any work, or ends with them; one that fails counts from its beginning."""
        self._waits = self._clock() if begins else None

    @property
    def waited(self) -> float:
        """Seconds since the first attempt at the revision began."""
        return self._clock() - self._begun

    @property
    def left(self) -> float:
        """Seconds until the deadline; negative behind it. Work that took long and then failed has it all before it."""
        since = self._waits if self._failed is None else self._failed
        return self._policy.lock_deadline - (0.0 if since is None else self._clock() - since)

    def pause(self, error: BaseException) -> float | None:
        """Seconds until the next attempt after `error`, which undid all of this one; None if there is none."""
        if self._failed is None:
            self._failed = self._clock() if self._waits is None else self._waits
        if connection_lost(error):
            again, self._lost = not self._lost, True
            return 0.0 if again else None
        if not busy(error) or self.left <= 0:
            return None
        return min(random.uniform(*_PAUSE), self.left)  # noqa: S311 - not a secret


def busy(error: BaseException) -> bool:
    """Whether `error` is that others were in the way, who may be gone the next time."""
    server = server_error(error)
    return server is not None and server.sqlstate in _BUSY


def connection_lost(error: BaseException) -> bool:
    """Whether `error` says that the session is gone, and so nothing of what became of its last statement."""
    server = server_error(error)
    # Without a code it is psycopg's own: of a connection an OperationalError, of a misused cursor another one.
    if not isinstance(server, psycopg.OperationalError):
        return False
    return server.sqlstate is None or server.sqlstate.startswith(_SHUTDOWN)


def server_error(error: BaseException) -> psycopg.Error | None:
    """The driver's error that `error` is or that SQLAlchemy has wrapped in it; None for any other."""
    inner = error.orig if isinstance(error, sqlalchemy.exc.DBAPIError) else error
    return inner if isinstance(inner, psycopg.Error) else None


def caught(error: BaseException, aborted: Aborted | None) -> Aborted | None:
    """What `aborted` the transaction, if the script caught that and so ended with `error`, a later one."""
    later = aborted is not None and aborted.error is not server_error(error)
    return aborted if later and not isinstance(error, MigrationError) and not connection_lost(error) else None
