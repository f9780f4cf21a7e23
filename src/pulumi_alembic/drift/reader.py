"""Read a snapshot: a database's objects, and the roles, memberships and settings that concern it."""

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
    # With JIT, the query would take many times as long.
    "jit": "off",
    # These settings determine how constants in expressions are printed.
    "timezone": "UTC",
    "datestyle": "ISO, MDY",
    "intervalstyle": "postgres",
    "extra_float_digits": "1",
    "bytea_output": "hex",
    "quote_all_identifiers": "off",
    # Only lock_timeout ends a wait, because its error is reported with the blocking session.
    "statement_timeout": "0",
}


def read(connection: Session, roles: Collection[str] = (), tell: Callable[[str], None] | None = None) -> Snapshot:
    """Return the current snapshot.

    It leaves out objects of extensions, the migration tables except their privileges, preserved tables and partitions.
    It also leaves out rows, statistics, positions of sequences and the order of columns. Roles are included if they own
    something here or have privileges or such members.

    It is read in the current transaction, whose search_path is empty from then on. To print a view, a default or an
    index, the server locks its table.

    Args:
        connection: a session of the database.
        roles: roles to include in any case.
        tell: gets whom it waits for. By default, and for the limit of the wait, see `sessions.waits`.

    """
    return _snapshot(*_ask(connection, roles, tell))


def read_between_transactions(
    connection: Session, roles: Collection[str] = (), tell: Callable[[str], None] | None = None
) -> Snapshot:
    """Return the current snapshot as `read` does, and end the transaction before the rows are parsed."""
    answer = _ask(connection, roles, tell)
    connection.rollback()
    return _snapshot(*answer)


def _ask(
    connection: Session, roles: Collection[str], tell: Callable[[str], None] | None
) -> tuple[Item, tuple[str, ...], Cursor[tuple[Any, ...]]]:
    """Return the server's version, the heads, and the cursor with the query's result."""
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
        # One call for all rows, because there are many short ones.
        all_facts = json.loads(f"[{','.join(facts for *_, facts in rows)}]")
        items = (
            Item(kind, name, {fact: value for fact, value in facts.items() if value is not None})
            for (kind, name, _), facts in zip(rows, all_facts, strict=True)
        )
        return Snapshot((server, *(Item(HEADS, head) for head in heads), *items))
