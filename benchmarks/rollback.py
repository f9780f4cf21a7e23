"""A rollback of 100 revisions with the ledger's stored scripts, compared with a bare `alembic downgrade`.

Our measurement is the update of a stack in a checkout without the scripts, as a process: each script is compared with
its digest, and each revision is a transaction with its row in the ledger. The preview is excluded in both measurements.
The benchmark needs a PostgreSQL server (PG* variables, or the development server).
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from benchmarks.measure import Claim, claim, report, seconds
from benchmarks.migrations import Project, bare_project, our_project
from benchmarks.server import empty_database
from pulumi_alembic.scripts import trust
from pulumi_alembic.scripts.history import History

_COUNT = 101
_FIRST = "20250101_000"

_BACK = """
import os, sys
from pathlib import Path
from pulumi_alembic.migrate import migrator
from pulumi_alembic.migrate.job import Job
from pulumi_alembic.scripts import trust

target, applied = sys.argv[1:]
vouched = trust.Trust(trust.read(applied, "the benchmark"), rolls_back=True)
migrator.migrate(Job(os.environ["DATABASE_URL"], Path("migrations"), target, trust=vouched))
"""


def _ours_back(newer: Project, older: Project, applied: str) -> float:
    with empty_database() as database:
        newer.run(database)
        command = [sys.executable, "-c", _BACK, _FIRST, applied]
        environment = older.environment(database)
        return seconds(partial(subprocess.run, command, cwd=older.folder, env=environment, check=True))


def _bare_back(bare: Project) -> float:
    with empty_database() as database:
        bare.run(database)
        return seconds(partial(bare.run, database, "alembic", "downgrade", _FIRST))


def _claims(folder: Path) -> Iterator[Claim]:
    newer, bare = our_project(folder / "newer", _COUNT), bare_project(folder / "bare", _COUNT)
    applied = trust.write(History.load(newer.folder / "migrations").revisions.values())
    older = Project(shutil.copytree(newer.folder, folder / "older"), newer.command)
    for script in (older.folder / "migrations" / "versions").glob("*.py"):
        if not script.name.startswith(_FIRST):
            script.unlink()
    History.load(older.folder / "migrations").write_manifest()
    ours, other = partial(_ours_back, newer, older, applied), partial(_bare_back, bare)
    yield claim("100 revisions back by the ledger, ours ÷ bare alembic downgrade", ours, other, limit=1.15)


def main() -> None:
    """Measure and print the claim. Exit with 1 if it does not hold."""
    with tempfile.TemporaryDirectory() as name:
        sys.exit(0 if report(list(_claims(Path(name)))) else 1)


if __name__ == "__main__":
    main()
