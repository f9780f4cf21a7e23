"""Reads a snapshot: the objects of one database, and the roles, memberships and settings that it lives by."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any

from pulumi_alembic.database.connection import KEPT_SCHEMA, VERSION_SCHEMA, read_heads
from pulumi_alembic.database.sessions import naming, patience
from pulumi_alembic.drift.difference.snapshot import HEADS, SERVER, Item, Snapshot
from pulumi_alembic.drift.query import query
from pulumi_alembic.sql.garbage import uncollected

if TYPE_CHECKING:
    from psycopg import Cursor

    from pulumi_alembic.database.connection import Session

__all__ = ["read", "read_between_transactions"]

_SETTINGS = {
    "search_path": "",
    # Compiled, the query would take many times as long.
    "jit": "off",
    # What constants in expressions look like.
    "timezone": "UTC",
    "datestyle": "ISO, MDY",
    "intervalstyle": "postgres",
    "extra_float_digits": "1",
    "bytea_output": "hex",
    "quote_all_identifiers": "off",
    # The lock's own limit ends a wait, and says for whom it was.
    "statement_timeout": "0",
}


def read(connection: Session, roles: Collection[str] = (), tell: Callable[[str], None] | None = None) -> Snapshot:
    """What there is now. What an extension brings, the migration tables, what is kept and partitions are no part of it.

    Of the migration tables it is who may do what with them. Rows, planner statistics, positions of sequences and the
    order of columns are none either. Roles are those that own something here or were granted something, their members,
    and `roles`. Read in the transaction that the connection is in, whose search_path is empty from here on to its end.

    To print a view, a default or an index the server locks its table. `tell` gets whom it waits for, by default as
    `sessions.waits` says, and the wait ends when that says.
    """
    return _snapshot(*_ask(connection, roles, tell))


def read_between_transactions(
    connection: Session, roles: Collection[str] = (), tell: Callable[[str], None] | None = None
) -> Snapshot:
    """As `read`, but the connection is in no transaction, and is in none while what the server sent is parsed."""
    answer = _ask(connection, roles, tell)
    connection.rollback()
    return _snapshot(*answer)


def _ask(
    connection: Session, roles: Collection[str], tell: Callable[[str], None] | None
) -> tuple[Item, tuple[str, ...], Cursor[tuple[Any, ...]]]:
    """The server's version, the heads, and the answer to the query."""
    heads, server = read_heads(connection), connection.info.server_version // 10000
    connection.execute(
        "SELECT pg_catalog.set_config(name, value, true) FROM unnest(%s::text[], %s::text[]) AS s (name, value)",
        [[*_SETTINGS, "lock_timeout"], [*_SETTINGS.values(), str(round(patience().seconds * 1000))]],
    )
    parameters = {"without": [VERSION_SCHEMA, KEPT_SCHEMA], "migrations": VERSION_SCHEMA, "roles": list(roles)}
    with naming(connection, tell or patience().tell):
        answer = connection.execute(query(server).encode(), parameters)
    return Item(SERVER, str(server)), heads, answer


def _snapshot(server: Item, heads: tuple[str, ...], answer: Cursor[tuple[Any, ...]]) -> Snapshot:
    with uncollected():
        rows = answer.fetchall()
        # All at once: there are many, and each is short.
        all_facts = json.loads(f"[{','.join(facts for *_, facts in rows)}]")
        items = (
            Item(kind, name, {fact: value for fact, value in facts.items() if value is not None})
            for (kind, name, _), facts in zip(rows, all_facts, strict=True)
        )
        return Snapshot((server, *(Item(HEADS, head) for head in heads), *items))
