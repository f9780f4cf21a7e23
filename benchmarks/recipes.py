"""The stalls of code of two versions while the revisions of a recipe run on tables of 200,000 rows.

Clients of the code before run from the first revision up to the contracts, and clients of the code after from the
verified backfill to the last contract. None of their statements fails or reads a wrong value, and none waits for more
than 250 ms, apart from the time that the machine itself makes them wait. Another number of rows, and the names of
recipes, can be given as arguments. Needs a PostgreSQL server (PG* variables, or the development server), and a machine
that does little else.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from shutil import copy

import psycopg

from benchmarks.measure import Claim, report, seconds
from benchmarks.scripts import FIRST, write_history
from benchmarks.server import empty_database, url
from pulumi_alembic.migrate import migrator
from pulumi_alembic.migrate.backfills.work import fill_in
from pulumi_alembic.migrate.job import OPEN, SILENT, Job
from pulumi_alembic.scripts.history import History
from pulumi_alembic.scripts.revision import CONTRACT
from tests.postgres.alembic.recipe_cases import CASES, ROWS, SCHEMA, Case

_ROWS = int(sys.argv[1]) if len(sys.argv) > 1 else 200_000
_NAMES = sys.argv[2:] or [*CASES]
_LIMIT = 0.25  # seconds
_CLIENTS = 2  # of each version
_PAUSE = 0.002  # seconds between two statements of a client
_TOGETHER = 3.0  # seconds in which both versions run, and for which the machine is measured without a revision

_COMMAND = "python -m benchmarks.recipes"
_TEMPLATE = Path(__file__).parent.parent / "migrations" / "script.py.mako"
_SETTINGS = '[tool.alembic]\nscript_location = "%(here)s/migrations"\nfile_template = "%%(rev)s_%%(slug)s"\n'


@dataclass
class _Seen:
    """The longest statement of the clients in seconds, which one it was, and errors and wrong values."""

    worst: float = 0.0
    statement: str = ""
    wrong: list[str] = field(default_factory=list)

    def add(self, other: _Seen) -> None:
        """Add what other clients saw."""
        if other.worst > self.worst:
            self.worst, self.statement = other.worst, other.statement
        self.wrong += other.wrong


def _clients(address: str, statements: tuple[str, ...], end: Connection) -> None:
    """Run the clients in their own process. Report when all are connected, and send what they saw on request."""
    stop, seen, connected = threading.Event(), _Seen(), threading.Barrier(_CLIENTS + 1)

    def work() -> None:
        with psycopg.connect(address, autocommit=True) as session:
            connected.wait()
            while not stop.wait(_PAUSE):
                statement = random.choice(statements)  # noqa: S311 - not a secret
                values = {"id": random.randint(1, _ROWS), "n": random.randint(1, _ROWS)}  # noqa: S311
                begun = time.perf_counter()
                try:
                    done = session.execute(statement.encode(), values)
                    if done.description is not None and not {*done.fetchall()} <= {(True,)}:
                        seen.wrong.append(f"{statement} reads something else")
                except psycopg.Error as error:
                    seen.wrong.append(f"{statement}: {error}")
                took = time.perf_counter() - begun
                if took > seen.worst:
                    seen.worst, seen.statement = took, statement

    threads = [threading.Thread(target=work) for _ in range(_CLIENTS)]
    for thread in threads:
        thread.start()
    connected.wait()
    end.send(None)
    end.recv()
    stop.set()
    for thread in threads:
        thread.join()
    end.send(seen)


@contextmanager
def _running(address: str, statements: tuple[str, ...], seen: _Seen) -> Iterator[None]:
    """Let code of one version run within the block, and add to `seen` what it saw."""
    spawn = multiprocessing.get_context("spawn")
    here, there = spawn.Pipe()
    process = spawn.Process(target=_clients, args=(address, statements, there))
    process.start()
    here.recv()
    try:
        yield
    finally:
        here.send(None)
        seen.add(here.recv())
        process.join()


def _prepare(address: str, project: Path, name: str, case: Case) -> list[str]:
    """Create the tables and their rows, and return the ids of the recipe's revisions."""
    folder = project / "migrations"
    write_history(folder, [SCHEMA])
    copy(_TEMPLATE, folder)
    (project / "pyproject.toml").write_text(_SETTINGS)
    with psycopg.connect(address, autocommit=True) as session:
        session.execute("CREATE SCHEMA app; CREATE SCHEMA kept")
        session.execute(f"ALTER DATABASE {session.info.dbname} SET search_path = app".encode())
    migrator.migrate(Job(address, folder, FIRST, _COMMAND), OPEN, SILENT)
    with psycopg.connect(address, autocommit=True) as session:
        session.execute((ROWS % {"rows": _ROWS}).encode())
        session.execute("VACUUM ANALYZE")
    program = Path(sys.executable).with_name("pulumi-alembic")
    command = [str(program), "new", name.partition(" ")[0], *case.words]
    environment = os.environ | {"DATABASE_URL": address}
    done = subprocess.run(command, cwd=project, env=environment, check=True, capture_output=True, text=True)
    return [Path(line).name[:12] for line in done.stdout.splitlines()]


def _claims(name: str, case: Case) -> Iterator[Claim]:
    alone, seen = _Seen(), _Seen()
    with tempfile.TemporaryDirectory() as text, empty_database() as database:
        address, project = url(database).replace("+psycopg", ""), Path(text)
        folder = project / "migrations"
        ids = _prepare(address, project, name, case)
        history = History.load(folder)
        expands = [id for id in ids if history.revisions[id].phase != CONTRACT]
        # Before a contract without an expand no code of before runs. Its rows are not those that the new code expects.
        with _running(address, case.old if expands else case.new, alone):
            time.sleep(_TOGETHER)
        if expands:
            with _running(address, case.old, seen):
                for id in expands:
                    migrator.migrate(Job(address, folder, id, _COMMAND), OPEN, SILENT)
                fill_in(Job(address, folder, FIRST, _COMMAND), SILENT)
                with _running(address, case.new, seen):
                    time.sleep(_TOGETHER)
        with psycopg.connect(address, autocommit=True) as session:
            session.execute(case.fix.encode())
        with _running(address, case.new, seen):
            for id in ids[len(expands) :]:
                took = seconds(lambda: migrator.migrate(Job(address, folder, id, _COMMAND), OPEN, SILENT))  # noqa: B023
                print(f"  {history.revisions[id].message}: {took:.2f} s")
    print(f"{name}: alone {alone.worst * 1000:.0f} ms, worst {seen.worst * 1000:.0f} ms: {seen.statement[:60]}")
    limit = _LIMIT + alone.worst
    for wrong in seen.wrong[:5]:
        print(f"  {wrong}")
    yield Claim(f"{name}: the worst stall ÷ what is allowed", seen.worst, limit, seen.worst / limit, 1.0)
    yield Claim(f"{name}: errors and wrong values ÷ 1", len(seen.wrong), 1, len(seen.wrong), 0.0, "")


def main() -> None:
    """Measure and print every claim. Exit with 1 if one does not hold."""
    sys.exit(0 if report([claim for name in _NAMES for claim in _claims(name, CASES[name])]) else 1)


if __name__ == "__main__":
    main()
