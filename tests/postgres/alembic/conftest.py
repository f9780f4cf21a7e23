"""A database that SQL alone has set up for migrations, as the program does it with Pulumi."""

import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from psycopg import sql

from pulumi_alembic.migrate import migrator
from pulumi_alembic.migrate.job import Job
from pulumi_alembic.stack.log import Log
from tests import loaded
from tests.conftest import Database, verifier
from tests.postgres.alembic.hearing import Gates, Hears
from tests.postgres.alembic.owner import connect

PROJECT = Path(__file__).parents[3]

ENV = """
import os
import sqlalchemy as sa
from pulumi_alembic import environment

environment.run(target_metadata=sa.MetaData(), url=lambda: os.environ["DATABASE_URL"])
"""


@dataclass(frozen=True)
class Target:
    """A database at base. `url` is the migrator's, and `directory` contains the scripts."""

    url: str
    directory: Path

    def migrate(self, revision: str, **options: Any) -> str:
        """Bring the database to `revision`, and return the revision that the database then reports."""
        hears = {name: options.pop(name) for name in [*options] if name.startswith("on_")}
        gates = {name: options.pop(name) for name in ("approve", "back_up") if name in options}
        return migrator.migrate(self.job(revision, "pulumi up", **options), Gates(**gates), Hears(**hears))

    def job(self, revision: str, *more: Any, **options: Any) -> Job:
        """Return the job of a run to `revision`."""
        return Job(self.url, self.directory, revision, *more, **options)

    def query(self, statement: str) -> list[tuple[object, ...]]:
        """Return the rows of one statement, run as the owner with the login's search_path."""
        with connect(self.url) as session:
            return session.execute(statement.encode()).fetchall()

    def configure(self) -> None:
        """Write the pyproject.toml that the `alembic` command needs, as in a separate project."""
        (self.directory.parent / "pyproject.toml").write_text(
            '[tool.alembic]\nscript_location = "%(here)s/migrations"\nfile_template = "%%(rev)s_%%(slug)s"\n'
            "revision_environment = true\n"
        )

    @contextmanager
    def running(self, program: str, *arguments: str) -> Iterator[loaded.Started | subprocess.Popen[str]]:
        """Run a command on the scripts beside the block, and kill it at the end of the block."""
        self.configure()
        command = [str(Path(sys.executable).with_name(program)), *arguments]
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("DATABASE_URL", self.url)
            process = loaded.start(command, self.directory.parent, subprocess.DEVNULL)
        try:
            yield process
        finally:
            process.kill()
            process.communicate()

    def alembic(self, *arguments: str, check: bool = True) -> str:
        """Run the `alembic` command on the scripts, and return all its output."""
        self.configure()
        done = loaded.run(
            [Path(sys.executable).with_name("alembic"), *arguments],
            cwd=self.directory.parent,
            env=os.environ | {"DATABASE_URL": self.url},
        )
        assert done.returncode == 0 or not check, done.stderr
        return done.stdout + done.stderr

    def write(self, id: str, down: str | None, upgrade: str = "pass", downgrade: str = "pass") -> Path:
        """Add a script whose functions contain these lines."""
        path = self.directory / "versions" / f"{id}_script.py"
        path.write_text(
            f'"""script {id}"""\nfrom alembic import op\nrevision = {id!r}\ndown_revision = {down!r}\n'
            f"def upgrade():\n    {upgrade}\ndef downgrade():\n    {downgrade}\n"
        )
        return path


@pytest.fixture
def make_target(make_database: Callable[[], Database], database: Database) -> Callable[[Path], Target]:
    """Return a function that sets up a database for the scripts in a folder. The first call uses `database`."""
    unused = [database]

    def make(directory: Path) -> Target:
        return prepare(unused.pop() if unused else make_database(), directory)

    return make


@pytest.fixture
def target(make_target: Callable[[Path], Target]) -> Target:
    """A fresh database with the project's own scripts."""
    return make_target(PROJECT / "migrations")


@pytest.fixture
def empty_target(make_target: Callable[[Path], Target], tmp_path: Path) -> Target:
    """A database without scripts, which the test writes."""
    directory = tmp_path / "migrations"
    (directory / "versions").mkdir(parents=True)
    (directory / "env.py").write_text(ENV)
    shutil.copy(PROJECT / "migrations" / "script.py.mako", directory)
    return make_target(directory)


def write_for_tenants(target: Target, one: str, two: str) -> None:
    """Write two revisions with these ids. The second fails in a database or schema with a table `broken`."""
    target.write(one, None, "op.execute('CREATE TABLE one (id int)')", "op.execute('DROP TABLE one')")
    target.write(
        two,
        one,
        "op.execute('CREATE TABLE two (id int)'); "
        "op.execute(\"DO $$ BEGIN IF to_regclass('broken') IS NOT NULL THEN RAISE 'broken'; END IF; END $$\")",
        "op.execute('DROP TABLE two')",
    )


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Collect the messages below the resource."""
    said: list[str] = []
    for name in ("info", "warning"):
        monkeypatch.setattr(Log, name, lambda self, text: said.append(text))
    return said


def prepare(database: Database, directory: Path) -> Target:
    """Create the roles and schemas that a migrator needs, in a database that has none of them."""
    password = secrets.token_hex(12)
    roles = {role: sql.Identifier(f"{database.name}_{role}") for role in ("owner", "migrator")}
    with database.connect() as admin:
        for statement in (
            "CREATE ROLE {owner}",
            f"CREATE ROLE {{migrator}} LOGIN NOINHERIT PASSWORD '{verifier(password)}' IN ROLE {{owner}}",
            "ALTER ROLE {migrator} SET search_path = app",
            "GRANT {owner} TO CURRENT_USER",
            "CREATE SCHEMA app AUTHORIZATION {owner}",
            "CREATE SCHEMA migrations AUTHORIZATION {owner}",
        ):
            admin.execute(sql.SQL(statement).format(**roles))
    server = database.server
    login = f"{database.name}_migrator:{password}"
    return Target(f"postgresql://{login}@{server.host}:{server.port}/{database.name}", directory)
