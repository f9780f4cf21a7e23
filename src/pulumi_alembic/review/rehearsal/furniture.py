"""Give a scratch database the schemas, extensions and rights that revisions expect and do not create."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

import psycopg
from psycopg import sql

from pulumi_alembic.database.connection import Connection, log_in
from pulumi_alembic.drift.difference.compare import difference
from pulumi_alembic.drift.difference.snapshot import Item, Snapshot
from pulumi_alembic.drift.reader import read
from pulumi_alembic.drift.repair import access
from pulumi_alembic.drift.repair.script import script
from pulumi_alembic.review.rehearsal.scratch import Scratch

__all__ = ["furnish"]


def furnish(database: Scratch, like: Snapshot) -> None:
    """Create the schemas, extensions, default privileges, settings and rights of a snapshot in a scratch database.

    A statement that the admin is not allowed to run is skipped. A revision that needs its result then fails.

    Args:
        database: The scratch database.
        like: The snapshot of the other database.

    """
    statements = _furniture(like)
    with log_in(database.url, "alembic rehearsal", autocommit=True) as connection:
        with connection.transaction():
            existing = read(connection, like.roles)
        whole = difference(statements, _furniture(existing))
        for line in script(whole):
            _run(connection, line.sql, line.role)
        own = sql.Identifier(database.name).as_string(connection)
        for item in like.of("setting"):
            if "database" in item.facts:
                for statement, _ in access.REPAIRS.make(replace(item, facts={**item.facts, "database": own}), like):
                    _run(connection, statement, "")
        for item in like.of("privileges"):
            if item.facts["kind"] == "database":
                rights, grantee = ", ".join(item.facts["rights"]), item.facts["grantee"]
                _run(connection, f"GRANT {rights} ON DATABASE {own} TO {grantee}", "")


def _furniture(snapshot: Snapshot) -> Snapshot:
    return Snapshot(tuple(item for item in snapshot.items if _is_furniture(item)))


def _is_furniture(item: Item) -> bool:
    """Return whether each database has its own object of this kind. Roles belong to the whole server."""
    if item.kind in ("owner", "privileges"):
        return bool(item.facts["kind"] == "schema")
    return item.kind in ("schema", "extension", "default privileges")


def _run(connection: Connection, statement: str, role: str) -> None:
    # If the admin is not allowed to run it, the revisions that need its result fail and name it.
    if statement:
        with suppress(psycopg.Error), connection.transaction():
            connection.execute(f"SET LOCAL ROLE {role}".encode() if role else b"RESET ROLE")
            connection.execute(statement.encode())
