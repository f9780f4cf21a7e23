"""`pulumi-alembic history` of 10,000 rows compared with psql printing the same rows, as whole commands.

The benchmark needs psql and a PostgreSQL server (PG* variables, or the development server).
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

import psycopg

from benchmarks.measure import claim, report, seconds
from benchmarks.server import empty_database, environment, url
from pulumi_alembic.ledger import ledger

_ROWS = 10_000
_HISTORY = Path(sys.executable).with_name("pulumi-alembic")
_FILL = """
INSERT INTO migrations.ledger (revision, direction, down_revisions, checksum, source, tools, event,
    heads_before, heads_after, stack, commit, person, seconds, statements)
SELECT CASE WHEN up THEN 'b' ELSE 'a' END, CASE WHEN up THEN 'upgrade' ELSE 'downgrade' END, '{a}',
    'v1:' || md5(n::text), convert_to(repeat(md5(n::text), 12), 'UTF8'), '{}', 'applied',
    ARRAY[CASE WHEN up THEN 'a' ELSE 'b' END], ARRAY[CASE WHEN up THEN 'b' ELSE 'a' END],
    'production', md5(n::text), 'somebody', random(), 3
FROM (SELECT n, n %% 2 = 0 AS up FROM generate_series(1, %s) n) AS rows
"""
_SAME = """
SELECT applied_at, heads_before, heads_after, direction, revision, applied_by, person, stack, left(commit, 8), seconds,
    statements, backup, event, detail FROM migrations.ledger ORDER BY id DESC
"""


def _fill(database: str) -> None:
    with psycopg.connect(url(database).replace("+psycopg", ""), autocommit=True) as connection:
        ledger.prepare(connection)
        connection.execute(_FILL, [_ROWS])
        connection.execute("CREATE TABLE migrations.alembic_version AS SELECT 'b' AS version_num")
        connection.execute("ANALYZE migrations.ledger")


def _printed(folder: str, variables: dict[str, str], *command: str | Path) -> float:
    def run() -> None:
        done = subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, check=True)
        if done.stdout.count("\n") < _ROWS:
            sys.exit(f"{command[0]} printed too few lines:\n{done.stdout[-2000:]}{done.stderr}")

    return seconds(run)


def main() -> None:
    """Measure and print the claim. Exit with 1 if it does not hold."""
    with empty_database() as database, tempfile.TemporaryDirectory() as folder:
        _fill(database)
        ours = environment() | {"DATABASE_URL": url(database)}
        theirs = environment() | {"PGDATABASE": database}
        history = (_HISTORY, "history", "--limit", "all", "--directory", ".")
        psql = ("psql", "--no-psqlrc", "--command", _SAME)
        what = f"history of {_ROWS:,} rows ÷ psql printing them"
        measured = claim(what, partial(_printed, folder, ours, *history), partial(_printed, folder, theirs, *psql), 4)
    sys.exit(0 if report([measured]) else 1)


if __name__ == "__main__":
    main()
