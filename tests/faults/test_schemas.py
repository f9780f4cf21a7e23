"""A run on a tenant's schema dies at any statement: the next run succeeds, and the other tenant stays as it is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from psycopg import sql

from pulumi_alembic.database.tenant import in_schema
from taskdb.local import Server
from tests.conftest import Database
from tests.faults.campaign import (
    FACTS,
    REVISIONS,
    SCENARIOS,
    Campaign,
    Launcher,
    Site,
    fresh_name,
    write_history,
)
from tests.faults.conftest import ALL, Count, share
from tests.faults.test_clients_and_network import faults, survives
from tests.postgres.alembic.conftest import prepare

SHARES = 32 if ALL else 1
DRAWN = 4

EMPTY = """
SET client_min_messages = warning;
DROP TABLE IF EXISTS shop.other, shop.t; DROP SEQUENCE IF EXISTS shop.s; DROP TYPE IF EXISTS shop.mood;
CREATE TYPE shop.mood AS ENUM ('sad');
DROP TABLE IF EXISTS migrations.alembic_version_shop, migrations.ledger, migrations.batches
"""
OTHER = "SELECT count(*), sum(n) FROM next.t"


class TenantSite(Site):
    """Two tenants: the campaign strikes runs on `shop`, and `next` is at the head."""

    @classmethod
    def new(cls, database: Database, directory: Path) -> TenantSite:
        with Database(database.server, "postgres").connect() as admin:
            admin.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(database.name)))
        target = prepare(database, directory)
        with database.connect() as admin:
            for schema in ("shop", "next"):
                admin.execute(f"CREATE SCHEMA {schema} AUTHORIZATION {database.name}_owner".encode())
        neighbour = replace(target, url=in_schema(target.url, "next"))
        site = cls(database, replace(target, url=in_schema(target.url, "shop")))
        with site.as_owner() as owner:
            owner.execute("CREATE TYPE shop.mood AS ENUM ('sad'); CREATE TYPE next.mood AS ENUM ('sad')")
        neighbour.migrate(REVISIONS[-1])
        return site

    def empty(self) -> None:
        with self.as_owner() as owner:
            owner.execute(EMPTY)

    def facts(self) -> list[str]:
        with self.as_owner() as owner:
            query = FACTS.replace("alembic_version", "alembic_version_shop")
            found = [str(fact) for (fact,) in owner.execute(query.encode())]
            found += [f"next {row}" for row in owner.execute(OTHER).fetchall()]
            found += [str(row) for row in owner.execute("SELECT version_num FROM migrations.alembic_version_next")]
            if owner.execute("SELECT to_regclass('shop.t') IS NOT NULL").fetchone() == (True,):
                found += [f"row {row}" for row in owner.execute("SELECT * FROM shop.t ORDER BY id").fetchall()]
            if owner.execute("SELECT to_regclass('migrations.ledger') IS NOT NULL").fetchone() == (True,):
                found += [str(row) for row in owner.execute("SELECT DISTINCT tenant FROM migrations.ledger").fetchall()]
        return found


@pytest.fixture(scope="module")
def tenant(server: Server, launcher: Launcher, tmp_path_factory: pytest.TempPathFactory) -> Campaign:
    """Two tenants, and the history of the campaign."""
    directory = write_history(tmp_path_factory.mktemp("tenant") / "migrations")
    return Campaign(TenantSite.new(Database(server, fresh_name()), directory), launcher, SCENARIOS)


@pytest.mark.parametrize("number", range(SHARES))
def test_the_next_run_converges_after_a_failure_at_any_statement(number: int, tenant: Campaign, count: Count) -> None:
    count((survives(tenant, fault) for fault in share(faults(tenant), number, SHARES)), DRAWN)
