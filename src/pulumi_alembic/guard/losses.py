"""What of a database's rows and values a statement would take away, and how much that is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psycopg
from psycopg import sql

from pulumi_alembic.catalog import Catalog, quoted
from pulumi_alembic.database import connect, read_catalog

if TYPE_CHECKING:
    from pulumi_alembic.account import Account
    from pulumi_alembic.database import Connection

__all__ = ["Loss", "at_risk", "count", "estimate", "losses"]

_PATIENCE = b"SET lock_timeout = 1; SET statement_timeout = 40; SET row_security = off"
"""Milliseconds that a preview may wait for a lock, and hold that of a reader, and so keep DDL waiting."""


@dataclass(frozen=True)
class Loss:
    """The rows of a table or, where one is named, what is not NULL in a column; names are as PostgreSQL prints them."""

    table: str
    column: str = ""

    def told(self, number: int | None, *, about: bool = False) -> str:
        """`12,345 rows of app.messages`; `about` so many where it was not counted, and without a number for None."""
        of = f"{self.table}.{self.column}" if self.column else self.table
        what = ("value" if self.column else "row") + ("" if number == 1 else "s")
        return " ".join(filter(None, ["about" * about, "" if number is None else f"{number:,}", what, "of", of]))


def losses(destroys: Iterable[str], catalog: Catalog) -> tuple[Loss, ...]:
    """The tables and columns with rows of their own among what `Effects.destroys` names, each once.

    Rows that a statement picks by a condition, and values that it writes over, are what it is for: they are none. What
    the catalog does not know is not there, and what a view or an index holds can be made again.
    """
    found = [loss for each in destroys if (loss := _loss(each, catalog)) is not None]
    tables = {each.table for each in found if not each.column}
    below = {(child, each.column) for each in found if each.column for child in catalog.descendants(each.table)}
    kept = [each for each in found if not each.column or (each.table not in tables and _key(each) not in below)]
    return tuple(dict.fromkeys(kept))


def at_risk(url: str, account: Account) -> dict[str, tuple[tuple[Loss, str], ...]]:
    """How much each revision would take away of what there is now, and the text of it, where there is anything.

    Nobody waits for it, and it waits for nobody: what is locked or takes long to count is told by the statistics.
    Raises DatabaseError.
    """
    destroys = {
        each.id: [thing for one in each.statements for thing in one.effects.destroys] for each in account.revisions
    }
    if not any(destroys.values()):
        return {}
    with connect(url) as connection:
        catalog = read_catalog(connection)
        connection.commit()
        connection.autocommit = True
        connection.execute(_PATIENCE)
        found = {id: losses(things, catalog) for id, things in destroys.items()}
        told = {id: [(each, _told(connection, each)) for each in lost] for id, lost in found.items()}
    return {id: some for id, texts in told.items() if (some := tuple(each for each in texts if each[1]))}


def _told(connection: Connection, loss: Loss) -> str:
    """How much there is of one; empty where there is nothing."""
    try:
        [number] = count(connection, [loss])
        return loss.told(number) if number else ""
    except (psycopg.errors.QueryCanceled, psycopg.errors.LockNotAvailable, psycopg.errors.InsufficientPrivilege):
        [about] = estimate(connection, [loss])
        return loss.told(about, about=about is not None)


def count(connection: Connection, found: Sequence[Loss]) -> list[int]:
    """How much there is of each, exactly, as the session sees it."""
    asked = ", ".join(f"({_count(each)})" for each in found)
    row = connection.execute(f"SELECT {asked}".encode()).fetchone()
    return [int(each) for each in row or ()]


def estimate(connection: Connection, found: Sequence[Loss]) -> list[int | None]:
    """How many rows each one's table has, by the statistics and without a look at it; None where there are none yet.

    Of a column there are no more values than that.
    """
    # Before PostgreSQL 14 a table that was never analyzed has 0, since then -1.
    known = "SELECT CASE WHEN reltuples > 0 THEN reltuples::bigint END FROM pg_class WHERE oid = to_regclass({})"
    asked = sql.SQL(", ").join(sql.SQL(f"({known})").format(sql.Literal(each.table)) for each in found)
    row = connection.execute(sql.SQL("SELECT {}").format(asked)).fetchone()
    return [None if each is None else int(each) for each in row or ()]


def _loss(thing: str, catalog: Catalog) -> Loss | None:
    kind, _, name = thing.partition(" ")
    if kind == "rows":
        kind, name = "table", name.removeprefix("of ")
    relations = catalog.relations
    if kind == "table" and name in relations and relations[name].kind == "r":
        return Loss(name)
    if kind == "column":
        for table, column in _split(name):
            known = relations.get(table)
            if known and known.kind in "rp" and column in map(quoted, known.columns):
                return Loss(table, column)
    return None


def _split(name: str) -> Iterator[tuple[str, str]]:
    """Every way to cut a name at a dot; one in quotes may hold dots too."""
    parts = name.split(".")
    return ((".".join(parts[:at]), ".".join(parts[at:])) for at in range(1, len(parts)))


def _key(loss: Loss) -> tuple[str, str]:
    return loss.table, loss.column


def _count(loss: Loss) -> str:
    """Of a column's the table's children too: they lose theirs with it. Each table that goes is named itself."""
    return (
        f"SELECT count({loss.column}) FROM {loss.table}"  # noqa: S608
        if loss.column
        else f"SELECT count(*) FROM ONLY {loss.table}"  # noqa: S608
    )
