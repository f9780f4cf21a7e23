"""A stack's update of a long history compared with a bare `alembic upgrade head` of the same revisions.

Whole commands are measured. The stack has one resource, the migrations of an existing database, and the embedded engine
runs it without a preview. The bare command is Alembic's own default: a plain env.py, and one transaction for all
revisions. The benchmark needs a PostgreSQL server (PG* variables, or the development server). It also compares the
library's command with golang-migrate (`migrate`) and dbmate, if they are on the PATH.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from benchmarks.measure import Claim, claim, report, seconds
from benchmarks.migrations import Project, bare_project, our_project
from benchmarks.server import empty_database, environment
from benchmarks.stacks import EMBEDDED, Stack

_COUNT = 1000
_BACK = 100
_FIRST = f"20250101_{_COUNT - 1 - _BACK:03}"
_WITHOUT_PREVIEW = "--skip-preview"
_UP, _DOWN = "CREATE TABLE table_{} (id bigint, name text);\n", "DROP TABLE table_{};\n"


@contextmanager
def _stack(ours: Project) -> Iterator[Stack]:
    """Create a new stack of the project, with an empty database."""
    with empty_database() as database, tempfile.TemporaryDirectory() as name:
        yield Stack.of_migrations(Path(name) / "many", ours.folder / "migrations", ours.environment(database))


def _stack_forward(ours: Project) -> float:
    with _stack(ours) as stack:
        return stack.up(EMBEDDED, _WITHOUT_PREVIEW)


def _stack_back(ours: Project) -> float:
    with _stack(ours) as stack:
        stack.up(EMBEDDED, _WITHOUT_PREVIEW)
        stack.run(EMBEDDED, "config", "set", "many:revision", _FIRST)
        return stack.up(EMBEDDED, _WITHOUT_PREVIEW)


def _bare_back(bare: Project) -> float:
    with empty_database() as database:
        bare.run(database)
        return seconds(partial(bare.run, database, "alembic", "downgrade", _FIRST))


def _in_one_transaction(folder: Path) -> Project:
    bare = bare_project(folder, _COUNT)
    env = folder / "migrations" / "env.py"
    env.write_text(env.read_text().replace(", transaction_per_migration=True", ""))
    return bare


def _for_golang_migrate(folder: Path) -> Path:
    folder.mkdir()
    for number in range(_COUNT):
        path = folder / f"{number:04}_table"
        path.with_suffix(".up.sql").write_text(_UP.format(number))
        path.with_suffix(".down.sql").write_text(_DOWN.format(number))
    return folder


def _for_dbmate(folder: Path) -> Path:
    folder.mkdir()
    for number in range(_COUNT):
        text = f"-- migrate:up\n{_UP.format(number)}-- migrate:down\n{_DOWN.format(number)}"
        (folder / f"{number:04}_table.sql").write_text(text)
    return folder


def _run(command: Sequence[str], database: str) -> None:
    login = environment()
    place = f"{login['PGUSER']}@{login['PGHOST']}:{login.get('PGPORT', '5432')}/{database}"
    address = f"postgres://{place}?sslmode=disable&synchronous_commit=off"
    done = subprocess.run([each.format(address) for each in command], env=login, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{command[0]} failed:\n{(done.stdout + done.stderr)[-2000:]}")


def _forward(command: Sequence[str]) -> float:
    with empty_database() as database:
        return seconds(partial(_run, command, database))


def _beside_dbmate(dbmate: str, ours: Project, folder: Path) -> Claim:
    command = [dbmate, "--no-dump-schema", "--migrations-dir", str(_for_dbmate(folder)), "--url", "{}", "migrate"]
    what = f"applying {_COUNT} revisions, ours ÷ dbmate"
    return claim(what, ours.apply_all, partial(_forward, command), limit=1.25, rounds=5)


def _beside_golang_migrate(migrate: str, ours: Project, folder: Path) -> Claim:
    command = [migrate, "-path", str(_for_golang_migrate(folder)), "-database", "{}", "up"]
    with empty_database() as one, empty_database() as other:
        ours.run(one)
        _run(command, other)
        noop = partial(ours.apply_none, one), partial(seconds, partial(_run, command, other))
        return claim(f"nothing pending among {_COUNT} revisions, ours ÷ golang-migrate", *noop, limit=6)


def _claims(folder: Path) -> Iterator[Claim]:
    ours, bare = our_project(folder / "ours", _COUNT), _in_one_transaction(folder / "bare")
    each = bare_project(folder / "each", _COUNT)
    forward, back = partial(_stack_forward, ours), partial(_stack_back, ours)
    yield claim(f"a stack's update of {_COUNT} revisions ÷ alembic", forward, bare.apply_all, limit=1.4, rounds=5)
    yield claim(f"a stack's update {_BACK} back ÷ alembic", back, partial(_bare_back, bare), limit=1.7, rounds=5)
    what = f"applying {_COUNT} revisions, ours ÷ alembic with a transaction for each"
    yield claim(what, ours.apply_all, each.apply_all, limit=1.0, rounds=5)
    for name, beside in (("dbmate", _beside_dbmate), ("migrate", _beside_golang_migrate)):
        if program := shutil.which(name):
            yield beside(program, ours, folder / name)
        else:
            print(f"no {name} on the PATH: the comparison with it is left out")


def main() -> None:
    """Measure and print every claim. Exit with 1 if one does not hold."""
    with tempfile.TemporaryDirectory() as name:
        sys.exit(0 if report(list(_claims(Path(name)))) else 1)


if __name__ == "__main__":
    main()
