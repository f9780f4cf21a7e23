"""Read the target's schema and ledger for a rehearsal."""

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
    """The contents of a scratch database.

    Attributes:
        foundation: What the admin creates.
        definitions: The target's definitions, of all tables or of those in `subset`.
        ledger: The ledger's rows of the pending revisions, as JSON.
        subset: The tables that are copied. None for all.

    """

    foundation: Foundation
    definitions: str
    ledger: list[str]
    subset: Subset | None = None


def read_source(
    url: str, revisions: Sequence[str], choose: Callable[[Connection], Subset | None] = lambda connection: None
) -> Source:
    """Read the target as it is now. No other session waits for the reading.

    Args:
        url: The migrator's URL.
        revisions: The revisions whose rows of the ledger are read.
        choose: Returns a subset of the tables. None for all.

    Raises:
        NotRehearsed: The schema cannot be copied. The text gives the reason.

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
        # Only the login itself sees the dump's session, which has the same login. RESET ROLE could select the owner.
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
    """Reject a role with rights beyond its database: its rehearsal could change the whole server."""
    if roles:
        name, runs = roles[0]
        how = "runs the revisions" if runs else "the login may become"
        raise NotRehearsed(f"{name}, which {how}, may change more than its own database")


def client_for(server: int) -> Programs:
    """Return the programs for a server's major version. Raises NotRehearsed if this machine has none."""
    client = find_client(server)
    if client is None:
        raise NotRehearsed(f"no pg_dump of PostgreSQL {server} or newer is on this machine")
    return client
