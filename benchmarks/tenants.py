"""A separate PostgreSQL server on which databases are copied by the hundred."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import psycopg

from taskdb.local.account import Account
from taskdb.local.binaries import Binaries
from taskdb.local.cluster import ADMIN, HOST, Cluster
from taskdb.local.install import binaries_for_new_server
from taskdb.local.place import Place
from taskdb.local.ports import free_port

__all__ = ["Tenants"]

_SETTINGS = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "autovacuum": "off"}


class Tenants:
    """A server in its own folder, whose commits do not wait for the disk. Its databases are copies of patterns."""

    def __init__(self, folder: Path, binaries: Binaries, settings: Mapping[str, str]) -> None:
        self._cluster = Cluster(folder, binaries, Account.for_new_server())
        self._password = secrets.token_hex(12)
        self._cluster.create(self._password, {**_SETTINGS, **settings})
        self._port = free_port()

    @classmethod
    def at(cls, folder: Path, settings: Mapping[str, str] = MappingProxyType({})) -> Tenants:
        """Create a server in `folder`, with this project's binaries. `settings` are added to the common ones."""
        place = Place.of(Path(__file__).parent.parent)
        with place.locked():
            binaries = binaries_for_new_server(place, print)
        cluster = folder / "cluster"
        cluster.mkdir(mode=0o755)
        return cls(cluster, binaries, settings)

    def __enter__(self) -> Tenants:
        self._cluster.start(self._port)
        # The projects' own commands read these variables.
        login = {"PGHOST": HOST, "PGPORT": str(self._port), "PGUSER": ADMIN, "PGPASSWORD": self._password}
        os.environ.update(login)
        return self

    def __exit__(self, *_: object) -> None:
        self._cluster.stop()

    def url(self, database: str) -> str:
        """Return the address of a database on this server."""
        return f"postgresql://{ADMIN}:{self._password}@{HOST}:{self._port}/{database}"

    def pattern(self) -> str:
        """Create a database with only the schema of the migration tables, and return its name."""
        name = f"pattern_{secrets.token_hex(3)}"
        with self._admin() as admin:
            admin.execute(f"CREATE DATABASE {name} TEMPLATE template0".encode())
        with psycopg.connect(self.url(name), autocommit=True) as owner:
            owner.execute("CREATE SCHEMA migrations")
        return name

    def copies(self, number: int, of: str) -> list[str]:
        """Create this many equal databases, and return their names."""
        names = [f"tenant_{secrets.token_hex(3)}_{each:04}" for each in range(number)]
        with self._admin() as admin:
            # This takes half as long as a copy through the WAL, which is the only way before PostgreSQL 15.
            strategy = "STRATEGY file_copy" if admin.info.server_version >= 150000 else ""
            for name in names:
                admin.execute(f"CREATE DATABASE {name} TEMPLATE {of} {strategy}".encode())
        return names

    def drop(self, names: list[str]) -> None:
        """Drop these databases."""
        with self._admin() as admin:
            for name in names:
                admin.execute(f"DROP DATABASE {name}".encode())

    def _admin(self) -> psycopg.Connection[tuple[object, ...]]:
        return psycopg.connect(self.url("postgres"), autocommit=True)
