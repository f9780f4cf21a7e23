"""Large catalogs: drift, a refresh and a preview of one revision, each compared with pg_dump --schema-only.

    python -m benchmarks.catalogs [TABLES]

The default is 10,000 tables, each with a key, an index, a check, and a foreign key or a sequence. Twice and a tenth of
this number follow. The server is separate, so that its lock table is large enough for pg_dump. The aims are 0.7 for a
refresh, and 0.5 for a preview that also rehearses. The limits are the values of a busy machine: a preview by static
analysis takes 0.42 of pg_dump's CPU, a rehearsed one 0.85, and a refresh 0.89. A quarter of pg_dump's time is its
search for the tables that a rehearsal copies.
"""

from __future__ import annotations

import re
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg

from benchmarks.measure import Claim, claim, report, seconds
from benchmarks.scripts import FIRST, SECOND, write_scripts
from benchmarks.tenants import Tenants
from pulumi_alembic.database.connection import connect
from pulumi_alembic.database.pg_programs import environment, find_client
from pulumi_alembic.drift import store
from pulumi_alembic.drift.check import Comparison, compare
from pulumi_alembic.drift.reader import read
from pulumi_alembic.drift.report import psql_script
from pulumi_alembic.migrate import migrator, planner
from pulumi_alembic.migrate.job import Job
from pulumi_alembic.review.build import review_from_database
from pulumi_alembic.review.lint import Settings
from pulumi_alembic.scripts.origin import Origin

_TABLES = 10_000
_ROUNDS = 3
_AT_ONCE = 250
"""The number of tables that one message creates. The server holds a lock on each until the end of the message."""

_TABLE = """
CREATE TABLE table_{number} (id {id}, name text NOT NULL DEFAULT 'x', other bigint{refers}, CHECK (id > 0));
CREATE INDEX ON table_{number} (name)
"""
_OWNER, _LOGIN, _PASSWORD = "catalogs_owner", "catalogs_migrator", secrets.token_urlsafe(12)
_ROLES = (
    f"CREATE ROLE {_OWNER}",
    f"CREATE ROLE {_LOGIN} LOGIN NOINHERIT PASSWORD '{_PASSWORD}' IN ROLE {_OWNER}",
    f"ALTER ROLE {_LOGIN} SET search_path = app",
    f"GRANT {_OWNER} TO CURRENT_USER",
)
_CHANGES = (
    "ALTER TABLE table_{number} RENAME name TO title",
    "ALTER TABLE table_{number} ALTER name DROP DEFAULT",
    "DROP INDEX table_{number}_name_idx",
    "DROP TABLE table_{number} CASCADE",
    "CREATE TABLE more_{number} (id serial PRIMARY KEY)",
    "ALTER TABLE table_{number} RENAME TO renamed_{number}",
)
"""Changes by hand. Each table gets one of them, in turn."""


class _Database:
    """A database with this many tables, at the first of two revisions, whose snapshot is in the ledger."""

    def __init__(self, server: Tenants, folder: Path, tables: int) -> None:
        [self._name] = server.copies(1, server.pattern())
        self._admin, self.tables = server.url(self._name), tables
        self.url = re.sub("//[^@]+@", f"//{_LOGIN}:{_PASSWORD}@", self._admin)
        with psycopg.connect(self._admin, autocommit=True) as admin:
            admin.execute(f"ALTER SCHEMA migrations OWNER TO {_OWNER}".encode())
            admin.execute(f"CREATE SCHEMA app AUTHORIZATION {_OWNER}".encode())
        self._run(_table(number) for number in range(tables))
        write_scripts(folder, "SELECT 1", "ALTER TABLE table_7 ADD x int")
        migrator.migrate(Job(self.url, folder, FIRST, "python -m benchmarks.catalogs"))
        self._folder = folder
        with connect(self.url) as connection:
            self._major = connection.info.server_version // 10000
            snapshot = read(connection)
            connection.rollback()
            store.keep(connection, snapshot, Origin("benchmark"), {"expected": ""})
            connection.commit()
        self._digest = snapshot.digest

    def change(self) -> None:
        """Make as many differences as there are tables, and a few that follow from them."""
        self._run(_CHANGES[number % len(_CHANGES)].format(number=number) for number in range(self.tables))

    def compare(self) -> Comparison:
        """Compare the database with the snapshot, as a refresh does."""
        planner.read_revision(self.url)
        with connect(self.url) as connection:
            return compare(connection, self._digest)

    def drift(self) -> int:
        """Compute the differences as a list and as a script, as the command prints them, and return their number."""
        seen = self.compare()
        assert seen.whole is not None  # noqa: S101 - the ledger has it
        psql_script(seen.whole, "Restores the schema.")
        return len(seen.reported)

    def preview(self, *, rehearse: bool = False) -> None:
        """Preview one revision, by static analysis or rehearsed."""
        admin = self._admin if rehearse else ""
        _, review = review_from_database(Job(self.url, self._folder, SECOND), Settings(), admin=admin)
        assert review.rehearsed == rehearse, review.not_rehearsed  # noqa: S101 - else it measures something else

    def dump(self) -> None:
        """Run pg_dump, which is the unit of all measurements."""
        client = find_client(self._major)
        assert client is not None  # noqa: S101 - it came with the server
        subprocess.run(
            [client.program("pg_dump"), "--schema-only", f"--role={_OWNER}"],
            env=environment(self.url),
            stdout=subprocess.DEVNULL,
            check=True,
        )

    def _run(self, statements: Iterator[str]) -> None:
        with psycopg.connect(self._admin, autocommit=True) as admin:
            admin.execute(f"SET ROLE {_OWNER}; SET search_path = app".encode())
            while some := [statement for _, statement in zip(range(_AT_ONCE), statements, strict=False)]:
                admin.execute(";".join(some).encode())
            admin.execute("ANALYZE")


def _table(number: int) -> str:
    id = ("bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY", "bigserial PRIMARY KEY", "bigint PRIMARY KEY")[number % 3]
    return _TABLE.format(number=number, id=id, refers=f" REFERENCES table_{number - 1}" if number % 10 else "")


def _claims(server: Tenants, folder: Path, tables: int) -> Iterator[Claim]:
    with psycopg.connect(server.url("postgres"), autocommit=True) as admin:
        for statement in _ROLES:
            admin.execute(statement.encode())
    few, many, most = (_Database(server, folder / name, count) for name, count in _sizes(tables))

    def beside_dump(what: str, act: Callable[[], object], limit: float) -> Claim:
        return claim(
            f"{what} among {many.tables} tables ÷ pg_dump --schema-only",
            lambda: seconds(act),
            lambda: seconds(many.dump),
            limit,
            rounds=_ROUNDS,
        )

    yield beside_dump("refresh with drift check", many.compare, 1.3)
    yield beside_dump("preview of one revision, not rehearsed,", many.preview, 0.7)
    yield beside_dump("preview of one revision, rehearsed,", lambda: many.preview(rehearse=True), 1.3)
    yield claim(
        f"refresh with drift check: {most.tables} ÷ {few.tables} tables",
        lambda: seconds(most.compare),
        lambda: seconds(few.compare),
        24,
        rounds=_ROUNDS,
    )
    many.change()
    print(f"drift: {many.drift()} differences")
    yield beside_dump("drift of all tables", many.drift, 3)


def _sizes(tables: int) -> list[tuple[str, int]]:
    return [("few", tables // 10), ("many", tables), ("most", 2 * tables)]


def main() -> None:
    """Measure and print every claim. Exit with 1 if one does not hold."""
    tables = int(sys.argv[1]) if len(sys.argv) > 1 else _TABLES
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        with Tenants.at(folder, {"max_locks_per_transaction": "1000"}) as server:
            sys.exit(0 if report(list(_claims(server, folder, tables))) else 1)


if __name__ == "__main__":
    main()
