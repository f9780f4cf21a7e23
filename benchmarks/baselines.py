"""An empty database that starts from the baseline of revision 1,000, as whole commands.

Beside `psql -1 -f` of the same file, and beside running all revisions. Needs psql, pg_dump and a PostgreSQL server
whose admin can create databases (PG* variables, or the development server).
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from benchmarks.measure import Claim, claim, report, seconds
from benchmarks.migrations import Project, our_project
from benchmarks.server import empty_database, environment, url

_COUNT = 1000
_LAST = f"20250101_{_COUNT - 1}"


def _psql(file: Path) -> float:
    with empty_database() as database:
        variables = environment() | {"PGDATABASE": database, "PGOPTIONS": "-c synchronous_commit=off"}
        command = ["psql", "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--output=/dev/null", "-1", "-f", file]
        return seconds(partial(subprocess.run, command, env=variables, check=True))


def _by_scripts(ours: Project) -> float:
    with empty_database() as database:
        return seconds(partial(ours.run, database, *ours.command, "--no-baseline"))


def _claims(folder: Path) -> Iterator[Claim]:
    ours = our_project(folder, _COUNT)
    with empty_database() as database:
        admin = url("postgres").replace("+psycopg", "")
        ours.run(database, "pulumi-alembic", "baseline", _LAST, "--rehearse-with", admin)
    file = folder / "migrations" / "baselines" / f"{_LAST}.sql"
    what = f"a new database at revision {_COUNT:,} by its baseline"
    yield claim(f"{what} ÷ psql", ours.apply_all, partial(_psql, file), limit=1.3)
    yield claim(f"{what} ÷ by its scripts", ours.apply_all, partial(_by_scripts, ours), limit=0.35)


def main() -> None:
    """Measures and prints every claim; exit code 1 where one does not hold."""
    with tempfile.TemporaryDirectory() as name:
        sys.exit(0 if report(list(_claims(Path(name) / "ours"))) else 1)


if __name__ == "__main__":
    main()
