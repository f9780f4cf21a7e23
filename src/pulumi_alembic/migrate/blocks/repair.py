"""Repair what an interrupted statement outside a transaction left in the catalog, so that it can run again."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import psycopg
from psycopg import sql

from pulumi_alembic.database.connection import VERSION_SCHEMA, Connection, open_session, refusals
from pulumi_alembic.errors import MigrationError
from pulumi_alembic.ledger import ledger
from pulumi_alembic.policy import Policy
from pulumi_alembic.sql.outside_transaction import Kind, Statement, recognise

if TYPE_CHECKING:
    from pulumi_alembic.database.connection import Connection

__all__ = ["repair", "repair_leftovers", "took_effect"]

_SCRATCH = sql.Identifier(VERSION_SCHEMA, "pulumi_alembic_scratch")
_SCRATCH_INDEX = "pulumi_alembic_scratch_index"

# An index is in the schema of its table. The cast to name truncates a long name as PostgreSQL does.
_FIND_INDEX = """
SELECT i.indexrelid, i.indexrelid::regclass::text, i.indisvalid, i.indrelid::regclass::text, c.relkind = 'I',
    i.indrelid = t.oid
FROM pg_class t
JOIN pg_class c ON c.relnamespace = t.relnamespace AND c.relname = (parse_ident(%(name)s))[1]::name
JOIN pg_index i ON i.indexrelid = c.oid
WHERE t.oid = to_regclass(%(table)s)
"""

_CHANGES_INDEX = """
SELECT l.pid FROM pg_index i JOIN pg_locks l ON l.locktype = 'transactionid' AND l.granted AND l.transactionid = i.xmax
WHERE i.indexrelid = to_regclass(%s)
"""
_POLL = 0.01  # seconds

# Everything that distinguishes two indexes, except their name and table.
_DEFINITION = """
SELECT jsonb_build_array(a.amname, i.indisunique, i.indnkeyatts, i.indoption::text, i.indclass::text,
    i.indcollation::text, to_jsonb(i) -> 'indnullsnotdistinct', c.reloptions, pg_get_expr(i.indpred, i.indrelid),
    (SELECT jsonb_agg(pg_get_indexdef(c.oid, k, false) ORDER BY k) FROM generate_series(1, i.indnatts) k))::text
FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_am a ON a.oid = c.relam
WHERE i.indexrelid = %s
"""

# PostgreSQL 15 manual, REINDEX: indexes left by an interrupted REINDEX CONCURRENTLY end in _ccnew or _ccold.
_LEFT_BY_REINDEX = """
SELECT i.indexrelid::regclass::text, i.indrelid::regclass::text
FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
WHERE NOT i.indisvalid AND c.relname ~ '_cc(new|old)[0-9]*$' AND c.relkind = 'i' AND CASE %(what)s
    WHEN 'INDEX' THEN i.indrelid = (SELECT indrelid FROM pg_index WHERE indexrelid = to_regclass(%(name)s))
    WHEN 'TABLE' THEN i.indrelid = to_regclass(%(name)s)
    WHEN 'SCHEMA' THEN c.relnamespace = to_regnamespace(%(name)s)
    ELSE c.relnamespace <> 'pg_toast'::regnamespace END
"""

# Read through JSON, because the column exists only from PostgreSQL 14 on.
_PARTITION = """
SELECT coalesce((to_jsonb(h) ->> 'inhdetachpending')::boolean, false)
FROM pg_inherits h WHERE h.inhrelid = to_regclass(%(name)s) AND h.inhparent = to_regclass(%(table)s)
"""


@dataclass(frozen=True)
class _Index:
    """An index with the name that a statement creates. Its `table` can differ from the statement's."""

    oid: int
    name: str
    valid: bool
    table: str
    partitioned: bool
    of_table: bool


def repair(connection: Connection, statement: Statement, tell: Callable[[str], None]) -> None:
    """Undo or complete what an interrupted run of the statement left, whoever ran it.

    An invalid index with the statement's name is dropped, as are those left by a REINDEX. A pending DETACH is
    completed. A build that still runs in another session is waited for, limited by lock_timeout. Valid objects are not
    changed.

    Args:
        connection: in autocommit mode.
        statement: the statement that runs again.
        tell: gets a text for each repair.

    Raises:
        psycopg.Error: the repair failed.

    """
    if statement.kind is Kind.CREATE_INDEX:
        index = _index(connection, statement)
        if index and not index.valid and index.of_table and not index.partitioned:
            _drop_invalid(connection, index.name, index.table, tell)
    elif statement.kind is Kind.REINDEX:
        action, _, name = statement.name.partition(" ")
        for index_name, table in connection.execute(_LEFT_BY_REINDEX, {"what": action, "name": name}).fetchall():
            _drop_invalid(connection, index_name, table, tell)
    elif statement.kind is Kind.DETACH and _partition(connection, statement):
        tell(f"completes the detaching of {statement.name}, which was interrupted")
        connection.execute(f"ALTER TABLE {statement.table} DETACH PARTITION {statement.name} FINALIZE".encode())


def took_effect(connection: Connection, statement: Statement) -> bool:
    """Return whether the catalog already shows the statement's effect. False for kinds without a visible effect.

    Raises MigrationError if a different index has its name.
    """
    match statement.kind:
        case Kind.CREATE_INDEX:
            index = _index(connection, statement)
            if index is not None and index.valid:
                _refuse_other(connection, statement, index)
            return index is not None and index.valid
        case Kind.DROP_INDEX:
            return _is_so(connection, "to_regclass(%s) IS NULL", statement.name)
        case Kind.ADD_VALUE:
            label = statement.label
            return _is_so(
                connection,
                f"EXISTS (SELECT FROM pg_enum WHERE enumtypid = to_regtype(%s) AND enumlabel = {_escaped(label)})",
                statement.name,
            )
        case Kind.DETACH:
            return _is_so(connection, "to_regclass(%s) IS NOT NULL", statement.name) and (
                _partition(connection, statement) is None
            )
    return False


def _index(connection: Connection, statement: Statement) -> _Index | None:
    row = connection.execute(_FIND_INDEX, {"name": statement.name, "table": statement.table}).fetchone()
    return _Index(*row) if row else None


def _drop_invalid(connection: Connection, index: str, table: str, tell: Callable[[str], None]) -> None:
    """Drop the index, unless it is valid once no session builds it any more."""
    # A materialized view cannot be locked with LOCK TABLE.
    with suppress(psycopg.errors.WrongObjectType), connection.transaction():
        # A session that builds an index of the table holds this lock. It blocks neither readers nor writers.
        connection.execute(f"LOCK TABLE {table} IN SHARE UPDATE EXCLUSIVE MODE".encode())
    _await_change(connection, index, tell)
    invalid = "EXISTS (SELECT FROM pg_index WHERE indexrelid = to_regclass(%s) AND NOT indisvalid)"
    if _is_so(connection, invalid, index):
        tell(f"dropping the invalid index {index}, which an interrupted statement left")
        connection.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {index}".encode())


def _await_change(connection: Connection, index: str, tell: Callable[[str], None]) -> None:
    """Return when no session changes the catalog row of this index.

    The last transaction of a build marks the index valid, releases the table's lock and only then ends (PostgreSQL 15
    sources, DefineIndex). If a standby must confirm its commit, that takes a while.
    """
    reported = False
    while changing := connection.execute(_CHANGES_INDEX, [index]).fetchone():
        if not reported:
            tell(f"waiting for pid {changing[0]}, which completes the index {index}")
        reported = True
        time.sleep(_POLL)


def _refuse_other(connection: Connection, statement: Statement, index: _Index) -> None:
    if not index.of_table:
        raise MigrationError(
            f"there is an index {index.name} already, on the table {index.table} and not on {statement.table}: "
            "rename one of them"
        )
    right_definition = _definition_of(connection, statement)
    row = connection.execute(_DEFINITION, [index.oid]).fetchone()
    if right_definition is not None and right_definition != row:
        [definition] = connection.execute("SELECT pg_get_indexdef(%s)", [index.oid]).fetchone() or ("",)
        raise MigrationError(
            f"there is an index {index.name} already, another one than the revision builds: {definition}. Drop it, "
            f"where nothing needs it: DROP INDEX CONCURRENTLY {index.name}; or give the new one another name"
        )


def _definition_of(connection: Connection, statement: Statement) -> tuple[object, ...] | None:
    """Return the server's definition of the new index, built on an empty copy of the table and rolled back.

    None if that fails, as for an expression over the table's own row type.
    """
    unique = "UNIQUE " if statement.unique else ""
    scratch = _SCRATCH.as_string(connection)
    try:
        with connection.transaction(force_rollback=True):
            connection.execute(f"CREATE TABLE {scratch} (LIKE {statement.table})".encode())
            connection.execute(f"CREATE {unique}INDEX {_SCRATCH_INDEX} ON {scratch} {statement.definition}".encode())
            oid = connection.execute("SELECT to_regclass(%s)::oid", [f"{VERSION_SCHEMA}.{_SCRATCH_INDEX}"]).fetchone()
            return connection.execute(_DEFINITION, oid).fetchone()
    except psycopg.ProgrammingError:
        return None


def _partition(connection: Connection, statement: Statement) -> bool | None:
    """Return whether its DETACH is pending, or None if it is not a partition of that table."""
    row = connection.execute(_PARTITION, {"name": statement.name, "table": statement.table}).fetchone()
    return bool(row[0]) if row else None


def _is_so(connection: Connection, condition: str, name: str) -> bool:
    return connection.execute(f"SELECT {condition}".encode(), [name]).fetchone() == (True,)


def _escaped(literal: str) -> str:
    return literal.replace("%", "%%")


def repair_leftovers(session: Connection, url: str, policy: Policy, tell: Callable[[str], None]) -> None:
    """Repair what unfinished statements left, for revisions that were not applied since. Nothing is run again.

    Args:
        session: reads the ledger.
        url: the database. Repairs use a session of their own.
        policy: its `lock_deadline` limits each lock.
        tell: gets a text for each repair.

    Raises:
        DatabaseError: a lock was not available within the deadline.

    """
    left = [(started, recognise(started.statement)) for started in ledger.attempts(session) if not started.done]
    if not left:
        return
    # The statements come from scripts, whose names are found with the login's search_path.
    with closing(open_session(url)) as connection, refusals(connection):
        connection.autocommit = True
        connection.execute(
            f"SET lock_timeout = {round(policy.lock_deadline * 1000)}; SET statement_timeout = 0".encode()
        )
        for attempt, statement in left:
            if statement:
                repair(connection, statement, partial(_tell, tell, attempt.revision))


def _tell(tell: Callable[[str], None], revision: str, text: str) -> None:
    tell(f"{revision}: {text}")
