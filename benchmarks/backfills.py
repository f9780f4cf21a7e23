"""The speed of a backfill of five million rows, and what the application beside it waits.

Without rests it reaches at least 70 % of the speed of a loop by hand with equal batches. With them, it reaches at least
15 %, and 99 of 100 statements of readers and writers take at most 1.2 times as long as without it. It is
killed ten times, and sets each row once. Another number of rows can be given as an argument. Needs a PostgreSQL server
(PG* variables, or the development server), and a machine that does little else.
"""

from __future__ import annotations

import multiprocessing
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path

import psycopg

from benchmarks.beside import Beside
from benchmarks.measure import Claim, report, seconds
from benchmarks.scripts import FIRST, write_history
from benchmarks.server import empty_database, url
from pulumi_alembic.database.connection import connect
from pulumi_alembic.migrate import migrator
from pulumi_alembic.migrate.backfills import store
from pulumi_alembic.migrate.backfills.work import Worker, work
from pulumi_alembic.migrate.blocks.walk import TARGET, Pace
from pulumi_alembic.migrate.job import OPEN, SILENT, Job
from pulumi_alembic.policy import Policy
from pulumi_alembic.scripts.origin import Origin

_ROWS = int(sys.argv[1]) if len(sys.argv) > 1 else 5_000_000
_KILLS = 10
_ROUNDS = 3 if _ROWS <= 1_000_000 else 1
_CLIENTS = 2
_PAUSE = 0.01  # seconds between two statements of a client
_WINDOW = 2.0  # seconds with the backfill, and then without it
_SLOWER = 0.7
_THROTTLED = 0.15
_P99 = 1.2

_TABLE = """
CREATE TABLE {0} (id int PRIMARY KEY, n int, seen int NOT NULL DEFAULT 0, filler text) WITH (autovacuum_enabled = off);
INSERT INTO {0} SELECT n, NULL, 0, repeat('x', 60) FROM generate_series(1, %s) n
"""
_SET, _WHERE = "n = id, seen = seen + 1", "n IS NULL"


def _ignore(_: str) -> None:
    return


def _work(address: str, id: int, *, rests: bool = False, limit: float | None = None) -> bool:
    """Work at the backfill, at most `limit` seconds. Return whether some of it is left."""
    return bool(work(Worker(address, Policy(), _ignore, _ignore, Origin(), rests=rests, seconds=limit), [id]))


def _by_hand(address: str, table: str) -> None:
    """Update the rows by ranges of keys, each in a transaction of the duration that a batch has."""
    pace, done = Pace(table, _ROWS, 0, _ignore), 0
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute("SET synchronous_commit = off")
        update = f"UPDATE {table} SET {_SET} WHERE id > %s AND id <= %s AND {_WHERE}".encode()  # noqa: S608
        while done < _ROWS:
            size = pace.size
            pace.done(size, seconds(lambda: connection.execute(update, [done, done + size])), waited_for=False)  # noqa: B023
            done += size


def _killed(address: str, id: int) -> None:
    """Kill the process that works at the backfill ten times, each time behind another tenth of the rows."""
    with connect(address) as connection:
        connection.autocommit = True
        for kill in range(1, _KILLS + 1):
            process = multiprocessing.get_context("spawn").Process(target=_work, args=[address, id])
            process.start()
            while process.is_alive() and _changed(connection, id) < _ROWS * kill // (_KILLS + 1):
                time.sleep(TARGET)
            process.kill()
            process.join()
    _work(address, id)


def _changed(connection: psycopg.Connection, id: int) -> int:
    return next(backfill.changed for backfill in store.read(connection) if backfill.id == id)


def _p99(waits: list[float]) -> float:
    return statistics.quantiles(waits, n=100)[-1]


def _write_or_read() -> tuple[str, list[int]]:
    row = random.randint(1, _ROWS)  # noqa: S311
    if random.random() < 0.5:  # noqa: S311
        return "SELECT filler FROM beside WHERE id = %s", [row]
    return "UPDATE beside SET filler = filler WHERE id = %s", [row]


def _beside(address: str, id: int) -> tuple[float, float, float]:
    """Return the seconds of a backfill with rests, and the p99 of readers and writers with and without it, in turn."""
    took, with_it, without, left = 0.0, list[float](), list[float](), True
    while left:
        with Beside(address, _CLIENTS, _PAUSE, _write_or_read) as alone:
            time.sleep(_WINDOW)
        with Beside(address, _CLIENTS, _PAUSE, _write_or_read) as beside:
            begun = time.monotonic()
            left = _work(address, id, rests=True, limit=_WINDOW)
            took += time.monotonic() - begun
        with_it += beside.waits
        without += alone.waits
    return took, _p99(with_it), _p99(without)


def _measure(address: str, folder: Path) -> list[Claim]:
    ours, other = ([f"{name}_{number}" for number in range(_ROUNDS)] for name in ("ours", "other"))
    declared = [*ours, "killed", "beside"]
    with psycopg.connect(address, autocommit=True) as connection:
        for table in (*declared, *other):
            connection.execute(_TABLE.format(table).encode() % str(_ROWS).encode())
            connection.execute(f"VACUUM ANALYZE {table}".encode())
    asked = "; ".join(f"backfill('{table}', set='{_SET}', where='{_WHERE}')" for table in declared)
    write_history(folder, ["SELECT 1"])
    script = next((folder / "versions").glob("*.py"))
    call = f"from pulumi_alembic import backfill; {asked}"
    script.write_text(script.read_text().replace('op.execute("""SELECT 1""")', call))
    migrator.migrate(Job(address, folder, FIRST, policy=Policy(backfill_in_update=0.001)), OPEN, SILENT)
    with connect(address) as connection:
        ids = {backfill.table.rpartition(".")[2]: backfill.id for backfill in store.read(connection)}
    pairs = [
        (seconds(lambda: _work(address, ids[mine])), seconds(lambda: _by_hand(address, theirs)))  # noqa: B023
        for mine, theirs in zip(ours, other, strict=True)
    ]
    mine, theirs = (statistics.median(times) for times in zip(*pairs, strict=True))
    throttled, with_it, without = _beside(address, ids["beside"])
    _killed(address, ids["killed"])
    with psycopg.connect(address) as connection:
        [(once,)] = connection.execute("SELECT count(*) FROM killed WHERE n = id AND seen = 1").fetchall()
    ratio = statistics.median(one / another for one, another in pairs)
    print(
        f"{_ROWS / mine:,.0f} rows/s without rests, {_ROWS / theirs:,.0f} by hand, {_ROWS / throttled:,.0f} with rests"
    )
    return [
        Claim("a backfill without rests, beside a loop by hand", mine, theirs, ratio, 1 / _SLOWER),
        Claim("a backfill with rests, beside one without", throttled, mine, throttled / mine, 1 / _THROTTLED),
        Claim("p99 of readers and writers, beside none", with_it, without, with_it / without, _P99),
        Claim(f"rows not set once after {_KILLS} kills", _ROWS - once, _ROWS, 1 - once / _ROWS, 0.0, "rows"),
    ]


def main() -> None:
    """Measure and print every claim. Exit code 1 if one does not hold."""
    with tempfile.TemporaryDirectory() as name, empty_database() as database:
        claims = _measure(url(database).replace("+psycopg", ""), Path(name) / "migrations")
    sys.exit(0 if report(claims) else 1)


if __name__ == "__main__":
    main()
