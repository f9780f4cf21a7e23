"""The migration lock: an advisory lock on a connection of its own, so that a database has one migration at a time."""

from __future__ import annotations

import random
import select
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import psycopg

from pulumi_alembic.database.connection import await_server, log_in, refusals
from pulumi_alembic.database.endpoint import refuse_read_only
from pulumi_alembic.database.sessions import Session, holding
from pulumi_alembic.database.tenant import lock_key, schema_of
from pulumi_alembic.errors import DatabaseError
from pulumi_alembic.output.tracing import measure, span

if TYPE_CHECKING:
    from pulumi_alembic.database.connection import Connection
    from pulumi_alembic.policy import Policy

__all__ = ["KEY", "Lock", "ending", "hold", "poll"]

KEY = int.from_bytes(b"alembic")
"""27422255623596387, the word `alembic` as bytes. It is the same for all tools, and each database has its own lock."""

_POLL = (0.1, 0.3)  # seconds between two tries, drawn at random so that waiting runs do not try at the same moment
_SAY_AGAIN = 30.0  # seconds


class Lock:
    """The migration lock. While it is held, no other run that asks for it migrates the database.

    A run on a tenant's schema takes a lock of the tenant, and shares that of the database. So tenants do not wait for
    each other, and a run on the database itself waits for all of them, and they for it.

    The server releases it when the connection ends, however the process died.
    """

    def __init__(self, url: str, policy: Policy, command: str, on_wait: Callable[[str], None]) -> None:
        self._url = url
        self._policy = policy
        self._command = command
        self._tell = on_wait
        self._connection: Connection | None = None
        self._taken = False

    def ensure(self) -> None:
        """Acquire the lock, or acquire it again after a lost connection.

        Wait for the holder, and report who that is.

        Raises:
            DatabaseError: `migration_wait` of the policy is over, or the server cannot be reached.

        """
        begun = time.monotonic()
        lost = self._connection is not None
        while not self.held():
            self.release()
            if lost:
                await_server(self._url, self._policy.migration_wait)
            self._connection = log_in(self._url, _application(self._command), autocommit=True)
            with refusals(self._connection):
                self._take(self._connection, begun)
            lost = True

    def held(self) -> bool:
        """Return whether the lock is still held. The server is asked only if its connection has something to read."""
        connection = self._connection
        if not self._taken or connection is None or connection.closed:
            return False
        if not select.select([connection], [], [], 0)[0]:
            return True
        try:
            connection.execute("SELECT 1")
        except psycopg.OperationalError:
            return False
        return True

    @property
    def pid(self) -> int:
        """The server's process id of the session with the lock, 0 without one."""
        return self._connection.info.backend_pid if self._connection and not self._connection.closed else 0

    def release(self) -> None:
        """Release the lock."""
        self._taken = False
        if self._connection is not None:
            self._connection.close()

    def _take(self, connection: Connection, begun: float) -> None:
        """Take the lock, unless the connection is lost meanwhile."""
        try:
            refuse_read_only(connection)
            self._wait(connection, begun)
            self._taken = True
        except psycopg.OperationalError:
            if not connection.closed:
                raise

    def _wait(self, connection: Connection, begun: float) -> None:
        schema = schema_of(connection)
        wanted = [(lock_key(schema), ""), (KEY, "_shared")] if schema else [(KEY, "")]

        def take() -> bool:
            # A lock that was taken at an earlier try stays.
            while wanted:
                key, shared = wanted[0]
                if connection.execute(f"SELECT pg_try_advisory_lock{shared}(%s)", [key]).fetchone() != (True,):
                    return False
                del wanted[0]
            return True

        def on_wait(waited: float, again: bool) -> None:
            holder = holding(connection, wanted[0][0])
            whom = str(holder) if holder else "another migration"
            if waited > self._policy.migration_wait:
                raise DatabaseError(
                    f"another migration is running, {whom}: waited {waited:.0f} s (migration_wait). Let it end"
                    f"{ending(holder)}; then: {self._command}"
                )
            if again:
                self._tell(f"waiting for another migration, {whom}")

        with span("migration lock", {"db.system.name": "postgresql", "db.namespace": connection.info.dbname}) as wait:
            waited = poll(take, on_wait, begun, _SAY_AGAIN)
            wait.add({"pulumi_alembic.waited": waited})
        measure("pulumi_alembic.migration_lock.duration", waited, {})
        if waited:
            self._tell(f"waited {waited:.1f} s for another migration, which has ended")


def poll(take: Callable[[], bool], on_wait: Callable[[float, bool], None], begun: float, say_again: float) -> float:
    """Call `take` until it has the lock, and return how many seconds that took.

    It does not wait in the server, because CREATE INDEX CONCURRENTLY would wait for such a session.

    Args:
        take: tries once.
        on_wait: called between two tries, with the seconds since `begun` and whether to report. An exception ends the
            wait.
        begun: on the monotonic clock.
        say_again: seconds between two reports.

    """
    waited, reported = 0.0, -say_again
    while not take():
        waited = time.monotonic() - begun
        again = waited - reported >= say_again
        reported = waited if again else reported
        on_wait(waited, again)
        time.sleep(random.uniform(*_POLL))  # noqa: S311 - not a secret
    return waited


def ending(holder: Session | None) -> str:
    """Return how a person ends the session with a lock, to follow `Let it end`."""
    return f", or end it: SELECT pg_terminate_backend({holder.pid})" if holder else ""


@contextmanager
def hold(url: str, policy: Policy, command: str, on_wait: Callable[[str], None]) -> Iterator[Lock]:
    """Hold the migration lock within the block. Raises as `Lock.ensure` does.

    Args:
        url: the database.
        policy: its `migration_wait` limits the wait.
        command: the command that a person repeats.
        on_wait: gets texts about whom it waits for.

    """
    lock = Lock(url, policy, command, on_wait)
    try:
        lock.ensure()
        yield lock
    finally:
        lock.release()


def _application(command: str) -> str:
    """Return the name that others see for the holder: the program and its verb, without arguments."""
    return " ".join(command.split()[:2])
