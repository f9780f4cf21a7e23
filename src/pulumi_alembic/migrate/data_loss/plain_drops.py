"""PlainDrop drops: whether a statement drops just what it names, and whether that is empty."""

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
"""Without CASCADE none of these takes a row or a value with it; an extension takes its tables."""

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
    """The tables that a statement drops, as it writes them, or of one table the column; no tables for what has no rows.

    PostgreSQL refuses it where anything else would go but partitions, and a column of the table's children.
    """

    tables: str
    column: str = ""


def plain_drop(sql: str) -> PlainDrop | None:
    """What DROP TABLE or DROP COLUMN takes, or the drop of what has no rows; None for all that is not one of these.

    Alone in its text, and without CASCADE or a comment. It is read without the parser, which takes long to load.
    """
    if match := _DROP.fullmatch(sql):
        return PlainDrop(match[2] if match[1] else "")
    match = _DROP_COLUMN.fullmatch(sql)
    return PlainDrop(match[1], match[2]) if match else None


def holds_nothing(connection: Connection, dropped: PlainDrop, seconds: float, mark: str) -> bool:
    """Whether there is no row and no value of it; False also where that cannot be told, or not in so many seconds.

    Asked under the lock that the statement needs itself, in one message to the server, which begins with `mark`; the
    question's savepoint ends with the next one. An aborted transaction must not be asked: it would be revived.
    Raises psycopg.Error where the lock cannot be had in time, or the session is gone.
    """
    if not dropped.tables:
        return True
    begun = time.monotonic()
    try:
        answer = send(
            connection,
            f"{mark} SAVEPOINT {_SAVEPOINT}; LOCK TABLE {dropped.tables} IN ACCESS EXCLUSIVE MODE; "
            # Kept on the server, they are restored without a question in between.
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
    # And with it the lock: whoever counts now holds it for no longer than it may.
    connection.execute(f"{mark} ROLLBACK TO SAVEPOINT {_SAVEPOINT}; RELEASE SAVEPOINT {_SAVEPOINT}".encode())
    return False


def _set(to: str, of: str) -> str:
    settings = ("statement_timeout", "row_security")
    return ", ".join(f"set_config('{to}{setting}', current_setting('{of}{setting}'), true)" for setting in settings)


def _exists(dropped: PlainDrop) -> str:
    """With the table's partitions and children."""
    if dropped.column:
        # IS NOT NULL is false of a row value that has a NULL in it.
        return f"EXISTS (SELECT FROM {dropped.tables} WHERE num_nonnulls({dropped.column}) > 0)"
    return " OR ".join(f"EXISTS (SELECT FROM {name})" for name in _NAMES.findall(dropped.tables))


def drops_tables(statement: str) -> bool:
    """Whether the text is one DROP TABLE, and nothing else."""
    from pulumi_alembic.sql.parser import ParseError, parse

    try:
        nodes = parse(statement)
    except ParseError:
        return False
    return len(nodes) == 1 and nodes[0].tag == "DropStmt" and nodes[0].removeType == "OBJECT_TABLE"
