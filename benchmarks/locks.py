"""How long readers stall behind a migration that itself is blocked, and how soon it is through after that.

Behind a transaction of six seconds that has read and written a table, a revision alters the table, while four readers
poll it. Needs a PostgreSQL server (PG* variables, or the development server).
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import psycopg

from benchmarks.beside import Beside
from benchmarks.measure import Claim, report, seconds
from benchmarks.scripts import FIRST, SECOND, write_scripts
from benchmarks.server import empty_database, url
from pulumi_alembic.migrate import migrator
from pulumi_alembic.migrate.job import Job
from pulumi_alembic.policy import Policy

_BLOCKED = 6.0  # seconds
_READERS = 4
_COMMAND = "python -m benchmarks.locks"
_LATEST = 1.0  # seconds after the blocker's end

_TABLES = """
CREATE TABLE parent (id int PRIMARY KEY);
CREATE TABLE item (id int PRIMARY KEY, parent int, name varchar(50), amount int, old text);
INSERT INTO parent SELECT generate_series(1, 100);
INSERT INTO item SELECT n, 1 + n % 100, 'item ' || n, n, 'x' FROM generate_series(1, 2000) AS n;
"""

_KINDS = {
    "ADD COLUMN": "ADD COLUMN new text",
    "ADD COLUMN with a volatile default": "ADD COLUMN new uuid DEFAULT gen_random_uuid()",
    "DROP COLUMN": "DROP COLUMN old",
    "RENAME COLUMN": "RENAME COLUMN name TO title",
    "widen a varchar": "ALTER COLUMN name TYPE varchar(100)",
    "int to bigint": "ALTER COLUMN amount TYPE bigint",
    "SET NOT NULL": "ALTER COLUMN name SET NOT NULL",
    "ADD CHECK": "ADD CHECK (amount > 0)",
    "ADD FOREIGN KEY": "ADD FOREIGN KEY (parent) REFERENCES parent",
    "ADD UNIQUE": "ADD UNIQUE (name)",
}


def _readers(url: str) -> Beside:
    return Beside(url, _READERS, 0.01, lambda: ("SELECT id FROM item WHERE id = 7", []))


@contextmanager
def _blocker(url: str) -> Iterator[None]:
    with psycopg.connect(url) as connection:
        connection.execute("SELECT count(*) FROM item")
        connection.execute("UPDATE item SET amount = amount + 1 WHERE id = 1000")
        connection.execute("UPDATE parent SET id = id WHERE id = 50")
        yield


def _alone(url: str) -> float:
    """The readers' worst wait with nothing but the blocker beside them."""
    with _blocker(url), _readers(url) as readers:
        time.sleep(_BLOCKED)
    return max(readers.waits)


def _stall_and_delay(url: str, folder: Path, statement: str) -> tuple[float, float]:
    """The readers' worst wait while the statement is tried, and how long after the blocker's end it was through."""
    write_scripts(folder, _TABLES, f"ALTER TABLE item {statement}")
    migrator.migrate(Job(url, folder, FIRST, _COMMAND))
    with ThreadPoolExecutor() as threads, _readers(url) as readers:
        with _blocker(url):
            done = threads.submit(
                migrator.migrate, Job(url, folder, SECOND, _COMMAND, allow_data_loss=frozenset([SECOND]))
            )
            time.sleep(_BLOCKED)
        delay = seconds(done.result)
    return max(readers.waits), delay


def main() -> None:
    """Measures and prints every claim; exit code 1 where one does not hold."""
    timeout = Policy().lock_timeout
    claims, alone = [], []
    for kind, statement in _KINDS.items():
        with tempfile.TemporaryDirectory() as name, empty_database() as database:
            address = url(database).replace("+psycopg", "")
            stall, delay = _stall_and_delay(address, Path(name), statement)
            alone.append(_alone(address))
            claims.append(Claim(f"{kind}: readers' worst stall ÷ lock_timeout", stall, timeout, stall / timeout, 1.5))
            claims.append(Claim(f"{kind}: applied after the blocker ended", delay, _LATEST, delay / _LATEST, 1.0))
    print(f"the readers' worst wait without a migration: {statistics.median(alone):.3f} s")
    sys.exit(0 if report(claims) else 1)


if __name__ == "__main__":
    main()
