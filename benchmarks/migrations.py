"""`pulumi-alembic upgrade` compared with a bare `alembic upgrade head` of the same 1,000 revisions.

Whole commands are measured. The bare one is Alembic with a plain env.py: no ledger, no manifest, no lock, no timeouts.
Both commit each revision separately. The benchmark needs a PostgreSQL server (PG* variables, or the development
server).
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks.measure import Claim, claim, report, seconds
from benchmarks.server import empty_database, environment, url

_COUNT = 1000
_BIN = Path(sys.executable).parent
_OURS = ("pulumi-alembic", "upgrade")
_BARE = ("alembic", "upgrade", "head")

_PROJECT = '[tool.alembic]\nscript_location = "%(here)s/migrations"\n'

_OUR_ENV = """
import os
import sqlalchemy as sa
from pulumi_alembic import environment

environment.run(target_metadata=sa.MetaData(), url=lambda: os.environ["DATABASE_URL"])
"""

_BARE_ENV = """
import os
import sqlalchemy as sa
from alembic import context

engine = sa.create_engine(os.environ["DATABASE_URL"], poolclass=sa.NullPool)
with engine.connect() as connection:
    context.configure(connection=connection, transaction_per_migration=True)
    with context.begin_transaction():
        context.run_migrations()
"""

_SCRIPT = '''"""make table {number}"""

from alembic import op

revision = "{id}"
down_revision = {down!r}
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("CREATE TABLE table_{number} (id bigint, name text)")


def downgrade() -> None:
    op.execute("DROP TABLE table_{number}")
'''


@dataclass(frozen=True)
class Project:
    """A folder with revisions and the command that applies them."""

    folder: Path
    command: tuple[str, ...]

    @classmethod
    def make(cls, folder: Path, env: str, command: tuple[str, ...], count: int) -> Project:
        """Create a project in `folder`, which must not exist yet."""
        versions = folder / "migrations" / "versions"
        versions.mkdir(parents=True)
        (folder / "pyproject.toml").write_text(_PROJECT)
        (folder / "migrations" / "env.py").write_text(env)
        down = None
        for number in range(count):
            id = f"20250101_{number:03}"
            (versions / f"{id}_table.py").write_text(_SCRIPT.format(number=number, id=id, down=down))
            down = id
        return cls(folder, command)

    def run(self, database: str, *command: str) -> int:
        """Run its command, or another one, on a database, and return the peak memory in bytes.

        A failure ends the benchmark.
        """
        name, *arguments = command or self.command
        process = subprocess.Popen(
            [_BIN / name, *arguments],
            cwd=self.folder,
            env=self.environment(database),
            stdout=subprocess.DEVNULL,
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            sys.exit(f"{name} failed")
        return usage.ru_maxrss * 1024

    def environment(self, database: str) -> dict[str, str]:
        """Return the environment of its commands, without any other variable that names a server."""
        here = {name: value for name, value in environment().items() if not name.startswith("PG")}
        return here | {"DATABASE_URL": url(database), "PGOPTIONS": "-c synchronous_commit=off"}

    def apply_all(self) -> float:
        """Return the time to apply everything. The disk is excluded, because commits do not wait for it."""
        with empty_database() as database:
            return seconds(partial(self.run, database))

    def memory(self) -> float:
        """Return the peak memory of applying everything, in MB."""
        with empty_database() as database:
            return self.run(database) / 1e6

    def apply_none(self, database: str) -> float:
        """Return the time of a run when everything is applied already."""
        return seconds(partial(self.run, database))


def our_project(folder: Path, count: int) -> Project:
    """Create a project with our env.py and a manifest."""
    made = Project.make(folder, _OUR_ENV, _OURS, count)
    made.run("", "pulumi-alembic", "manifest")
    return made


def bare_project(folder: Path, count: int) -> Project:
    """Create a project with plain Alembic's env.py."""
    return Project.make(folder, _BARE_ENV, _BARE, count)


def _claims(folder: Path) -> Iterator[Claim]:
    ours, bare = our_project(folder / "ours", _COUNT), bare_project(folder / "bare", _COUNT)
    with empty_database() as one, empty_database() as other:
        ours.run(one)
        bare.run(other)
        noop = partial(ours.apply_none, one), partial(bare.apply_none, other)
        yield claim(f"nothing pending among {_COUNT} revisions, ours ÷ bare", *noop, limit=0.3)
    yield claim(f"applying {_COUNT} revisions, ours ÷ bare", ours.apply_all, bare.apply_all, limit=1.1, rounds=5)
    memory = claim("memory of that, ours ÷ bare", ours.memory, bare.memory, limit=1.2, rounds=1)
    yield Claim(memory.what, memory.ours, memory.other, memory.ratio, memory.limit, "MB")


def main() -> None:
    """Measure and print every claim. Exit with 1 if one does not hold."""
    with tempfile.TemporaryDirectory() as name:
        sys.exit(0 if report(list(_claims(Path(name)))) else 1)


if __name__ == "__main__":
    main()
