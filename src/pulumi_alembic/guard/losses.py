"""What of a database's rows and values a statement would take away, and how much that is."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import psycopg
from psycopg import sql

from pulumi_alembic.catalog import Catalog, quoted
from pulumi_alembic.database import connect, login_search_path, read_catalog

if TYPE_CHECKING:
    from pulumi_alembic.account import Account
    from pulumi_alembic.database import Connection

__all__ = ["Loss", "Risk", "at_risk", "at_risk_by_statistics", "count", "estimate", "losses"]

_PATIENCE = b"SET lock_timeout = 1; SET statement_timeout = 40; SET row_security = off"
"""Milliseconds that a preview may wait for a lock, and hold that of a reader, and so keep DDL waiting."""


_RENAMING = re.compile(r"(?i)\b(rename|schema)\b")


@dataclass(frozen=True)
class Loss:
    """The rows of a table or, where one is named, what is not NULL in a column; names are as PostgreSQL prints them.

    Of a column it is that of the table's partitions and children too, unless it is of the table `only`.
    """

    table: str
    column: str = ""
    only: bool = field(default=False, compare=False)

    def told(self, number: int | None, *, about: bool = False) -> str:
        """`12,345 rows of app.messages`; `about` so many where it was not counted, and without a number for None."""
        of = f"{self.table}.{self.column}" if self.column else self.table
        what = ("value" if self.column else "row") + ("" if number == 1 else "s")
        return " ".join(filter(None, ["about" * about, "" if number is None else f"{number:,}", what, "of", of]))


@dataclass(frozen=True)
class Risk:
    """What a revision would delete: `shown` by its name before the revision, with how much of it as `text`.

    `drops` are the statements that drop it; there are none where one empties it.
    """

    loss: Loss
    shown: Loss
    text: str = ""
    drops: tuple[str, ...] = ()


def losses(destroys: Iterable[str], catalog: Catalog, *, apart: bool = False) -> tuple[Loss, ...]:
    """The tables and columns with rows of their own among what `Effects.destroys` names, each once.

    Of a column the values are those of the whole table or, `apart`, of each of its partitions and children. Rows that
    a statement picks by a condition, and values that it writes over, are what it is for: they are none. What the
    catalog does not know is not there, and what a view or an index holds can be made again.
    """
    found = [loss for each in destroys for loss in _losses(each, catalog, apart=apart)]
    tables = {each.table for each in found if not each.column}
    below = {Loss(child, each.column) for each in found if each.column for child in catalog.descendants(each.table)}
    kept = [each for each in found if not each.column or (each.table not in tables and (apart or each not in below))]
    return tuple(dict.fromkeys(kept))


def at_risk(url: str, account: Account, *, apart: bool) -> dict[str, tuple[Risk, ...]]:
    """How much each revision would delete of what is there now; `apart` as in `losses`.

    Nobody waits for it, and it waits for nobody: what is locked or takes long to count is told by the statistics.
    Raises DatabaseError.
    """
    if not any(one.effects.destroys for each in account.revisions for one in each.statements):
        return {}
    with connect(url) as connection:
        catalog = read_catalog(connection, login_search_path(url))
        connection.commit()
        connection.autocommit = True
        connection.execute(_PATIENCE)
        risks = {
            id: [replace(each, text=_told(connection, each)) for each in found]
            for id, found in _risks(account, catalog, apart=apart).items()
        }
    return {id: some for id, found in risks.items() if (some := tuple(each for each in found if each.text))}


def at_risk_by_statistics(account: Account, catalog: Catalog) -> dict[str, tuple[str, ...]]:
    """What each revision would take away of what the catalog has: with about so many rows, if its statistics say so."""
    return {
        id: tuple(each.shown.told(rows or None, about=bool(rows)) for each, rows in _estimated(found, catalog))
        for id, found in _risks(account, catalog, apart=False).items()
    }


def _estimated(found: Iterable[Risk], catalog: Catalog) -> Iterator[tuple[Risk, int]]:
    return ((each, catalog.relations[each.loss.table].rows) for each in found)


def _risks(account: Account, catalog: Catalog, *, apart: bool) -> dict[str, list[Risk]]:
    from pulumi_alembic.effects import after

    now = catalog
    moves = any(_RENAMING.search(one.sql) for each in account.revisions for one in each.statements)
    gone: set[Loss] = set()
    found: dict[str, list[Risk]] = {}
    for revision in account.revisions:
        before = now
        risks: dict[Loss, Risk] = {}
        for statement in revision.statements:
            emptied = {each for each in statement.effects.destroys if each.startswith("rows of ")}
            for each in losses(statement.effects.destroys, now, apart=apart):
                loss = _original(each, now)
                if loss in gone or loss.table not in catalog.relations:
                    continue
                if loss not in risks or risks[loss].drops:
                    drops = risks[loss].drops if loss in risks else ()
                    drops = () if f"rows of {each.table}" in emptied else (*drops, statement.sql)
                    risks[loss] = Risk(loss, _named(loss, before), drops=drops)
            now = after(statement.sql, now) if moves else now
        gone |= risks.keys()
        found[revision.id] = list(risks.values())
    return found


def _original(loss: Loss, catalog: Catalog) -> Loss:
    """By the names that the database has."""
    relation = catalog.relations.get(loss.table)
    if relation is None:
        return loss
    columns = {quoted(name): quoted(each.was or name) for name, each in relation.columns.items()}
    return Loss(relation.was or relation.name, columns.get(loss.column, loss.column), loss.only)


def _named(loss: Loss, catalog: Catalog) -> Loss:
    """By the names that the catalog has for what the database calls so."""
    for relation in catalog.relations.values():
        if (relation.was or relation.name) == loss.table:
            columns = {quoted(each.was or name): quoted(name) for name, each in relation.columns.items()}
            return Loss(relation.name, columns.get(loss.column, loss.column))
    return loss


def _told(connection: Connection, risk: Risk) -> str:
    """How much there is of one; empty where there is nothing."""
    loss, shown = risk.loss, risk.shown
    try:
        [number] = count(connection, [loss])
        return shown.told(number) if number else ""
    except (psycopg.errors.QueryCanceled, psycopg.errors.LockNotAvailable, psycopg.errors.InsufficientPrivilege):
        [about] = estimate(connection, [loss])
        return shown.told(about, about=about is not None)


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


def _losses(thing: str, catalog: Catalog, *, apart: bool) -> Iterator[Loss]:
    kind, _, name = thing.partition(" ")
    if kind == "rows":
        kind, name = "table", name.removeprefix("of ")
    relations = catalog.relations
    if kind == "table" and name in relations and relations[name].kind == "r":
        yield Loss(name)
    for table, column in _split(name) if kind == "column" else ():
        known = relations.get(table)
        if known and known.kind in "rp" and column in map(quoted, known.columns):
            parts = (table, *catalog.descendants(table)) if apart else (table,)
            yield from (Loss(each, column, apart) for each in parts if not apart or relations[each].kind == "r")


def _split(name: str) -> Iterator[tuple[str, str]]:
    """Every way to cut a name at a dot; one in quotes may hold dots too."""
    parts = name.split(".")
    return ((".".join(parts[:at]), ".".join(parts[at:])) for at in range(1, len(parts)))


def _count(loss: Loss) -> str:
    """Of a table's rows its own: each table that goes is named itself."""
    only = "ONLY " if loss.only or not loss.column else ""
    return f"SELECT count({loss.column or '*'}) FROM {only}{loss.table}"  # noqa: S608
