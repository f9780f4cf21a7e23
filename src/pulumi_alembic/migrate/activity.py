"""Progress of a running revision, observed over a second connection: its statement, who blocks it, index builds."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING

import psycopg

from pulumi_alembic.database.connection import log_in
from pulumi_alembic.database.sessions import Session, blocking
from pulumi_alembic.errors import DatabaseError
from pulumi_alembic.output.redact import redact

if TYPE_CHECKING:
    from pulumi_alembic.database.connection import Connection

__all__ = ["Watch", "index_progress", "one_line"]

_PROGRESS = """
SELECT phase, blocks_done, blocks_total, tuples_done, tuples_total, lockers_done, lockers_total
FROM pg_stat_progress_create_index WHERE pid = %s
"""


def index_progress(connection: Connection, pid: int) -> str | None:
    """Return the phase and the percentage of an index build, such as `building index: scanning table, 43 %`.

    Returns:
        None if the session with the process id `pid` builds no index.

    """
    row = connection.execute(_PROGRESS, [pid]).fetchone()
    if row is None:
        return None
    phase, *counts = row
    for done, total in zip(counts[::2], counts[1::2], strict=True):
        if total:
            return f"{phase}, {min(100 * done // total, 100)} %"
    return str(phase)


_SAY = 1.0  # seconds between two texts
_SAY_AGAIN = 10.0  # seconds until a text is repeated if only its elapsed time has changed
_WIDTH = 72

_DOES = """
SELECT state = 'active', query, extract(epoch FROM clock_timestamp() - query_start)::float, wait_event_type = 'Lock'
FROM pg_stat_get_activity(%s)
"""


class Watch:
    """Report in one line what the running revision does: at most once a second, and only what has changed.

    A thread looks at the session over a connection of its own. It starts only if a revision takes longer than
    `interval`. An error in this thread does not fail the migration.

    Args:
        url: the database of the migration.
        tell: gets each line, in the thread.
        interval: seconds between two looks.

    Attributes:
        blockers: the sessions that the revision waited for last.

    """

    def __init__(self, url: str, tell: Callable[[str], None], interval: float) -> None:
        self._url = url
        self._tell = tell
        self._interval = interval
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._connection: Connection | None = None
        self._pid = 0
        self._name = ""
        self._begun = self._said = 0.0
        self._known: tuple[object, ...] = ()
        self.blockers: tuple[Session, ...] = ()

    def __enter__(self) -> Watch:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def session(self, pid: int) -> None:
        """Look at the session with this process id from now on."""
        self._pid = pid

    def revision(self, name: str) -> None:
        """Note that this revision begins to run, and start the thread with the first one."""
        if name != self._name:
            self._name, self.blockers = name, ()
        self._begun = time.monotonic()
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="watch", daemon=True)
            self._thread.start()

    def _work(self) -> None:
        while not self._stop.wait(self._interval):
            if time.monotonic() - self._begun < self._interval:
                continue
            try:
                self._look()
            except (psycopg.Error, DatabaseError):
                self._disconnect()
                self._stop.wait(_SAY)
        self._disconnect()

    def _look(self) -> None:
        if self._connection is None:
            self._connection = log_in(self._url, "alembic watch", autocommit=True)
        row = self._connection.execute(_DOES, [self._pid]).fetchone()
        if row is None or not row[0]:
            return
        _, query, seconds, waiting = row
        blockers = blocking(self._connection, self._pid) if waiting else ()
        self.blockers = blockers or self.blockers
        from pulumi_alembic.migrate.blocks.pauses import MARK

        if query.startswith(MARK):
            return
        progress = index_progress(self._connection, self._pid)
        state = (query, *(blocker.pid for blocker in blockers), progress)
        now = time.monotonic()
        if now - self._begun < _SAY or now - self._said < (_SAY if state != self._known else _SAY_AGAIN):
            return
        self._say(
            state,
            f"{self._name}: {one_line(query)} ({max(seconds, 0):.0f} s)"
            + (f", {progress}" if progress else "")
            + (f", waiting for {' and '.join(map(str, blockers))}" if blockers else ""),
        )

    def retries(self, text: str, again: str) -> None:
        """Report that the revision is tried again, unless the same blockers were reported less than 10 seconds ago.

        Args:
            text: why the last attempt ended.
            again: how long or when it is tried again.

        """
        state = ("retries", *(blocker.pid for blocker in self.blockers))
        if state != self._known or time.monotonic() - self._said >= _SAY_AGAIN:
            self._say(state, f"{self._name}: {text}; {again}")

    def _say(self, state: tuple[object, ...], text: str) -> None:
        self._said, self._known = time.monotonic(), state
        self._tell(text)

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def one_line(statement: str) -> str:
    """Return the beginning of a statement on one line, without the literal after PASSWORD."""
    line = " ".join(redact(statement).split())
    return line if len(line) <= _WIDTH else f"{line[:_WIDTH]}…"
