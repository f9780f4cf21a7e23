"""Pauses of a walk: it waits while the server cannot keep up with what it writes, and reports why."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pulumi_alembic.database.sessions import in_full
from pulumi_alembic.policy import rate_text

if TYPE_CHECKING:
    from pulumi_alembic.database.connection import Connection
    from pulumi_alembic.policy import Policy

__all__ = ["MARK", "Pauses"]

MARK = "/* batched_update */"
"""Prefix of a walk's statements, so that `Watch` does not report them: the walk reports its progress itself."""

LOOK = 1.0  # seconds between two looks
_SAY = 10.0  # seconds between two reports of other sessions
_BEHIND = 2  # how many times the dead rows at which autovacuum begins make a table wait

# A replica's lag is NULL if this role is not allowed to see it.
_LAG = f"""{MARK}
SELECT application_name, extract(epoch FROM replay_lag)::float FROM pg_stat_replication
ORDER BY 2 DESC NULLS LAST LIMIT 1
"""  # noqa: S608 - no value is put into it

# Batches commit asynchronously: the server writes their WAL to disk a moment later.
_WAL = f"{MARK} SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint"

# Of the table, or of its partition with the most: dead rows, those at which autovacuum begins, and the last vacuum.
_DEAD = f"""{MARK}
WITH settings AS (
    SELECT c.oid, c.reltuples, (
        SELECT jsonb_object_agg(option_name, option_value) FROM pg_options_to_table(reloptions)
    ) AS o
    FROM pg_class c WHERE relkind IN ('r', 'm') AND (c.oid = to_regclass(%(table)s)
        OR c.oid IN (SELECT relid FROM pg_partition_tree(to_regclass(%(table)s))))
), limits AS (
    SELECT oid, coalesce((o ->> 'autovacuum_enabled')::boolean, true) AS enabled, least(
        coalesce(o ->> 'autovacuum_vacuum_threshold', current_setting('autovacuum_vacuum_threshold'))::float
        + coalesce(o ->> 'autovacuum_vacuum_scale_factor', current_setting('autovacuum_vacuum_scale_factor'))::float
        * greatest(reltuples, 0),
        nullif(coalesce(o ->> 'autovacuum_vacuum_max_threshold',
            current_setting('autovacuum_vacuum_max_threshold', true))::float, -1)
    ) AS threshold FROM settings
)
SELECT n_dead_tup, threshold, greatest(last_vacuum, last_autovacuum)::text
FROM limits JOIN pg_stat_user_tables ON relid = oid
WHERE enabled AND current_setting('autovacuum')::boolean
ORDER BY n_dead_tup / greatest(threshold, 1) DESC LIMIT 1
"""  # noqa: S608


@dataclass
class Pauses:
    """Looks each second whether the walk has to wait.

    Attributes:
        connection: the session of the walk, in autocommit mode.
        table: as SQL.
        policy: its `max_replica_lag` limits the replicas, its `max_wal_rate` what the server writes.
        tell: gets the reason of each pause.
        for_vacuum: whether it waits for autovacuum too.

    """

    connection: Connection
    table: str
    policy: Policy
    tell: Callable[[str], None]
    for_vacuum: bool
    _looked: float = field(default_factory=time.monotonic)
    _said: float = -_SAY
    _vacuumed: str | None = ""
    _left: float = 0.0
    """The dead rows that the last vacuum left, because a transaction can still see them. No pause is for them."""
    _wal: tuple[float, int] | None = field(init=False)
    """The time of the last look without a pause, and the server's position in the WAL then."""

    def __post_init__(self) -> None:
        self._wal = self._position()

    def wait(self, goes_on: Callable[[], bool]) -> None:
        """Return when nothing is a reason to wait any longer, or `goes_on` returns False."""
        if time.monotonic() - self._looked <= LOOK:
            return
        while goes_on() and (reason := next(self._reasons(), "")):
            self.tell(f"{self.table}: {reason}")
            time.sleep(LOOK)
        self._looked = time.monotonic()
        self._wal = self._position()

    def met(self, text: str) -> None:
        """Report that a batch met another session, unless that was reported just now."""
        if time.monotonic() - self._said >= _SAY:
            self._said = time.monotonic()
            self.tell(f"{self.table}: {text}")

    def _reasons(self) -> Iterator[str]:
        with in_full(self.connection):
            replica = self.connection.execute(_LAG.encode()).fetchone()
        if replica and replica[1] is not None and replica[1] > self.policy.max_replica_lag:
            yield f"waiting for the replica {replica[0]}, {replica[1]:.0f} s behind"
        yield from self._too_much_wal()
        row = self.connection.execute(_DEAD.encode(), {"table": self.table}).fetchone() if self.for_vacuum else None
        if row is None:
            return
        dead, begins, vacuumed = row
        if self._vacuumed not in {"", vacuumed}:
            self._left = dead
        self._vacuumed = vacuumed
        if dead - self._left > _BEHIND * begins:
            yield f"waiting for autovacuum: {dead:,} dead rows, of {begins:,.0f} at which it begins"

    def _too_much_wal(self) -> Iterator[str]:
        """Compare the WAL since the last look with the limit. It includes the time of a pause, so that a pause ends."""
        limit, now = self.policy.max_wal_rate, self._position()
        if now is None or self._wal is None:
            return
        rate = (now[1] - self._wal[1]) / (now[0] - self._wal[0])
        if rate > limit:
            written = f"{rate / 1024:,.0f} kB of WAL per second"
            yield f"waiting, because the server wrote {written} (limit {rate_text(limit)})"

    def _position(self) -> tuple[float, int] | None:
        """Return the time, and the server's position in the WAL in bytes. None without a limit."""
        if not self.policy.max_wal_rate:
            return None
        [(position,)] = self.connection.execute(_WAL.encode()).fetchall()
        return time.monotonic(), position
