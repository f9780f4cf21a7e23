"""Other sessions of the database, as far as this role may see them: who they are, and what they do."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pulumi_alembic.database import Connection

__all__ = ["Session", "blocking", "holding"]

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


def blocking(connection: Connection, pid: int) -> tuple[Session, ...]:
    """Whom the session `pid` waits for at this moment; none where it does not wait for a lock."""
    return tuple(Session(*row) for row in connection.execute(_BLOCKING, [pid]))


def holding(connection: Connection, key: int) -> Session | None:
    """Who holds the advisory lock `key` of this database; None where nobody does."""
    row = connection.execute(_HOLDING, [key]).fetchone()
    return Session(*row) if row else None
