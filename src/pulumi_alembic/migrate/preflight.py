"""Preflight checks before a migration's first statement: long transactions, replica lag, free connections."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

from pulumi_alembic.database.connection import log_in, refusals
from pulumi_alembic.database.sessions import in_full
from pulumi_alembic.errors import DatabaseError
from pulumi_alembic.output.wording import counted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pulumi_alembic.database.connection import Connection
    from pulumi_alembic.policy import Policy

__all__ = ["look"]

_TRANSACTIONS = """
SELECT pid, usename, application_name, extract(epoch FROM clock_timestamp() - xact_start)::float
FROM pg_stat_activity
WHERE datname = current_database() AND xact_start < clock_timestamp() - make_interval(secs => %s)
ORDER BY xact_start
"""

_PREPARED = """
SELECT gid, owner, extract(epoch FROM clock_timestamp() - prepared)::float
FROM pg_prepared_xacts
WHERE database = current_database() AND prepared < clock_timestamp() - make_interval(secs => %s)
ORDER BY prepared
"""

_REPLICAS = """
SELECT application_name, extract(epoch FROM replay_lag)::float FROM pg_stat_replication
WHERE replay_lag > make_interval(secs => %s) ORDER BY replay_lag DESC
"""

_FREE = """
SELECT current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
    - coalesce(current_setting('reserved_connections', true)::int, 0) - count(*)
FROM pg_stat_activity WHERE usesysid IS NOT NULL AND datid IS NOT NULL
"""

# PostgreSQL 15 manual, 28.2: only members of pg_read_all_stats see details of other roles' sessions.
_HIDDEN = """
SELECT (SELECT count(*) FROM pg_stat_activity
        WHERE datname = current_database() AND query = '<insufficient privilege>'),
    (SELECT count(*) FROM pg_stat_replication WHERE state IS NULL)
"""


def look(url: str, policy: Policy) -> list[str]:
    """Check the database against the limits of the policy, before anything runs.

    Returns:
        What could not be seen. Without pg_read_all_stats a login sees no times of other roles' sessions.

    Raises:
        DatabaseError: at least one limit is exceeded. The message lists all of them.

    """
    connection = log_in(url, "alembic preflight", autocommit=True)
    user = connection.info.user
    with closing(connection), refusals(connection), in_full(connection):
        problems = [
            *_transactions(connection, policy),
            *_replicas(connection, policy),
            *_connections(connection, policy),
        ]
        [(sessions, replicas)] = connection.execute(_HIDDEN).fetchall()
    if problems:
        lines = "\n".join(f"  {line}" for line in problems)
        raise DatabaseError(f"preflight, before the first statement:\n{lines}\nNothing was run: try again later")
    counts = [("the age of", sessions, "session"), ("the delay of", replicas, "replica")]
    unseen = ", ".join(f"{subject} {counted(number, noun)}" for subject, number, noun in counts if number)
    advice = f"As an admin: GRANT pg_read_all_stats TO {user}"
    return [f"preflight: this role cannot see {unseen}. {advice}"] if unseen else []


def _transactions(connection: Connection, policy: Policy) -> Iterator[str]:
    limit = f"max_transaction_age {policy.max_transaction_age:g} s"
    for pid, user, application, age in connection.execute(_TRANSACTIONS, [policy.max_transaction_age]):
        yield f"pid {pid} (user {user}, application {application}) has been in a transaction for {age:.0f} s ({limit})"
    for gid, owner, age in connection.execute(_PREPARED, [policy.max_transaction_age]):
        yield f"the prepared transaction {gid!r} of {owner} has been waiting for {age:.0f} s ({limit})"


def _replicas(connection: Connection, policy: Policy) -> Iterator[str]:
    for name, lag in connection.execute(_REPLICAS, [policy.max_replica_lag]):
        yield f"the replica {name} is {lag:.0f} s behind (max_replica_lag {policy.max_replica_lag:g} s)"


def _connections(connection: Connection, policy: Policy) -> Iterator[str]:
    [(free,)] = connection.execute(_FREE).fetchall()
    if free < policy.min_free_connections:
        yield f"{free} connections are free (min_free_connections {policy.min_free_connections})"
