"""Read one database for its status, in a transaction that cannot write."""

from __future__ import annotations

from collections.abc import Collection
from concurrent.futures import Future
from contextvars import copy_context
from dataclasses import dataclass, replace
from datetime import datetime
from threading import Event, Thread

from psycopg import sql

from pulumi_alembic.database.connection import VERSION_SCHEMA, Session, connect, read_catalog, read_heads
from pulumi_alembic.database.reachable import address, knock
from pulumi_alembic.errors import DatabaseError
from pulumi_alembic.ledger import contract_policy, records
from pulumi_alembic.ledger.table import Event as LedgerEvent
from pulumi_alembic.migrate.backfills import store
from pulumi_alembic.scripts.phases import Applied
from pulumi_alembic.sql.catalog import Catalog

__all__ = ["Reading", "read"]

LOGIN = 1.0
"""Seconds for the login, on a server that has accepted the connection."""


@dataclass(frozen=True)
class Reading:
    """What was read of a database.

    Attributes:
        server: The major version of its server.
        heads: Its heads.
        records: The newest records of its ledger.
        backup: When the last backup was taken. None if there is none.
        contract: When contracts run, as the last update stored it.
        applied: When revisions were applied, and which backfills are not complete.
        backfills: The backfills that are not complete.
        catalog: Its catalog. None if it was not requested.

    """

    server: int
    heads: tuple[str, ...]
    records: tuple[records.Record, ...]
    backup: datetime | None
    contract: str
    applied: Applied
    backfills: tuple[store.Backfill, ...]
    catalog: Catalog | None


def read(url: str, revisions: Collection[str], *, most: int, with_catalog: bool) -> Reading:
    """Read a database, in a thread of its own because a server can accept a connection and never answer.

    Args:
        url: The login's URL.
        revisions: The revisions of its scripts.
        most: How many records of the ledger are read.
        with_catalog: Whether the catalog is read.

    Raises:
        DatabaseError: The server does not accept the connection or the login in time, or rejects them.

    """
    knock(url)
    logged_in, answer = Event(), Future[Reading]()

    def work() -> None:
        try:
            with connect(url) as connection:
                logged_in.set()
                answer.set_result(_read(connection, revisions, most, with_catalog))
        except BaseException as error:
            answer.set_exception(error)
        finally:
            logged_in.set()

    # A daemon thread: a pool would wait for it at the end of the process.
    Thread(target=copy_context().run, args=(work,), daemon=True).start()
    if not logged_in.wait(LOGIN):
        where, _, _ = address(url).rpartition("/")
        raise DatabaseError(f"the server at {where} accepts a connection, and answered no login within {LOGIN:g} s")
    return answer.result()


def _read(connection: Session, revisions: Collection[str], most: int, with_catalog: bool) -> Reading:
    connection.read_only = True
    rows, _ = records.read(connection, most)
    backfills = tuple(backfill for backfill in store.read(connection) if backfill.state in store.OPEN)
    unfinished = {backfill.revision: str(backfill) for backfill in backfills}
    return Reading(
        server=connection.info.server_version // 10_000,
        heads=read_heads(connection),
        records=tuple(rows),
        backup=_backup(connection),
        contract=contract_policy.read(connection),
        applied=replace(contract_policy.applied(connection, revisions), unfinished=unfinished),
        backfills=backfills,
        catalog=read_catalog(connection) if with_catalog else None,
    )


def _backup(connection: Session) -> datetime | None:
    table = sql.Identifier(VERSION_SCHEMA, "ledger")
    columns = "SELECT count(*) FROM pg_attribute WHERE attrelid = to_regclass(%s) AND attname = 'event'"
    if connection.execute(columns, [table.as_string(connection)]).fetchone() == (0,):
        return None
    newest = sql.SQL("SELECT max(applied_at) FROM {} WHERE event = %s").format(table)
    [(when,)] = connection.execute(newest, [LedgerEvent.BACKUP]).fetchall()
    return when if isinstance(when, datetime) else None
