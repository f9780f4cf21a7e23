"""A batched update of two million rows that is killed five times, beside sessions that write to the same rows.

Every row is updated once, and no writer waits longer than a tenth of a second. The benchmark needs a PostgreSQL server
(PG* variables, or the development server), and an otherwise idle machine.
"""

from __future__ import annotations

import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import psycopg

from benchmarks.beside import Beside
from benchmarks.measure import Claim, report
from benchmarks.server import empty_database, environment, url

_ROWS = int(sys.argv[1]) if len(sys.argv) > 1 else 2_000_000
_KILLS = 5
_WRITERS = 4
_PAUSE = 0.005  # seconds between two statements of a writer
_LONGEST = 0.1  # seconds that a writer is allowed to wait
_ALONE = 20.0  # seconds of writing without the update
_FIRST, _SECOND = "20250101_001", "20250102_002"

_TABLES = f"""
CREATE TABLE item (id int PRIMARY KEY, n int NOT NULL DEFAULT 0, written int NOT NULL DEFAULT 0, filler text);
INSERT INTO item SELECT n, 0, 0, repeat('x', 60) FROM generate_series(1, {_ROWS}) AS n;
"""  # noqa: S608
_ANYWHERE = "UPDATE item SET written = written + 1 WHERE id = %s"
_MEETING = "UPDATE item SET written = written + 1 WHERE id = %s + (SELECT max(walked) FROM migrations.batches)"

_SCRIPT = """from alembic import op
from pulumi_alembic import batched_update

revision = "{id}"
down_revision = {down!r}


def upgrade() -> None:
    {body}


def downgrade() -> None:
    pass
"""

_ENV = """
import os
import sqlalchemy as sa
from pulumi_alembic import environment

environment.run(target_metadata=sa.MetaData(), url=lambda: os.environ["DATABASE_URL"])
"""

_PROJECT = """
[tool.alembic]
script_location = "%(here)s/migrations"
"""


class Rows:
    """The rows that the writers update at random.

    When `meeting` is set, half of them are where the update currently works.
    """

    meeting = False

    def __call__(self) -> tuple[str, list[int]]:
        """Return the statement for the next row."""
        meeting = self.meeting and random.random() < 0.5  # noqa: S311
        update, rows = (_MEETING, 2000) if meeting else (_ANYWHERE, _ROWS)
        return update, [random.randint(1, rows)]  # noqa: S311


def _prepare(folder: Path) -> None:
    versions = folder / "migrations" / "versions"
    versions.mkdir(parents=True)
    (folder / "pyproject.toml").write_text(_PROJECT)
    (folder / "migrations" / "env.py").write_text(_ENV)
    for id, down, body in (
        (_FIRST, None, f'op.execute("""{_TABLES}""")'),
        (_SECOND, _FIRST, 'batched_update("item", "n = n + 1")'),
    ):
        (versions / f"{id}_bench.py").write_text(_SCRIPT.format(id=id, down=down, body=body))


def _start(folder: Path, address: str, target: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [Path(sys.executable).with_name("alembic"), "upgrade", target],
        cwd=folder,
        env=environment() | {"DATABASE_URL": address},
    )


def _run(folder: Path, address: str, target: str) -> None:
    if _start(folder, address, target).wait():
        sys.exit("the migration failed")


def _kill_at(process: subprocess.Popen[bytes], reached: Callable[[], bool]) -> None:
    while not reached():
        if process.poll() is not None:
            sys.exit("the update ended before it could be killed")
        time.sleep(0.01)
    process.kill()
    process.wait()


def _walked(looking: psycopg.Connection[tuple[int | None]]) -> int:
    if looking.execute("SELECT to_regclass('migrations.batches')::int").fetchone() == (None,):
        return 0
    [(rows,)] = looking.execute("SELECT max(walked) FROM migrations.batches").fetchall()
    return rows or 0


def _killed_again_and_again(folder: Path, address: str, rows: Rows) -> float:
    """Run the update to its end with kills in between, and return the total time."""
    begun = time.monotonic()
    with psycopg.connect(address, autocommit=True) as looking:
        for kill in range(1, _KILLS + 1):
            at = _ROWS * kill // (_KILLS + 1)
            _kill_at(_start(folder, address, "head"), lambda at=at: _walked(looking) >= at)  # type: ignore[misc]
            rows.meeting = True
    _run(folder, address, "head")
    return time.monotonic() - begun


def main() -> None:
    """Measure and print every claim. Exit with 1 if one does not hold."""
    with tempfile.TemporaryDirectory() as name, empty_database() as database:
        folder, address = Path(name), url(database).replace("+psycopg", "")
        _prepare(folder)
        _run(folder, address, _FIRST)
        with psycopg.connect(address, autocommit=True) as connection:
            connection.execute("VACUUM ANALYZE item")
        rows = Rows()
        with Beside(address, _WRITERS, _PAUSE, rows) as alone:
            time.sleep(_ALONE)
        with Beside(address, _WRITERS, _PAUSE, rows) as beside:
            took = _killed_again_and_again(folder, address, rows)
        with psycopg.connect(address) as connection:
            once = connection.execute("SELECT count(*) FILTER (WHERE n = 1) FROM item").fetchone()
    worst, worst_alone = max(beside.waits), max(alone.waits)
    print(f"{_ROWS:,} rows in {took:.0f} s, killed {_KILLS} times; {len(beside.waits):,} writes meanwhile")
    print(f"the longest wait of a writer: {worst:.3f} s, without the update {worst_alone:.3f} s")
    updated = once[0] if once else 0
    claims = [
        Claim("rows not updated exactly once", abs(_ROWS - updated), _ROWS, abs(1 - updated / _ROWS), 0.0, "rows"),
        Claim("a writer's longest wait", worst, _LONGEST, worst / _LONGEST, 1.0),
    ]
    sys.exit(0 if report(claims) else 1)


if __name__ == "__main__":
    main()
