"""Other sessions of the database, as far as this role may see them: who they are, and what they do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pulumi_alembic.database import Connection

__all__ = ["Session", "blocking", "holding", "in_full"]

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
