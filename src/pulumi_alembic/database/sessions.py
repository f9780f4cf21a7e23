"""Other sessions of the database, as far as this role can see them: who they are, what they do, who blocks whom."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Protocol

import psycopg

__all__ = [
    "Patience",
    "Session",
    "Wait",
    "blocking",
    "holding",
    "in_full",
    "locking",
    "looking",
    "naming",
    "others",
    "patience",
    "those",
    "waits",
]

Connection = psycopg.Connection[tuple[Any, ...]]

_AFTER = 1.0  # seconds before the first look, and between two looks
_SAY_AGAIN = 10.0  # seconds

_COLUMNS = "a.usename, a.application_name, a.state, a.query_start, clock_timestamp()"

_BLOCKING = f"""
SELECT blocker.pid, {_COLUMNS}
FROM (SELECT DISTINCT unnest(pg_blocking_pids(%s))) AS blocker (pid) LEFT JOIN pg_stat_activity a USING (pid)
ORDER BY 1
"""  # noqa: S608 - no value is put into it

_THOSE = _BLOCKING.replace("pg_blocking_pids(%s)", "%s::int[]")

_OTHERS = """
SELECT EXISTS (SELECT FROM pg_catalog.pg_stat_get_activity(NULL) AS a JOIN pg_catalog.pg_database d ON d.oid = a.datid
    WHERE datname = pg_catalog.current_database() AND NOT a.pid = ANY (%s))
OR EXISTS (SELECT FROM pg_catalog.pg_prepared_xacts WHERE database = pg_catalog.current_database())
"""

_LOCKING = """
SELECT DISTINCT coalesce(l.pid, 0) FROM pg_catalog.pg_locks l JOIN pg_catalog.pg_database d ON d.oid = l.database
WHERE locktype = 'relation' AND granted AND datname = pg_catalog.current_database() AND mode = ANY (%s)
    AND l.pid IS DISTINCT FROM pg_catalog.pg_backend_pid() AND relation = ANY (%s::text[]::pg_catalog.regclass[])
"""

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
    """One session at a moment. Its query is not stored, because it can contain values.

    Attributes:
        pid: the server's process id, 0 for a prepared transaction.
        state: None if hidden from this role, like `since`.
        since: when its last query began.
        seen: when it was looked at.

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
        parts = [f"user {self.user}"] if self.user else []
        parts += [f"application {self.application}"] if self.application else []
        if self.since is None:
            return [*parts, "what it does is hidden from this role"]
        parts += [self.state] if self.state else []
        age = (self.seen - self.since).total_seconds()
        return [*parts, f"last query at {self.since:%H:%M:%S}, {age:.0f} s ago"]


@contextmanager
def in_full(connection: Connection) -> Iterator[None]:
    """Show all details of other sessions and replicas within the block, as far as an admin allows that to this login.

    A login gets them by GRANT pg_read_all_stats. That role is set explicitly, because a login can be NOINHERIT.
    Otherwise the login's own role shows at least its own sessions. The connection must be in autocommit mode.
    """
    [(role, member)] = connection.execute(_MAY_SEE).fetchall()
    connection.execute(f"SET ROLE {'pg_read_all_stats' if member else 'none'}".encode())
    try:
        yield
    finally:
        connection.execute(f"SET ROLE {role}".encode())


def blocking(connection: Connection, pid: int) -> tuple[Session, ...]:
    """Return the sessions that the session `pid` waits for now. Empty if it waits for no lock."""
    with in_full(connection):
        return tuple(Session(*row) for row in connection.execute(_BLOCKING, [pid]))


def others(connection: Connection, own: Sequence[int]) -> bool:
    """Return whether other sessions than these, or prepared transactions, are in the database."""
    return connection.execute(_OTHERS, [list(own)]).fetchone() == (True,)


def locking(connection: Connection, tables: Sequence[str], modes: Sequence[str]) -> tuple[int, ...]:
    """Return the process ids of other sessions that hold such a lock on one of the tables.

    0 is a prepared transaction.

    `modes` are written such as `ROW SHARE`.
    """
    named = [f"{mode.title().replace(' ', '')}Lock" for mode in modes]
    return tuple(pid for (pid,) in connection.execute(_LOCKING, [named, list(tables)]))


def holding(connection: Connection, key: int) -> Session | None:
    """Return the session with the advisory lock `key` of this database, or None."""
    with in_full(connection):
        row = connection.execute(_HOLDING, [key]).fetchone()
    return Session(*row) if row else None


def those(connection: Connection, pids: Sequence[int]) -> tuple[Session, ...]:
    """Return the sessions with these process ids, in their current state."""
    with in_full(connection):
        return tuple(Session(*row) for row in connection.execute(_THOSE, [list(pids)]))


@dataclass(frozen=True)
class Patience:
    """How a session of this library waits for locks.

    Attributes:
        tell: gets whom it waits for.
        seconds: the limit for each lock.
        after: seconds before the first look, None for one second.

    """

    tell: Callable[[str], None] = lambda text: None
    seconds: float = 300.0
    after: float | None = None


@dataclass(frozen=True)
class Wait:
    """A wait that a limit ended.

    Attributes:
        seconds: how long it lasted.
        whom: the sessions that it waited for, if they were identified.
        error: the error of the statement.

    """

    seconds: float
    whom: tuple[Session, ...]
    error: psycopg.Error | None = None

    def __str__(self) -> str:
        """Return one line without a command."""
        whom = " and ".join(map(str, self.whom)) or "another session"
        return f"waited {self.seconds:.0f} s for {whom}"

    @property
    def advice(self) -> str:
        """The commands that end the sessions with the lock, each on a line of its own."""
        end = "".join(f"\n  SELECT pg_terminate_backend({session.pid})" for session in self.whom if session.pid)
        return f"Let it end{f', or end it:{end}' if end else ''}"


class Waiting(Protocol):
    """A session that can report whom it waits for. See `connection.Session`."""

    patience: Patience | None
    wait_ended: Wait | None

    @property
    def info(self) -> psycopg.ConnectionInfo:
        """The session's connection parameters and state."""


_DEFAULT = Patience()
_PATIENCE: ContextVar[Patience] = ContextVar("patience", default=_DEFAULT)


def patience() -> Patience:
    """Return how sessions wait that are opened in this context."""
    return _PATIENCE.get()


@contextmanager
def waits(tell: Callable[[str], None], seconds: float) -> Iterator[None]:
    """Let each session of this library that is opened within the block wait at most so many `seconds` for a lock.

    `tell` gets whom it waits for. Threads that are started within the block need a copy of its context.
    """
    token = _PATIENCE.set(Patience(tell, seconds))
    try:
        yield
    finally:
        _PATIENCE.reset(token)


@contextmanager
def naming(session: Waiting, tell: Callable[[str], None], after: float | None = None) -> Iterator[None]:
    """Report to `tell` whom the session waits for, within the block, and to nothing else."""
    before = session.patience
    session.patience = replace(before or patience(), tell=tell, after=after)
    try:
        yield
    finally:
        session.patience = before


def looking(gen: Generator[Any, Any, Any], session: Waiting, patience: Patience) -> Generator[Any, Any, Any]:
    """Run `gen`, which waits for a statement's result, and look over a second connection whom the server waits for.

    If a limit of the session ends the statement, `session.wait_ended` is set.
    """
    look = _Look(session, patience)
    try:
        state = next(gen)
        while True:
            ready = yield state
            # Without a result psycopg continues here every 0.1 s. None means that it restarts after Ctrl-C.
            if ready is not None and not ready:
                look.again()
            state = gen.send(ready)
    except StopIteration as end:
        return end.value
    except (psycopg.errors.LockNotAvailable, psycopg.errors.QueryCanceled) as error:
        if look.whom or isinstance(error, psycopg.errors.LockNotAvailable):
            session.wait_ended = Wait(look.seconds, look.whom, error)
        raise
    finally:
        look.close()


@dataclass
class _Look:
    """Looks whom a statement waits for, over a connection that is opened only when the statement takes long."""

    session: Waiting
    patience: Patience
    whom: tuple[Session, ...] = ()
    _begun: float = field(default_factory=time.monotonic)
    _looked: float = 0.0
    _said: float = 0.0
    _beside: Connection | None = None

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._begun

    def again(self) -> None:
        """Look if it is time. An error here does not end the statement."""
        now = time.monotonic()
        after = _AFTER if self.patience.after is None else self.patience.after
        if now - (self._looked or self._begun) < after:
            return
        self._looked = now
        with suppress(psycopg.Error):
            blockers = blocking(self._connection(), self.session.info.backend_pid)
            if blockers and ([*map(_pid, blockers)] != [*map(_pid, self.whom)] or now - self._said >= _SAY_AGAIN):
                self._said = now
                self.patience.tell(f"waiting for {' and '.join(map(str, blockers))}")
            self.whom = blockers or self.whom

    def _connection(self) -> Connection:
        if self._beside is None or self._beside.closed:
            info = self.session.info
            self._beside = psycopg.connect(
                info.dsn, password=info.password, application_name="alembic watch", autocommit=True
            )
        return self._beside

    def close(self) -> None:
        if self._beside is not None:
            self._beside.close()


def _pid(session: Session) -> int:
    return session.pid
