"""Equal databases on one server, as a service has one for each of its tenants."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg

from pulumi_alembic.fanout.plan.databases import address
from tests.conftest import Database, create_database, drop_database
from tests.postgres.alembic.conftest import Target
from tests.postgres.alembic.owner import connect

__all__ = ["Tenants", "tenants_of"]


@dataclass
class Tenants:
    """Copies of a database that is set up for migrations. `pattern` is the database that is copied."""

    pattern: Database
    target: Target
    prefix: str
    names: list[str]

    def add(self, name: str = "") -> str:
        """Create one more database, at base."""
        self.names.append(name or f"{self.prefix}{len(self.names):02}")
        with Database(self.pattern.server, "postgres").connect() as admin:
            create_database(admin, self.names[-1], self.pattern.name)
        return self.names[-1]

    def drop(self, name: str) -> None:
        """Drop a database from the server."""
        self.names.remove(name)
        drop_database(Database(self.pattern.server, name))

    def at(self, name: str) -> Target:
        """Return a database as a separate target."""
        return Target(address(self.target.url, name), self.target.directory)

    def revision(self, name: str) -> str:
        """Return the revision that a database's own table names."""
        [(there,)] = self.at(name).query("SELECT to_regclass('migrations.alembic_version') IS NOT NULL")
        rows = self.at(name).query("SELECT version_num FROM migrations.alembic_version") if there else []
        return "+".join(sorted(str(row[0]) for row in rows)) or "base"

    @property
    def revisions(self) -> list[str]:
        """Return the revision of each database, in their order."""
        return [self.revision(name) for name in self.names]

    def run(self, name: str, statement: str) -> None:
        """Run one statement in a database, as the owner."""
        with connect(self.at(name).url) as connection:
            connection.execute(statement.encode())
            connection.commit()

    def connect(self, name: str) -> psycopg.Connection:
        """Connect to a database as the admin."""
        return Database(self.pattern.server, name).connect()


@contextmanager
def tenants_of(pattern: Database, target: Target, number: int) -> Iterator[Tenants]:
    """Create `number` copies, and drop them at the end."""
    tenants = Tenants(pattern, target, f"tenant_{secrets.token_hex(3)}_", [])
    try:
        for _ in range(number):
            tenants.add()
        yield tenants
    finally:
        for name in list(tenants.names):
            tenants.drop(name)
