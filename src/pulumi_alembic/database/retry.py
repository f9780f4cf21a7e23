"""Decide which failures of a revision are tried again, and for how long."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING

import psycopg

from pulumi_alembic.errors import MigrationError
from pulumi_alembic.policy import Policy

if TYPE_CHECKING:
    from pulumi_alembic.database.connection import Aborted

__all__ = ["Retries", "busy", "caught", "connection_lost", "server_error"]

_BUSY = {"55P03", "40P01", "40001"}
"""Lock timeout, deadlock and serialization failure: everything was rolled back, and the next attempt can succeed."""

_SHUTDOWN = ("57P", "08")
"""The server ended the session, or the connection broke."""

_PAUSE = (0.4, 0.8)
"""Limits of the seconds between two attempts, which are drawn at random.

Sessions that queued behind an attempt are served meanwhile. An attempt follows within a second of the blocker's end.
"""


class Retries:
    """Attempts at a revision until the policy's `lock_deadline`, counted from the first failure.

    After a lost connection there is only one more attempt, so that a statement that crashes the server does not do so
    for five minutes.

    Attributes:
        attempts: at the current revision.

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
        """Begin an attempt at `revision`. A new revision has the whole time again."""
        if revision != self._revision or self.attempts == 0:
            self._revision, self._begun = revision, self._clock()
            self._failed, self._lost, self.attempts = None, False, 0
        self._waits = None
        self.attempts += 1

    def wait(self, *, begins: bool) -> None:
        """Begin or end a wait for locks before any work. If it fails, the deadline counts from its beginning."""
        self._waits = self._clock() if begins else None

    @property
    def waited(self) -> float:
        """Seconds since the first attempt at the revision began."""
        return self._clock() - self._begun

    @property
    def left(self) -> float:
        """Seconds until the deadline, negative after it.

        The time of an attempt's work before it failed does not count.
        """
        since = self._waits if self._failed is None else self._failed
        return self._policy.lock_deadline - (0.0 if since is None else self._clock() - since)

    def pause(self, error: BaseException) -> float | None:
        """Return the seconds until the next attempt after `error`, or None if there is none."""
        if self._failed is None:
            self._failed = self._clock() if self._waits is None else self._waits
        if connection_lost(error):
            again, self._lost = not self._lost, True
            return 0.0 if again else None
        if not busy(error) or self.left <= 0:
            return None
        return min(random.uniform(*_PAUSE), self.left)  # noqa: S311 - not a secret


def busy(error: BaseException) -> bool:
    """Return whether other sessions caused `error`, so that the next attempt can succeed."""
    server = server_error(error)
    return server is not None and server.sqlstate in _BUSY


def connection_lost(error: BaseException) -> bool:
    """Return whether the session was lost, so that the effect of its last statement is unknown."""
    server = server_error(error)
    # An error without a code is psycopg's own. One of the connection is an OperationalError.
    if not isinstance(server, psycopg.OperationalError):
        return False
    return server.sqlstate is None or server.sqlstate.startswith(_SHUTDOWN)


def server_error(error: BaseException) -> psycopg.Error | None:
    """Return the driver's error that `error` is, or that SQLAlchemy has wrapped. None for any other."""
    # By its attribute: whoever runs no revision does not import SQLAlchemy.
    inner = getattr(error, "orig", None) or error
    return inner if isinstance(inner, psycopg.Error) else None


def caught(error: BaseException, aborted: Aborted | None) -> Aborted | None:
    """Return what `aborted` the transaction, if the script caught that and ended with `error` later. None otherwise."""
    later = aborted is not None and aborted.error is not server_error(error)
    return aborted if later and not isinstance(error, MigrationError) and not connection_lost(error) else None
