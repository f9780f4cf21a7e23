"""Plain drops: statements that drop only what they name. The server tells in one answer whether that is empty."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psycopg

from pulumi_alembic.database.connection import send
from pulumi_alembic.database.retry import busy

if TYPE_CHECKING:
    from pulumi_alembic.database.connection import Connection

__all__ = ["PlainDrop", "drops_tables", "holds_nothing", "plain_drop"]

_PART = r'(?:[^\W\d][\w$]*|"(?:[^"]|"")+")'
_NAME = rf"{_PART}(?:\.{_PART})?"
_END = r"(?:\s+RESTRICT)?\s*;?\s*"
_WITHOUT_ROWS = r"INDEX|VIEW|MATERIALIZED\s+VIEW|SEQUENCE|TYPE|DOMAIN|SCHEMA"
"""Dropping one of these without CASCADE deletes no row and no value. An extension would drop its tables."""

_DROP = re.compile(
    rf"\s*DROP\s+(?:(TABLE)|{_WITHOUT_ROWS})\s+(?:IF\s+EXISTS\s+)?({_NAME}(?:\s*,\s*{_NAME})*){_END}", re.IGNORECASE
)
_DROP_COLUMN = re.compile(
    rf"\s*ALTER\s+TABLE\s+(?:IF\s+EXISTS\s+)?({_NAME})\s+DROP\s+COLUMN\s+(?:IF\s+EXISTS\s+)?({_PART}){_END}",
    re.IGNORECASE,
)

_NAMES = re.compile(_NAME)

_SAVEPOINT = "pulumi_alembic_plain"
_LIMIT = "set_config('statement_timeout', '{}', true), set_config('row_security', 'off', true)"


@dataclass(frozen=True)
class PlainDrop:
    """The tables that a statement drops, or the column of one table, as the statement writes them.

    PostgreSQL refuses such a statement if other objects depend on these, except partitions and a column's children.

    Attributes:
        tables: empty if the dropped objects store no rows.
        nulls: NULL counts as a value of the column.

    """

    tables: str
    column: str = ""
    nulls: bool = False


def plain_drop(sql: str) -> PlainDrop | None:
    """Return what a DROP TABLE, a DROP COLUMN or the drop of objects without rows drops.

    None for any other statement.

    The statement must be the only one of its text, without CASCADE and without comments. The parser is not used,
    because loading it takes long.
    """
    if match := _DROP.fullmatch(sql):
        return PlainDrop(match[2] if match[1] else "")
    match = _DROP_COLUMN.fullmatch(sql)
    return PlainDrop(match[1], match[2]) if match else None


def holds_nothing(connection: Connection, dropped: PlainDrop, seconds: float, mark: str) -> bool:
    """Return whether the dropped objects have no row and no value. False also if that is not known in time.

    The lock that the statement needs is taken, and the question is sent in one message. The transaction must not be
    aborted, because rolling back to the savepoint would revive it.

    Args:
        connection: the session of the revision.
        dropped: the objects to look at.
        seconds: the limit for the query.
        mark: prefix of the statements that are sent.

    Raises:
        psycopg.Error: the lock is not available in time, or the connection was lost.

    """
    if not dropped.tables:
        return True
    begun = time.monotonic()
    try:
        answer = send(
            connection,
            f"{mark} SAVEPOINT {_SAVEPOINT}; LOCK TABLE {dropped.tables} IN ACCESS EXCLUSIVE MODE; "
            # The settings are saved on the server, so that restoring them needs no further round trip.
            f"SELECT {_set('pulumi_alembic.', '')}, {_LIMIT.format(round(seconds * 1000))}; "
            f"SELECT {_exists(dropped)}, {_set('', 'pulumi_alembic.')}".encode(),
        )
    except psycopg.Error as error:
        by_hand = isinstance(error, psycopg.errors.QueryCanceled) and time.monotonic() - begun < seconds
        if busy(error) or by_hand or connection.info.transaction_status != psycopg.pq.TransactionStatus.INERROR:
            raise
    else:
        if answer.get_value(0, 0) == b"f":
            connection.execute(f"{mark} RELEASE SAVEPOINT {_SAVEPOINT}".encode())
            return True
    # This releases the lock too, so that counting holds it only within its own limit.
    connection.execute(f"{mark} ROLLBACK TO SAVEPOINT {_SAVEPOINT}; RELEASE SAVEPOINT {_SAVEPOINT}".encode())
    return False


def _set(to: str, of: str) -> str:
    settings = ("statement_timeout", "row_security")
    return ", ".join(f"set_config('{to}{setting}', current_setting('{of}{setting}'), true)" for setting in settings)


def _exists(dropped: PlainDrop) -> str:
    """Return the condition that there is a row or value, including partitions and children."""
    if dropped.column:
        # IS NOT NULL is false of a row value that has a NULL in it.
        condition = "" if dropped.nulls else f" WHERE num_nonnulls({dropped.column}) > 0"
        return f"EXISTS (SELECT FROM {dropped.tables}{condition})"
    return " OR ".join(f"EXISTS (SELECT FROM {name})" for name in _NAMES.findall(dropped.tables))


def drops_tables(statement: str) -> bool:
    """Return whether the text is one DROP TABLE and nothing else."""
    from pulumi_alembic.sql.parser import ParseError, parse

    try:
        nodes = parse(statement)
    except ParseError:
        return False
    return len(nodes) == 1 and nodes[0].tag == "DropStmt" and nodes[0].removeType == "OBJECT_TABLE"
