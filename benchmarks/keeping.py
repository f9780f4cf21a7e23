"""The time for which a table of a million rows cannot be read while a downgrade preserves its rows.

A revision drops the table, and a session beside it reads one row of it again and again. Its longest wait for an answer
is at most 50 ms. The answer is a row, or the error that the table does not exist. No reader waits longer. The benchmark
also measures the whole downgrade, and the upgrade that restores the rows. It needs a PostgreSQL server (PG* variables,
or the development server).
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from benchmarks.measure import Claim, report, seconds
from benchmarks.server import empty_database, url
from pulumi_alembic.migrate import migrator
from pulumi_alembic.migrate.job import Job

_ROWS = 1_000_000
_COMMAND = "python -m benchmarks.keeping"
_ROUNDS = 3
_LIMIT = 0.05  # seconds
_FIRST, _SECOND = "20250101_001", "20250102_002"

_SCRIPT = '''from alembic import op

revision = "{id}"
down_revision = {down!r}


def upgrade() -> None:
    op.execute("""{up}""")


def downgrade() -> None:
    op.execute("{back}")
'''
_TABLE = """
CREATE TABLE messages (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(), conversation int NOT NULL REFERENCES conversations ON DELETE CASCADE,
    role varchar(20) NOT NULL, content text NOT NULL, tool_calls jsonb, created_at timestamptz DEFAULT now()
);
CREATE INDEX ON messages (conversation)
"""
_FILL = f"""
INSERT INTO conversations SELECT generate_series(1, 1000);
INSERT INTO messages (conversation, role, content)
SELECT 1 + n % 1000, 'user', repeat('x', 100) FROM generate_series(1, {_ROWS}) n;
ANALYZE messages
"""  # noqa: S608 - a number


def _write(folder: Path) -> None:
    versions = folder / "versions"
    versions.mkdir(parents=True)
    (folder / "env.py").write_text(
        "import sqlalchemy as sa\nfrom pulumi_alembic import environment\n"
        "environment.run(target_metadata=sa.MetaData(), url=lambda: '')\n"
    )
    first = _SCRIPT.format(id=_FIRST, down=None, up="CREATE TABLE conversations (id int PRIMARY KEY)", back="SELECT 1")
    second = _SCRIPT.format(id=_SECOND, down=_FIRST, up=_TABLE, back="DROP TABLE messages")
    for id, text in ((_FIRST, first), (_SECOND, second)):
        (versions / f"{id}_bench.py").write_text(text)


@contextmanager
def _reader(address: str) -> Iterator[list[float]]:
    """Collect the waits of a session that reads until the table is dropped."""
    waits: list[float] = []
    ready, stop = threading.Event(), threading.Event()

    def read() -> None:
        with psycopg.connect(address, autocommit=True) as connection:

            def one() -> None:
                try:
                    connection.execute("SELECT FROM messages LIMIT 1")
                except psycopg.errors.UndefinedTable:
                    stop.set()

            while not stop.is_set():
                waits.append(seconds(one))
                ready.set()

    thread = threading.Thread(target=read)
    thread.start()
    ready.wait()
    yield waits
    stop.set()
    thread.join()


def main() -> None:
    """Measure and print the claim. Exit with 1 if it does not hold."""
    stalls, downs, ups = [], [], []
    with tempfile.TemporaryDirectory() as name, empty_database() as database:
        address = url(database).replace("+psycopg", "")
        folder = Path(name) / "migrations"
        _write(folder)
        migrator.migrate(Job(address, folder, _SECOND, _COMMAND))
        with psycopg.connect(address) as owner:
            owner.execute(f"CREATE SCHEMA kept; {_FILL}".encode())
        for _ in range(_ROUNDS):
            with _reader(address) as waits:
                downs.append(seconds(lambda: migrator.migrate(Job(address, folder, _FIRST, _COMMAND))))
            stalls.append(max(waits))
            ups.append(seconds(lambda: migrator.migrate(Job(address, folder, _SECOND, _COMMAND))))
            with psycopg.connect(address, autocommit=True) as owner:
                owner.execute("VACUUM (ANALYZE) messages")
                assert owner.execute("SELECT count(*) FROM messages").fetchone() == (_ROWS,)  # noqa: S101
    stall = statistics.median(stalls)
    print(f"stalls: {', '.join(f'{each * 1000:.0f} ms' for each in sorted(stalls))}")
    print(f"the downgrade takes {statistics.median(downs):.2f} s, the upgrade {statistics.median(ups):.2f} s")
    what = f"a reader's longest wait while {_ROWS:,} rows are set aside"
    sys.exit(0 if report([Claim(what, stall, _LIMIT, stall / _LIMIT, 1.0)]) else 1)


if __name__ == "__main__":
    main()
