"""Walk along a table's key in batches.

Each batch is one statement and one transaction, which also stores its position.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psycopg
from psycopg import sql

from pulumi_alembic.database.connection import VERSION_SCHEMA
from pulumi_alembic.migrate.blocks.pauses import MARK, Pauses

if TYPE_CHECKING:
    from pulumi_alembic.database.connection import Connection
    from pulumi_alembic.migrate.blocks.keys import Key
    from pulumi_alembic.policy import Policy

__all__ = ["POSITIONS", "Pace", "Walk", "doubled", "estimate", "prepare"]

TARGET = 0.01
"""Target duration of a batch in seconds. A writer waits at most about as long for one of its rows."""

LARGEST = 100_000
FIRST = 100
_REST = 0.25  # of the time that the batch took
_SAY = (1.0, 10.0)  # limits of the seconds between two texts, which are a twentieth of the time so far


class Pace:
    """Chooses the size of batches: they grow up to TARGET, and shrink if they took longer or a session waited for them.

    Attributes:
        size: rows of the next batch.
        patient: the next batch is a single row without a time limit.

    """

    def __init__(
        self,
        table: str,
        expected: int,
        walked: int,
        tell: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin a walk over `expected` rows, 0 if unknown. An earlier run has `walked` some of them."""
        self.size = FIRST
        self.patient = False
        self._table = table
        self._expected = expected
        self._walked = self._before = walked
        self._tell = tell
        self._clock = clock
        self._begun = self._progress = clock()
        self._said = self._begun

    @property
    def stuck(self) -> float:
        """Seconds since the last batch that succeeded."""
        return self._clock() - self._progress

    def failed(self, *, timed_out: bool) -> None:
        """Make the next batch smaller, because this one was rolled back."""
        self.patient = timed_out and self.size == 1
        self.size = max(1, self.size // 2)

    def done(self, rows: int, seconds: float, *, waited_for: bool) -> float:
        """Note a batch, and return the seconds to rest.

        Args:
            rows: how many it had.
            seconds: how long it took.
            waited_for: a session waited for it. The next batch is smaller then.

        """
        self._walked += rows
        self.patient = False
        self._progress = self._clock()
        factor = 0.5 if waited_for else min(2.0, max(0.25, TARGET / max(seconds, 1e-6)))
        self.size = min(LARGEST, max(1, round(self.size * factor)))
        now = self._clock()
        if now - self._said >= min(max((now - self._begun) / 20, _SAY[0]), _SAY[1]):
            self._said = now
            self._tell(str(self))
        return seconds if waited_for else seconds * _REST

    def __str__(self) -> str:
        """`tasks: 1,200,000 of about 2,000,000 rows (60 %), 21,000 rows/s, 38 s left`."""
        rate = (self._walked - self._before) / max(self._clock() - self._begun, 1e-6)
        speed = f"{rate:,.0f} rows/s"
        if self._expected <= self._walked:
            return f"{self._table}: {self._walked:,} rows, {speed}"
        share = 100 * self._walked // self._expected
        left = f", {(self._expected - self._walked) / rate:,.0f} s left" if rate else ""
        return f"{self._table}: {self._walked:,} of about {self._expected:,} rows ({share} %), {speed}{left}"


LOCK_TIMEOUT = 10  # milliseconds that a batch waits for a row
BATCH_TIMEOUT = 40  # milliseconds after which a batch is rolled back, and tried again with fewer rows
_PAUSE = (0.05, 0.15)  # seconds after a batch that was rolled back

_BUSY = (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected, psycopg.errors.SerializationFailure)

POSITIONS = sql.Identifier(VERSION_SCHEMA, "batches").as_string(None)

_CREATE = f"""
CREATE TABLE IF NOT EXISTS {POSITIONS} (
    intent bigint NOT NULL,
    position text[],
    final text[],
    walked bigint NOT NULL DEFAULT 0,
    changed bigint NOT NULL DEFAULT 0,
    moved_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    part int NOT NULL DEFAULT 0,
    CONSTRAINT batches_pkey PRIMARY KEY (intent, part)
);
COMMENT ON TABLE {POSITIONS} IS 'how far each batched update and backfill is; committed with the rows themselves';
COMMENT ON COLUMN {POSITIONS}.intent IS 'the row of the ledger with which it began';
COMMENT ON COLUMN {POSITIONS}.position IS 'the key of the last row that is done; null before the first';
COMMENT ON COLUMN {POSITIONS}.final IS 'the key of the last row there was at its beginning; null where there was none';
COMMENT ON COLUMN {POSITIONS}.walked IS 'rows looked at';
COMMENT ON COLUMN {POSITIONS}.changed IS 'rows updated';
COMMENT ON COLUMN {POSITIONS}.part IS 'the range of keys of a backfill; it begins where the one before ends';
"""

# Updates a table from before there were backfills. The key's name is the one that CREATE TABLE gave it.
_ADD_PARTS = f"""
ALTER TABLE {POSITIONS}
    ADD COLUMN IF NOT EXISTS part int NOT NULL DEFAULT 0,
    DROP CONSTRAINT batches_pkey,
    ADD CONSTRAINT batches_pkey PRIMARY KEY (intent, part)
"""

_HAS_PARTS = """
SELECT to_regclass(%(table)s) IS NOT NULL,
    EXISTS (SELECT FROM pg_attribute WHERE attrelid = to_regclass(%(table)s) AND attname = 'part')
"""

_ESTIMATE = """
SELECT coalesce(sum(greatest(c.reltuples, 0)), 0)::bigint
FROM pg_class c WHERE c.relkind IN ('r', 'm') AND (c.oid = to_regclass(%(table)s)
    OR c.oid IN (SELECT relid FROM pg_partition_tree(to_regclass(%(table)s))))
"""

_WAITED_FOR = "EXISTS (SELECT FROM pg_locks WHERE NOT granted AND pg_backend_pid() = ANY (pg_blocking_pids(pid)))"


def prepare(connection: Connection) -> None:
    """Create the table of positions, or update one of an older version. The connection is in autocommit mode."""
    [(exists, has_parts)] = connection.execute(_HAS_PARTS, {"table": POSITIONS}).fetchall()
    if not has_parts:
        # One transaction with a lock: two concurrent CREATE TABLE IF NOT EXISTS can fail.
        lock = "SELECT pg_advisory_xact_lock(hashtext('pulumi_alembic.batches'));"
        connection.execute((lock + (_ADD_PARTS if exists else _CREATE)).encode())


def estimate(connection: Connection, table: str) -> int:
    """Return the number of rows from the server's statistics, including partitions. 0 if there are none yet."""
    [rows] = connection.execute(_ESTIMATE, {"table": table}).fetchone() or (0,)
    return int(rows)


@dataclass(frozen=True)
class Walk:
    """Does a statement for every row up to the one that is last at the beginning, once, even after interruptions.

    Attributes:
        table: as SQL, like `where`.
        action: the statement before its condition, such as `UPDATE table SET n = 1`.
        key: what it walks along.
        part: the range of a backfill.

    """

    connection: Connection
    table: str
    action: str
    where: str
    key: Key
    part: int = 0
    rests: bool = True
    """Whether it rests after each batch, to leave time to others."""
    reports: bool = True
    """Whether it reports its progress."""
    for_vacuum: bool = False
    """Whether it waits for autovacuum."""

    def run(
        self, intent: int, policy: Policy, tell: Callable[[str], None], goes_on: Callable[[], bool] = lambda: True
    ) -> None:
        """Begin, or continue the earlier run with this `intent`. The connection is in autocommit mode.

        Args:
            intent: the id of the ledger row of the update.
            policy: its `lock_deadline` limits locked rows, `max_replica_lag` the replicas, and `max_wal_rate` the WAL.
            tell: gets progress.
            goes_on: called between two batches. False ends the walk early.

        Raises:
            psycopg.Error: the statement failed, or rows stayed locked until the deadline. Completed batches stay
                committed.

        """
        position, final, walked = self._begin(intent)
        report = tell if self.reports else _ignore
        pace = Pace(self.table, estimate(self.connection, self.table), walked, report)
        pauses = Pauses(self.connection, self.table, policy, tell, self.for_vacuum)
        with self._limits():
            while final is not None and (ahead := self._ahead(position, final, pace)):
                if self._batch(intent, position, *ahead, pace=pace, pauses=pauses):
                    position = ahead[1]
                pauses.wait(goes_on)
                if not goes_on():
                    return
            if final is not None and position != final:
                self._reach(intent, final)

    def _begin(self, intent: int) -> tuple[list[str] | None, list[str] | None, int]:
        backwards = ", ".join(f"{column} DESC" for column in self.key.columns)
        prepare(self.connection)
        self.connection.execute(
            f"INSERT INTO {POSITIONS} (intent, part, final) VALUES (%s, %s, "  # noqa: S608 - the revision's own SQL
            f"(SELECT {self.texts} FROM {doubled(self.table)} ORDER BY {doubled(backwards)} LIMIT 1)) "
            "ON CONFLICT DO NOTHING".encode(),
            [intent, self.part],
        )
        row = self.connection.execute(
            f"SELECT position, final, walked FROM {POSITIONS} WHERE intent = %s AND part = %s".encode(),  # noqa: S608
            [intent, self.part],
        ).fetchone()
        assert row is not None  # noqa: S101 - it has just been made
        return row[0], row[1], row[2]

    def _ahead(self, position: list[str] | None, final: list[str], pace: Pace) -> tuple[int, list[str]] | None:
        """Return the number of rows and the last key of the next batch, None at the end.

        Sets the batch's time limit.
        """
        columns = doubled(", ".join(self.key.columns))
        backwards = doubled(", ".join(f"{column} DESC" for column in self.key.columns))
        condition, values = self.between(position, final)
        limit = 0 if pace.patient else BATCH_TIMEOUT
        row = self.connection.execute(
            f"{MARK} WITH ahead AS (SELECT {columns} FROM {doubled(self.table)} WHERE {condition} "  # noqa: S608
            f"ORDER BY {columns} LIMIT {pace.size}) SELECT (SELECT count(*) FROM ahead), {self.texts}, "
            f"set_config('statement_timeout', '{limit}', false) FROM ahead ORDER BY {backwards} LIMIT 1".encode(),
            values,
            prepare=False,
        ).fetchone()
        return row and (row[0], row[1])

    def _batch(
        self, intent: int, position: list[str] | None, rows: int, edge: list[str], *, pace: Pace, pauses: Pauses
    ) -> bool:
        """Do the rows after `position` up to `edge`, and rest. Return False if the batch was rolled back."""
        begun = time.monotonic()
        try:
            waited_for = self._do(intent, position, rows, edge)
        except (*_BUSY, psycopg.errors.QueryCanceled) as error:
            timed_out = isinstance(error, psycopg.errors.QueryCanceled)
            by_hand = timed_out and (pace.patient or time.monotonic() - begun < BATCH_TIMEOUT / 1000)
            if by_hand or pace.stuck > pauses.policy.lock_deadline:
                raise
            self.connection.execute("SET statement_timeout = 0")
            pace.failed(timed_out=timed_out)
            if not timed_out:
                pauses.met("waiting for rows that another session has locked")
            time.sleep(random.uniform(*_PAUSE))  # noqa: S311 - not a secret
            return False
        rest = pace.done(rows, time.monotonic() - begun, waited_for=waited_for)
        if waited_for:
            pauses.met("smaller batches, because another session waits for their rows")
        if self.rests:
            time.sleep(rest)
        return True

    def _do(self, intent: int, position: list[str] | None, rows: int, edge: list[str]) -> bool:
        """Change rows and position in one statement. Return whether a session waits for it."""
        condition, values = self.between(position, edge)
        row = self.connection.execute(
            f"{MARK} WITH done AS ({doubled(self.action)} "  # noqa: S608
            f"WHERE {condition} AND ({doubled(self.where)}) RETURNING 1) "
            f"UPDATE {POSITIONS} SET position = %s, walked = walked + %s, "
            "changed = changed + (SELECT count(*) FROM done), moved_at = clock_timestamp() "
            f"WHERE intent = %s AND part = %s RETURNING {_WAITED_FOR}, "
            "set_config('statement_timeout', '0', false)".encode(),
            [*values, edge, rows, intent, self.part],
            prepare=False,
        ).fetchone()
        return row is not None and bool(row[0])

    def between(self, after: list[str] | None, until: list[str]) -> tuple[str, list[str]]:
        """Return the condition for the rows after one key up to another, and its parameters."""
        columns = doubled(", ".join(self.key.columns))
        marks = ", ".join(f"%s::{doubled(type)}" for type in self.key.types)
        upper = f"({columns}) <= ({marks})"
        if after is None:
            return upper, until
        return f"({columns}) > ({marks}) AND {upper}", [*after, *until]

    @property
    def texts(self) -> str:
        """The SQL of a row's key as an array of texts that do not depend on the session's settings."""
        return "ARRAY[" + ", ".join(f"to_jsonb({doubled(column)}) #>> '{{}}'" for column in self.key.columns) + "]"

    @contextmanager
    def _limits(self) -> Iterator[None]:
        """Set short waits and asynchronous commits within the block.

        If the server crashes, the last batches are lost together with their position.
        """
        self.connection.execute(f"SET lock_timeout = {LOCK_TIMEOUT}; SET synchronous_commit = off".encode())
        try:
            yield
        finally:
            with suppress(psycopg.OperationalError):
                self.connection.execute("RESET synchronous_commit; RESET lock_timeout; SET statement_timeout = 0")

    def _reach(self, intent: int, final: list[str]) -> None:
        """Store the final position, because the last row was deleted meanwhile."""
        self.connection.execute(
            f"UPDATE {POSITIONS} SET position = %s WHERE intent = %s AND part = %s".encode(),  # noqa: S608
            [final, intent, self.part],
        )


def _ignore(_: str) -> None:
    return


def doubled(text: str) -> str:
    """Return SQL for a statement with parameters: percent signs are doubled."""
    return text.replace("%", "%%")
