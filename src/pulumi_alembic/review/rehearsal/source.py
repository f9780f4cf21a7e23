"""The target of a rehearsal as it is read: its schema, and what its ledger has on the pending revisions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pulumi_alembic.database.connection import Connection, connect
from pulumi_alembic.database.pg_programs import Programs, find_client
from pulumi_alembic.errors import NotRehearsed
from pulumi_alembic.review.rehearsal.copying import Foundation, read_foundation, read_ledger
from pulumi_alembic.review.rehearsal.dump import dump
from pulumi_alembic.review.rehearsal.subset import Subset

__all__ = ["Source", "client_for", "read_source"]


@dataclass(frozen=True)
class Source:
    """What a scratch database is filled with: all of the target's `definitions`, or those of a `subset` of its tables.

    `ledger` is what the target's ledger has on the pending revisions.
    """

    foundation: Foundation
    definitions: str
    ledger: list[str]
    subset: Subset | None = None


def read_source(
    url: str, revisions: Sequence[str], choose: Callable[[Connection], Subset | None] = lambda connection: None
) -> Source:
    """The target as it is now, with what its ledger has on these revisions; nothing of it has to wait for anybody.

    `choose` can name a subset of the tables. Raises NotRehearsed with what is in the way of a copy.
    """
    with connect(url) as connection:
        [(owner,)] = connection.execute("SELECT current_user").fetchall()
        _refuse_powerful(connection.execute(_POWERS).fetchall())
        client = client_for(connection.info.server_version // 10000)
        foundation = read_foundation(connection)
        ledger = read_ledger(connection, revisions)
        subset = choose(connection)
        connection.commit()
        connection.autocommit = True
        # As the login itself it sees the dump's session, which is one of the same login. RESET ROLE can be the owner.
        connection.execute("SET ROLE NONE")
        definitions = dump(url, connection, owner, client, subset.left_out if subset else ())
        return Source(foundation, definitions, ledger, subset)


_POWERS = """
SELECT p.rolname, p.rolname IN (current_user, session_user) FROM pg_roles p
WHERE (p.rolsuper OR p.rolcreaterole OR p.rolcreatedb OR p.rolreplication OR p.rolname IN (
        'pg_signal_backend', 'pg_write_server_files', 'pg_execute_server_program', 'pg_checkpoint',
        'pg_create_subscription', 'pg_signal_autovacuum_worker'))
    AND (pg_has_role(current_user, p.oid, 'MEMBER') OR pg_has_role(session_user, p.oid, 'MEMBER'))
ORDER BY 2 DESC, 1
"""


def _refuse_powerful(roles: list[tuple[str, bool]]) -> None:
    """What a revision can do to the whole server, it could do in its rehearsal."""
    if roles:
        name, runs = roles[0]
        how = "runs the revisions" if runs else "the login may become"
        raise NotRehearsed(f"{name}, which {how}, may change more than its own database")


def client_for(server: int) -> Programs:
    """The programs for a server of this major version. Raises NotRehearsed if there are none on this machine."""
    client = find_client(server)
    if client is None:
        raise NotRehearsed(f"no pg_dump of PostgreSQL {server} or newer is on this machine")
    return client
