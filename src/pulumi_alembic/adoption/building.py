"""What each revision builds: run one after the other in a scratch database with the target's schemas and roles."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace

import psycopg
from psycopg import sql

from pulumi_alembic.database.connection import Connection, connect, log_in
from pulumi_alembic.database.pg_programs import find_client
from pulumi_alembic.drift.difference.compare import difference
from pulumi_alembic.drift.difference.snapshot import Item, Snapshot
from pulumi_alembic.drift.reader import read
from pulumi_alembic.drift.repair import access
from pulumi_alembic.drift.repair.script import script
from pulumi_alembic.errors import NotRehearsed
from pulumi_alembic.review.rehearsal.scratch import Scratch, at, scratch
from pulumi_alembic.review.rehearsal.scratch_run import perform
from pulumi_alembic.scripts.history import History
from pulumi_alembic.scripts.plan import Direction, Plan
from pulumi_alembic.scripts.revision import Revision

__all__ = ["built"]


@contextmanager
def built(
    url: str, admin: str, history: History, revisions: Sequence[Revision], like: Snapshot
) -> Iterator[Iterator[tuple[Revision, Snapshot]]]:
    """Each revision with what there is after it, of a database that is `like` the target and has none of its objects.

    `url` is the migrator's at the target, `admin` a login of the same server that may make databases. Raises
    NotRehearsed where the scratch database cannot be made, or a revision does not run there. It is gone at the end.
    """
    with scratch(admin, url, find_client) as database:
        _furnish(database, like)
        yield _build(at(url, database.name), history, revisions, like.roles)


def _build(
    url: str, history: History, revisions: Sequence[Revision], roles: Sequence[str]
) -> Iterator[tuple[Revision, Snapshot]]:
    heads: set[str] = set()
    for revision in revisions:
        done = perform(url, Plan(tuple(sorted(heads)), revision.id, Direction.UPGRADE, (revision,)), history, None)
        if done.failed:
            raise NotRehearsed(f"revision {revision.id} fails in an empty database: {done.failed}")
        heads = heads - set(revision.down_revisions) | {revision.id}
        with connect(url) as connection:
            yield revision, read(connection, roles)


def _furnish(database: Scratch, like: Snapshot) -> None:
    """Schemas, extensions, default privileges, settings and who may do what with schemas, as in the target."""
    statements = _furniture(like)
    with log_in(database.url, "alembic adoption", autocommit=True) as connection:
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
    """Whether each database has its own; roles are there already."""
    if item.kind in ("owner", "privileges"):
        return bool(item.facts["kind"] == "schema")
    return item.kind in ("schema", "extension", "default privileges")


def _run(connection: Connection, statement: str, role: str) -> None:
    # What the admin may not make here is missed by the revisions that need it, which then say so.
    if statement:
        with suppress(psycopg.Error), connection.transaction():
            connection.execute(f"SET LOCAL ROLE {role}".encode() if role else b"RESET ROLE")
            connection.execute(statement.encode())
