"""Work at backfills: several sessions walk ranges of keys each, until a scan finds no row that is left."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from itertools import pairwise
from threading import Event
from typing import TYPE_CHECKING

import psycopg

from pulumi_alembic.database.connection import await_server, connect, open_session
from pulumi_alembic.database.retry import connection_lost
from pulumi_alembic.errors import BackfillError, DatabaseError
from pulumi_alembic.ledger import ledger
from pulumi_alembic.migrate.backfills import store
from pulumi_alembic.migrate.backfills.store import Backfill, State
from pulumi_alembic.migrate.blocks.keys import Key, KeyMissing, find_key
from pulumi_alembic.migrate.blocks.walk import POSITIONS, Pace, Walk, doubled, estimate, prepare
from pulumi_alembic.output.wording import counted
from pulumi_alembic.policy import Policy
from pulumi_alembic.scripts.origin import Origin

if TYPE_CHECKING:
    from pulumi_alembic.database.connection import Session
    from pulumi_alembic.migrate.job import Job, Listener

__all__ = ["MOST_WORKERS", "Worker", "fill_in", "work"]

MOST_WORKERS = 8
"""Number of key ranges of a large table, and so of sessions that can work at it at the same time."""

_LARGE = 100_000  # rows from which on a table is split into ranges
_SAMPLE = 10_000  # approximate number of rows whose keys determine the ranges
_LOOK = 1.0  # seconds between two checks of the progress, and of whether a person ended it
_PASSES = 10  # passes of one run, after which it gives up on rows that are still added

_KEY = "hashtextextended('pulumi_alembic.backfill ' || %s::bigint || ' ' || %s::int, 0)"


@dataclass(frozen=True)
class Worker:
    """How to work at backfills.

    Attributes:
        url: the database.
        tell: gets progress.
        done: gets a text for each backfill that is complete.
        origin: who runs this, for the ledger.
        sessions: how many work at the same time.
        rests: pause after each batch, to leave resources to others.
        seconds: the time limit, None for none.

    """

    url: str
    policy: Policy
    tell: Callable[[str], None]
    done: Callable[[str], None]
    origin: Origin
    sessions: int = 1
    rests: bool = True
    seconds: float | None = None


def work(worker: Worker, ids: Collection[int] = ()) -> list[Backfill]:
    """Work at the pending backfills, and return those that are left.

    It is safe to kill, to repeat, and to run twice at the same time: rows and position are committed in one
    transaction.

    Args:
        worker: how to work.
        ids: the backfills to work at. Empty for all.

    Raises:
        BackfillError: a backfill cannot continue. Committed rows stay.
        DatabaseError: the server cannot be reached again.

    """
    ends = None if worker.seconds is None else time.monotonic() + worker.seconds
    with connect(worker.url) as connection:
        chosen = store.choose(store.read(connection), ids)
    for backfill in chosen:
        if backfill.state is State.PENDING and (ends is None or time.monotonic() < ends):
            run = _Run(worker, backfill, ends)
            try:
                run.to_its_end()
            except psycopg.Error as error:
                raise run.failed(error) from None
    with connect(worker.url) as connection:
        return [recorded for recorded in store.choose(store.read(connection), ids) if recorded.state in store.OPEN]


def fill_in(job: Job, listener: Listener, seconds: float | None = None) -> list[Backfill]:
    """Work at the pending backfills within a run of `job`, and return those that are left. Raises as `work` does.

    `seconds` is the time limit, None for none.
    """
    origin = job.origin.completed(job.directory)
    return work(Worker(job.url, job.policy, listener.status, listener.backfill, origin, seconds=seconds))


class _Run:
    """The work at one backfill."""

    def __init__(self, worker: Worker, backfill: Backfill, ends: float | None) -> None:
        self._worker = worker
        self._backfill = backfill
        self._ends = ends
        self._ended = Event()
        self._known = (0, 0)

    def to_its_end(self) -> None:
        """Repeat passes over the table until no row is left, the time is over or a person ends the backfill."""
        before = self._progress()[1]
        for _ in range(_PASSES):
            self._ended.clear()
            self._pass()
            if self._is_over() or not self._verify():
                return
            now = self._progress()[1]
            if now == before:
                raise BackfillError(
                    f"{self._backfill}: rows that match its condition are not changed by it, and a scan finds them: "
                    f"{self._backfill.where}. A trigger can undo it. Correct that, then: pulumi-alembic backfill run"
                )
            before = now
        raise BackfillError(
            f"{self._backfill}: after {_PASSES} passes rows that match its condition still come in: "
            f"{self._backfill.where}. Let the application or a trigger write them complete, then: "
            "pulumi-alembic backfill run"
        )

    def _pass(self) -> None:
        """Walk each range once, with the requested number of sessions. Ends early when the time is over."""
        with self._session() as (session, key):
            ranges = self._cut(session, key)
            expected = estimate(session, self._backfill.table)
        walked = self._progress()[0]
        pace = Pace(str(self._backfill), expected, walked, self._worker.tell)
        with ThreadPoolExecutor(self._worker.sessions) as pool:
            sessions = [pool.submit(self._walk_until_lost) for _ in range(min(self._worker.sessions, ranges))]
            try:
                while wait(sessions, _LOOK, FIRST_EXCEPTION).not_done:
                    if self._is_over() or any(future.done() and future.exception() for future in sessions):
                        break
                    now = self._progress()[0]
                    pace.done(max(now - walked, 0), _LOOK, waited_for=False)
                    walked = now
            finally:
                # After an error, or Ctrl-C, each session ends its batch first.
                self._ended.set()
        for future in sessions:
            future.result()

    def _walk_until_lost(self) -> None:
        """Walk range after range. After a lost connection, continue from the last committed row."""
        while True:
            try:
                with self._session() as (session, key):
                    for part in self._free_ranges(session):
                        self._walk(session, key, part)
                        if self._ended.is_set():
                            return
                return
            except psycopg.OperationalError as error:
                if not connection_lost(error):
                    raise self.failed(error) from None
                self._worker.tell(f"{self._backfill}: the connection was lost; goes on as soon as the server answers")
                await_server(self._worker.url, self._worker.policy.lock_deadline)
            except psycopg.Error as error:
                raise self.failed(error) from None

    def _walk(self, session: Session, key: Key, part: int) -> None:
        backfill = self._backfill
        update = f"UPDATE {backfill.table} SET {backfill.set}"  # noqa: S608 - the revision's own SQL
        rests = self._worker.rests
        about = session, backfill.table, update, backfill.where, key, part
        walk = Walk(*about, rests=rests, reports=False, for_vacuum=rests)
        walk.run(backfill.id, self._worker.policy, self._worker.tell, lambda: not self._ended.is_set())

    def _free_ranges(self, session: Session) -> Iterator[int]:
        """Yield unfinished ranges that no other session works at. Each is locked meanwhile."""
        for part in self._unfinished(session):
            lock = [self._backfill.id, part]
            if session.execute(f"SELECT pg_try_advisory_lock({_KEY})".encode(), lock).fetchone() == (True,):
                try:
                    yield part
                finally:
                    session.execute(f"SELECT pg_advisory_unlock({_KEY})".encode(), lock)

    def _cut(self, session: Session, key: Key) -> int:
        """Split the table into key ranges, unless that was done before. Return their number."""
        prepare(session)
        id = self._backfill.id
        with session.transaction():
            session.execute("SELECT pg_advisory_xact_lock(hashtext('pulumi_alembic.backfills'))")
            query = f"SELECT count(*) FROM {POSITIONS} WHERE intent = %s"  # noqa: S608
            [(ranges,)] = session.execute(query.encode(), [id]).fetchall()
            if ranges:
                return int(ranges)
            edges = self._edges(session, key)
            add = f"INSERT INTO {POSITIONS} (intent, part, position, final) VALUES (%s, %s, %s, %s)"  # noqa: S608
            for part, (position, final) in enumerate(pairwise(edges)):
                session.execute(add.encode(), [id, part, position, final])
            return len(edges) - 1

    def _edges(self, session: Session, key: Key) -> list[list[str] | None]:
        """Return the keys between the ranges, None before the first.

        A small table has one range. An empty one gives two None.
        """
        walk = Walk(session, self._backfill.table, "", "", key)
        table, columns = doubled(self._backfill.table), doubled(", ".join(key.columns))
        last = session.execute(_last(walk, key).encode(), []).fetchone()
        if last is None:
            return [None, None]
        rows = estimate(session, self._backfill.table)
        if rows < _LARGE:
            return [None, last[0]]
        percent = min(100.0, 100.0 * _SAMPLE / rows)
        # The keys at each eighth of the sample.
        sample = (
            f"WITH seen AS (SELECT {columns}, row_number() OVER (ORDER BY {columns}) AS n, count(*) OVER () AS all_of "  # noqa: S608
            f"FROM {table} TABLESAMPLE SYSTEM ({percent:.4f})) SELECT {walk.texts} FROM seen "
            f"WHERE n * {MOST_WORKERS} / all_of > (n - 1) * {MOST_WORKERS} / all_of AND n < all_of ORDER BY n"
        )
        return [None, *(edge for (edge,) in session.execute(sample.encode(), [])), last[0]]

    def _verify(self) -> bool:
        """Scan for rows that are left, and return whether there are any. If not, record that in the ledger.

        If some are left, prepare another pass, unless a session still works at the last one.
        """
        backfill = self._backfill
        with self._session() as (session, key), self._alone(session) as alone:
            if not alone or self._unfinished(session):
                return False
            self._worker.tell(f"{backfill}: looks whether a row is left")
            query = f"SELECT EXISTS (SELECT FROM {doubled(backfill.table)} WHERE {doubled(backfill.where)})"  # noqa: S608
            if session.execute(query.encode(), []).fetchone() == (True,):
                self._begin_again(session, key)
                return True
        changed = self._progress()[1]
        with connect(self._worker.url) as connection:
            if store.state_of(connection, backfill) is State.PENDING:
                ledger.prepare(connection)
                store.decide(connection, replace(backfill, changed=changed), State.VERIFIED, self._worker.origin)
                connection.commit()
                self._worker.done(f"{backfill}: verified, {counted(changed, 'row')} set")
        return False

    def _unfinished(self, session: Session) -> list[int]:
        """Return the ranges that are not finished."""
        unfinished = "intent = %s AND position IS DISTINCT FROM final AND final IS NOT NULL"
        rows = f"SELECT part FROM {POSITIONS} WHERE {unfinished} ORDER BY part"  # noqa: S608
        return [part for (part,) in session.execute(rows.encode(), [self._backfill.id])]

    @contextmanager
    def _alone(self, session: Session) -> Iterator[bool]:
        """Yield whether no other session verifies this backfill during the block."""
        lock = [self._backfill.id, -1]
        [(alone,)] = session.execute(f"SELECT pg_try_advisory_lock({_KEY})".encode(), lock).fetchall()
        try:
            yield bool(alone)
        finally:
            if alone:
                session.execute(f"SELECT pg_advisory_unlock({_KEY})".encode(), lock)

    def _begin_again(self, session: Session, key: Key) -> None:
        """Set each range to its beginning, and the end of the last one to the table's current last key."""
        walk = Walk(session, self._backfill.table, "", "", key)
        session.execute(
            f"UPDATE {POSITIONS} now SET position = (SELECT final FROM {POSITIONS} before "  # noqa: S608
            "WHERE before.intent = now.intent AND before.part = now.part - 1), "
            f"final = CASE WHEN part = (SELECT max(part) FROM {POSITIONS} all_of WHERE all_of.intent = now.intent) "
            f"THEN ({_last(walk, key)}) "
            "ELSE final END WHERE intent = %s".encode(),
            [self._backfill.id],
        )

    def _is_over(self) -> bool:
        """Return whether the time is over, or a person paused or cancelled the backfill."""
        if self._ends is not None and time.monotonic() >= self._ends:
            return True
        try:
            with connect(self._worker.url) as connection:
                return store.state_of(connection, self._backfill) is not State.PENDING
        except DatabaseError:
            return False  # The walking sessions handle the lost connection.

    def _progress(self) -> tuple[int, int]:
        """Return how many rows were walked and set so far: the last known numbers if the server cannot be reached."""
        with suppress(DatabaseError), connect(self._worker.url) as connection:
            counts = {backfill.id: (backfill.walked, backfill.changed) for backfill in store.read(connection)}
            self._known = counts.get(self._backfill.id, self._known)
        return self._known

    @contextmanager
    def _session(self) -> Iterator[tuple[Session, Key]]:
        """Open a session for revisions in autocommit mode, and find the key of the table."""
        with closing(open_session(self._worker.url)) as session:
            session.autocommit = True
            try:
                key = find_key(session, self._backfill.table, self._backfill.key)
            except KeyMissing:
                raise BackfillError(
                    f"{self._backfill}: no such table any more with the key ({', '.join(self._backfill.key)}). "
                    f"If a later revision dropped or renamed it:\n"
                    f'  pulumi-alembic backfill cancel {self._backfill.id} --reason "…"'
                ) from None
            yield session, key

    def failed(self, error: psycopg.Error) -> BackfillError:
        """Return the server's error as a BackfillError, without values of rows."""
        from pulumi_alembic.database import server_message

        code = f" ({error.sqlstate})" if error.sqlstate else ""
        return BackfillError(
            f"{self._backfill}: {server_message.primary(error)}{code}. The rows that are done stay done. "
            "Try again: pulumi-alembic backfill run"
        )


def _last(walk: Walk, key: Key) -> str:
    """Return the query for the last key of the table."""
    backwards = doubled(", ".join(f"{column} DESC" for column in key.columns))
    return f"SELECT {walk.texts} FROM {doubled(walk.table)} ORDER BY {backwards} LIMIT 1"  # noqa: S608
