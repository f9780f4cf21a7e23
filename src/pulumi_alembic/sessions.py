"""Other sessions of the database, as far as this role may see them: who they are, and what they do."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import psycopg

from pulumi_alembic.errors import DatabaseError

if TYPE_CHECKING:
    from pulumi_alembic.database import Connection

__all__ = ["Session", "blocking", "holding", "in_full", "naming"]

_AFTER = 1.0  # seconds before the first look, and between two
_SAY_AGAIN = 10.0  # seconds

_COLUMNS = "a.usename, a.application_name, a.state, a.query_start, clock_timestamp()"

_BLOCKING = f"""
SELECT blocker.pid, {_COLUMNS}
FROM (SELECT DISTINCT unnest(pg_blocking_pids(%s))) AS blocker (pid) LEFT JOIN pg_stat_activity a USING (pid)
ORDER BY 1
"""  # noqa: S608 - no value is put into it

_HOLDING = f"""
SELECT l.pid, {_COLUMNS}
FROM pg_locks l LEFT JOIN pg_stat_activity a USING (pid)
WHERE locktype = 'advisory' AND granted AND objsubid = 1
AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
AND (classid::bigint << 32) + objid::bigint = %s
"""  # noqa: S608


_MAY_SEE = """
SELECT CASE current_setting('role') WHEN 'none' THEN 'none' ELSE quote_ident(current_setting('role')) END,
    pg_has_role(session_user, 'pg_read_all_stats', 'member')
"""


@dataclass(frozen=True)
class Session:
    """One session at the moment `seen`; `state` and `since`, the start of its last query, are None where hidden.

    Its query is not kept: it may hold values, and this is shown to people.
    """

    pid: int
    user: str | None
    application: str | None
    state: str | None
    since: datetime | None
    seen: datetime

    def __str__(self) -> str:
        """`pid 4242 (user app, application psql, idle in transaction, last query at 10:31:02, 12 s ago)`."""
        if self.pid == 0:
            return "a prepared transaction (see pg_prepared_xacts)"
        return f"pid {self.pid} ({', '.join(self._known())})"

    def _known(self) -> list[str]:
        known = [f"user {self.user}"] if self.user else []
        known += [f"application {self.application}"] if self.application else []
        if self.since is None:
            return [*known, "what it does is hidden from this role"]
        known += [self.state] if self.state else []
        age = (self.seen - self.since).total_seconds()
        return [*known, f"last query at {self.since:%H:%M:%S}, {age:.0f} s ago"]


@contextmanager
def in_full(connection: Connection) -> Iterator[None]:
    """Within the block the sessions and replicas of others show all that they are, where an admin lets this login see.

    That is by GRANT pg_read_all_stats TO it. The role is taken on, for a login may be one that inherits nothing. Else
    the login's own sessions do, which the role that it becomes may not see. The connection is in autocommit mode.
    """
    [(role, member)] = connection.execute(_MAY_SEE).fetchall()
    connection.execute(f"SET ROLE {'pg_read_all_stats' if member else 'none'}".encode())
    try:
        yield
    finally:
        connection.execute(f"SET ROLE {role}".encode())


def blocking(connection: Connection, pid: int) -> tuple[Session, ...]:
    """Whom the session `pid` waits for at this moment; none where it does not wait for a lock."""
    with in_full(connection):
        return tuple(Session(*row) for row in connection.execute(_BLOCKING, [pid]))


def holding(connection: Connection, key: int) -> Session | None:
    """Who holds the advisory lock `key` of this database; None where nobody does."""
    with in_full(connection):
        row = connection.execute(_HOLDING, [key]).fetchone()
    return Session(*row) if row else None


@contextmanager
def naming(connection: Connection, tell: Callable[[str], None]) -> Iterator[None]:
    """Within the block one statement runs: `tell` for whom it waits, if it waits for longer than a second.

    Raises DatabaseError, with the sessions that it waited for, if its lock_timeout ends it.
    """
    ended, whom = threading.Event(), list[Session]()
    begun = time.monotonic()
    watch = threading.Timer(_AFTER, _watch, [connection, tell, ended, whom])
    watch.daemon = True
    watch.start()
    try:
        yield
    except psycopg.errors.LockNotAvailable as error:
        blocked = " and ".join(map(str, whom)) or "a session that was gone when looked for"
        end = "".join(f"\n  SELECT pg_terminate_backend({each.pid})" for each in whom if each.pid)
        raise DatabaseError(
            f"{error.diag.message_primary}: waited {time.monotonic() - begun:.0f} s for {blocked}. "
            f"Let it end{f', or end it:{end}' if end else ''}"
        ) from None
    finally:
        ended.set()
        watch.cancel()


def _watch(connection: Connection, tell: Callable[[str], None], ended: threading.Event, whom: list[Session]) -> None:
    pid, info = connection.info.backend_pid, connection.info
    with (
        suppress(psycopg.Error),
        psycopg.connect(info.dsn, password=info.password, application_name="alembic watch", autocommit=True) as beside,
    ):
        said, known = 0.0, None
        while not ended.is_set():
            if found := blocking(beside, pid):
                whom[:] = found
                pids = [each.pid for each in found]
                if pids != known or time.monotonic() - said >= _SAY_AGAIN:
                    said, known = time.monotonic(), pids
                    tell(f"waits for {' and '.join(map(str, found))}")
            ended.wait(_AFTER)
