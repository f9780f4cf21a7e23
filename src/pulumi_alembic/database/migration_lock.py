"""One migration at a time: an advisory lock of the database, on a connection of its own."""

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
from pulumi_alembic.errors import DatabaseError
from pulumi_alembic.output.tracing import measure, span

if TYPE_CHECKING:
    from pulumi_alembic.database.connection import Connection
    from pulumi_alembic.policy import Policy

__all__ = ["KEY", "Lock", "ending", "hold", "poll"]

KEY = int.from_bytes(b"alembic")
"""27422255623596387, the word `alembic` as bytes: the same for all that migrate, in every database its own lock."""

_POLL = (0.1, 0.3)  # seconds between two tries, drawn again each time: those who wait shall not come all at once
_SAY_AGAIN = 30.0  # seconds


class Lock:
    """While it is held, nobody else who asks for it migrates the database.

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
        """Hold it, for the first time or because its connection was lost; wait for whoever holds it, and say for whom.

        Raises DatabaseError after the policy's `migration_wait`, or where the server cannot be reached.
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
        """Whether it still is. Asks the server only where its connection has something to say: that it ended."""
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
        """The server's number of the session that holds it; 0 if there is none."""
        return self._connection.info.backend_pid if self._connection and not self._connection.closed else 0

    def release(self) -> None:
        """Let others migrate."""
        self._taken = False
        if self._connection is not None:
            self._connection.close()

    def _take(self, connection: Connection, begun: float) -> None:
        """Take it, unless the connection is lost while it waits."""
        try:
            refuse_read_only(connection)
            self._wait(connection, begun)
            self._taken = True
        except psycopg.OperationalError:
            if not connection.closed:
                raise

    def _wait(self, connection: Connection, begun: float) -> None:
        def take() -> bool:
            return connection.execute("SELECT pg_try_advisory_lock(%s)", [KEY]).fetchone() == (True,)

        def on_wait(waited: float, again: bool) -> None:
            holder = holding(connection, KEY)
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
    """Try until `take` has the lock, and return how long that took; it is never waited for in the server.

    Between two tries `on_wait` gets how many seconds it waits since `begun`, and whether it is time to say for whom.
    What it raises ends the wait. A session that waits in the server holds up CREATE INDEX CONCURRENTLY, which waits
    for it.
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
    """How a person ends the session that holds a lock, behind `Let it end`."""
    return f", or end it: SELECT pg_terminate_backend({holder.pid})" if holder else ""


@contextmanager
def hold(url: str, policy: Policy, command: str, on_wait: Callable[[str], None]) -> Iterator[Lock]:
    """The lock, held from here on, released at the end of the block; raises as `Lock.ensure` does.

    `command` is what a person repeats, `on_wait` gets for whom it waits, now and then.
    """
    lock = Lock(url, policy, command, on_wait)
    try:
        lock.ensure()
        yield lock
    finally:
        lock.release()


def _application(command: str) -> str:
    """What others see of the holder: the program and its verb, and none of the arguments."""
    return " ".join(command.split()[:2])
