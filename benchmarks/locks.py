"""The stalls of clients during a revision that needs a strong lock of their table, and whether the revision succeeds.

Each case runs with locks that are taken in advance, and without: then each statement queues for its own lock, up to
`lock_timeout`. A client's stall is the time of its transaction minus the time that it asked the server to sleep. The
benchmark needs a PostgreSQL server (PG* variables, or the development server).
"""

from __future__ import annotations

import multiprocessing
import random
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from unittest import mock

import psycopg

from benchmarks.measure import Claim, report, seconds
from benchmarks.scripts import write_history
from benchmarks.server import empty_database, url
from pulumi_alembic.errors import RevisionFailed
from pulumi_alembic.migrate import migrator
from pulumi_alembic.migrate.job import Job
from pulumi_alembic.migrate.table_locks import TableLocks
from pulumi_alembic.policy import Policy

_COMMAND = "python -m benchmarks.locks"
_QUEUE = 0.025  # seconds: the default of a policy
_OWN_WORK = 0.005  # seconds under the lock, to the end of the commit
_REVISIONS = 100
_BLOCKED = 6.0  # seconds
_CANCELLED = 5.0  # seconds
_VACUUM = 150.0  # seconds to wait for an autovacuum, which the server starts every minute

_TABLES = """
CREATE TABLE parent (id int PRIMARY KEY);
CREATE TABLE item (id int PRIMARY KEY, parent int, name varchar(50));
INSERT INTO parent SELECT generate_series(1, 100);
INSERT INTO item SELECT n, 1 + n % 100, 'item ' || n FROM generate_series(1, 2000) AS n;
"""
_SLOW_VACUUM = """
ALTER TABLE item SET (autovacuum_vacuum_threshold = 0, autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_cost_delay = 100, autovacuum_vacuum_cost_limit = 1);
UPDATE item SET name = name || '.';
"""
_VACUUMS = "SELECT EXISTS (SELECT FROM pg_stat_progress_vacuum WHERE relid = 'item'::regclass)"


@dataclass(frozen=True)
class _Load:
    """The number of clients, and the duration of their transactions in seconds, with an optional pause between them."""

    clients: int
    shortest: float
    longest: float
    pause: float = 0.0


_BUSY = _Load(16, 0.005, 0.020)
_SLOW = _Load(8, 0.030, 0.060)
_LIGHT = _Load(4, 0.0, 0.0, 0.010)


@dataclass
class _Seen:
    """The results of one case: the clients' stalls, the time of each applied revision, and an error."""

    stalls: list[float] = field(default_factory=list)
    applied: list[float] = field(default_factory=list)
    error: str = ""

    @property
    def worst(self) -> float:
        """The longest stall in seconds."""
        return max(self.stalls)

    def __str__(self) -> str:
        """Return the distributions of the stalls and of the times of the revisions."""
        texts = []
        for what, found in (("stalls", sorted(self.stalls)), ("applied after", sorted(self.applied))):
            parts = ((name, found[int(share * (len(found) - 1))] * 1000) for name, share in _SHARES) if found else ()
            texts.append(f"{what} ({len(found)}): {', '.join(f'{name} {value:.1f} ms' for name, value in parts)}")
        return "; ".join(texts)


_SHARES = (("median", 0.5), ("99 %", 0.99), ("99.9 %", 0.999), ("worst", 1.0))


def _clients(address: str, load: _Load, end: Connection) -> None:
    """Run the clients in their own process. Report when all are connected, and send all stalls on request."""
    stop, stalls, connected = threading.Event(), list[float](), threading.Barrier(load.clients + 1)

    def work() -> None:
        with psycopg.connect(address, autocommit=True) as session:
            connected.wait()
            while not stop.wait(load.pause):
                asked = random.uniform(load.shortest, load.longest)  # noqa: S311 - not a secret
                statement = "SELECT pg_sleep(%s) FROM item WHERE id = 7"
                stalls.append(seconds(lambda: session.execute(statement, [asked])) - asked)  # noqa: B023

    threads = [threading.Thread(target=work) for _ in range(load.clients)]
    for each in threads:
        each.start()
    connected.wait()
    end.send(None)
    end.recv()
    stop.set()
    for each in threads:
        each.join()
    end.send(stalls)


@contextmanager
def _loaded(address: str, load: _Load, seen: _Seen) -> Iterator[None]:
    spawn = multiprocessing.get_context("spawn")
    here, there = spawn.Pipe()
    process = spawn.Process(target=_clients, args=(address, load, there))
    process.start()
    here.recv()
    try:
        yield
    finally:
        here.send(None)
        seen.stalls += here.recv()
        process.join()


@contextmanager
def _blocker(address: str, length: float) -> Iterator[None]:
    """Run a transaction that has read the tables for this time, within the block."""
    with psycopg.connect(address) as session:
        session.execute("SELECT count(*) FROM item, parent")
        ends = threading.Timer(length, session.rollback)
        ends.start()
        yield
        ends.join()


@contextmanager
def _autovacuum(address: str) -> Iterator[None]:
    """Make the server vacuum the table slowly within the block. Raises TimeoutError if the server does not begin."""
    with psycopg.connect(address, autocommit=True) as session:
        session.execute(_SLOW_VACUUM)
        deadline = time.monotonic() + _VACUUM
        while session.execute(_VACUUMS).fetchone() != (True,):
            if time.monotonic() > deadline:
                raise TimeoutError("the server began no autovacuum")
            time.sleep(0.1)
        yield


def _run(
    load: _Load,
    statements: list[str],
    policy: Policy,
    beside: Callable[[str], AbstractContextManager[None]] = lambda address: nullcontext(),
) -> _Seen:
    """Apply a revision for each of the statements, one run after the other, while the clients work."""
    seen = _Seen()
    with tempfile.TemporaryDirectory() as name, empty_database() as database:
        address, folder = url(database).replace("+psycopg", ""), Path(name)
        ids = write_history(folder, [_TABLES, *statements])
        migrator.migrate(Job(address, folder, ids[0], _COMMAND))
        with _loaded(address, load, seen), beside(address):
            for id in ids[1:]:
                try:
                    took = seconds(lambda: migrator.migrate(Job(address, folder, id, _COMMAND, policy)))  # noqa: B023
                except RevisionFailed as error:
                    seen.error = str(error)
                    break
                seen.applied.append(took)
    return seen


@contextmanager
def _as_before() -> Iterator[None]:
    """Take no lock in advance within the block."""
    with mock.patch.object(TableLocks, "look", lambda *_: None):
        yield


def _adding(count: int) -> list[str]:
    return [f"ALTER TABLE item ADD COLUMN new_{number} text" for number in range(count)]


def _both(what: str, run: Callable[[], _Seen]) -> _Seen:
    """Run the case with and without locks in advance, print both results, and return the first."""
    ours = run()
    with _as_before():
        before = run()
    print(f"{what}\n  in advance: {ours}\n  as before:  {before}")
    for name, seen in (("in advance", ours), ("as before", before)):
        if seen.error:
            print(f"  {name}: {next(line for line in seen.error.splitlines() if 'attempt' in line).strip()}")
    return ours


def _stall(what: str, seen: _Seen, allowed: float, alone: float) -> Claim:
    limit = allowed + _OWN_WORK + alone
    return Claim(f"{what}: the clients' worst stall ÷ what is allowed", seen.worst, limit, seen.worst / limit, 1.0)


def _alone(load: _Load) -> float:
    """Return the clients' worst stall without a migration, which the machine itself causes."""
    seen = _Seen()
    with empty_database() as database:
        address = url(database).replace("+psycopg", "")
        with psycopg.connect(address) as session:
            session.execute(_TABLES.encode())
        with _loaded(address, load, seen):
            time.sleep(5.0)
    print(f"without a migration, {load.clients} clients: {seen}")
    return seen.worst


def _claims() -> Iterator[Claim]:
    busy, slow, light = map(_alone, (_BUSY, _SLOW, _LIGHT))
    patient = Policy(lock_deadline=30)

    seen = _both("(a) 16 clients, 5 to 20 ms", lambda: _run(_BUSY, _adding(_REVISIONS), patient))
    missed = _REVISIONS - len(seen.applied)
    yield Claim("(a) revisions that did not get through ÷ 1 of 100", missed, 1, missed, 1.0, "")
    yield _stall("(a)", seen, _QUEUE, busy)

    raised = Policy(lock_deadline=9, lock_wait_max=0.1)
    seen = _both("(b) 8 clients, 30 to 60 ms, lock_wait_max=100ms", lambda: _run(_SLOW, _adding(3), raised))
    yield Claim("(b) revisions that did not get through ÷ 1", 3 - len(seen.applied), 1, 3 - len(seen.applied), 0.0, "")
    yield _stall("(b)", seen, _SLOW.longest + _QUEUE, slow)
    seen = _both("(b) with 25 ms", lambda: _run(_SLOW, _adding(1), Policy(lock_deadline=3)))
    named = bool(seen.applied) or "blocked by pid" in seen.error
    yield Claim("(b) with 25 ms: an error that names nobody ÷ 1", not named, 1, not named, 0.0, "")
    yield _stall("(b) with 25 ms", seen, _QUEUE, slow)

    for kind, statement in _KINDS.items():
        case = f"(c) a blocker of 6 s, {kind}"
        run = lambda sql=statement: _run(_LIGHT, [sql], patient, lambda address: _blocker(address, _BLOCKED))  # noqa: E731
        seen = _both(case, run)
        yield _stall(case, seen, _QUEUE, light)

    brief = Policy(lock_deadline=20)
    seen = _both("(d) a running autovacuum", lambda: _run(_LIGHT, _adding(1), brief, _autovacuum))
    took = max(seen.applied, default=float("inf"))
    yield Claim("(d) applied after ÷ 5 s (deadlock_timeout is 1 s)", took, _CANCELLED, took / _CANCELLED, 1.0)
    yield _stall("(d)", seen, _QUEUE, light)


_KINDS = {
    "ADD COLUMN": "ALTER TABLE item ADD COLUMN new text",
    "ADD FOREIGN KEY": "ALTER TABLE item ADD FOREIGN KEY (parent) REFERENCES parent",
    "two tables": "ALTER TABLE parent ADD COLUMN new text; ALTER TABLE item ADD COLUMN new text",
}


def main() -> None:
    """Measure and print every claim. Exit with 1 if one does not hold."""
    sys.exit(0 if report(list(_claims())) else 1)


if __name__ == "__main__":
    main()
