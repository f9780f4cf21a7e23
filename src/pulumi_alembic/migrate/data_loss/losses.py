"""The rows and values that a statement would delete, and how many there are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from psycopg import sql

from pulumi_alembic.output.wording import plural
from pulumi_alembic.sql.catalog import Catalog, quoted

if TYPE_CHECKING:
    from pulumi_alembic.database.connection import Connection

__all__ = ["Loss", "count", "estimate", "losses"]


@dataclass(frozen=True)
class Loss:
    """The rows of a table, or the values of one column that are not NULL. Names are as PostgreSQL prints them.

    Attributes:
        only: without the column's values in partitions and children.

    """

    table: str
    column: str = ""
    only: bool = field(default=False, compare=False)

    def described(self, number: int | None, *, about: bool = False) -> str:
        """Return a text such as `12,345 rows of app.messages`, without a number for None. `about` adds that word."""
        of = f"{self.table}.{self.column}" if self.column else self.table
        noun = plural(number, "value" if self.column else "row")
        return " ".join(filter(None, ["about" * about, "" if number is None else f"{number:,}", noun, "of", of]))


def losses(destroys: Iterable[str], catalog: Catalog, *, apart: bool = False) -> tuple[Loss, ...]:
    """Return the tables and columns that store rows among what `Effects.destroys` names, each once.

    Rows that a statement selects by a condition and values that it overwrites are its purpose, so they do not count.
    Objects that the catalog lacks do not exist. Views and indexes can be created again.

    Args:
        destroys: objects as `Effects.destroys` names them.
        catalog: the catalog before the statement.
        apart: return a column for each partition and child, not once for the whole table.

    """
    lost = [loss for destroyed in destroys for loss in _losses(destroyed, catalog, apart=apart)]
    tables = {loss.table for loss in lost if not loss.column}
    below = {Loss(child, loss.column) for loss in lost if loss.column for child in catalog.descendants(loss.table)}
    kept = [loss for loss in lost if not loss.column or (loss.table not in tables and (apart or loss not in below))]
    return tuple(dict.fromkeys(kept))


def count(connection: Connection, lost: Sequence[Loss]) -> list[int]:
    """Return the exact number of each, as the session sees it."""
    counts = ", ".join(f"({_count(loss)})" for loss in lost)
    row = connection.execute(f"SELECT {counts}".encode()).fetchone()
    return [int(number) for number in row or ()]


def estimate(connection: Connection, lost: Sequence[Loss]) -> list[int | None]:
    """Estimate the rows of each one's table from statistics, without reading the table. None if it has none yet."""
    # Before PostgreSQL 14 a table that was never analyzed has 0, since then -1.
    estimated = "SELECT CASE WHEN reltuples > 0 THEN reltuples::bigint END FROM pg_class WHERE oid = to_regclass({})"
    estimates = sql.SQL(", ").join(sql.SQL(f"({estimated})").format(sql.Literal(loss.table)) for loss in lost)
    row = connection.execute(sql.SQL("SELECT {}").format(estimates)).fetchone()
    return [None if number is None else int(number) for number in row or ()]


def _losses(thing: str, catalog: Catalog, *, apart: bool) -> Iterator[Loss]:
    kind, _, name = thing.partition(" ")
    if kind == "rows":
        kind, name = "table", name.removeprefix("of ")
    relations = catalog.relations
    if kind == "table" and name in relations and relations[name].kind == "r":
        yield Loss(name)
    for table, column in _split(name) if kind == "column" else ():
        relation = relations.get(table)
        if relation and relation.kind in "rp" and column in map(quoted, relation.columns):
            parts = (table, *catalog.descendants(table)) if apart else (table,)
            yield from (Loss(part, column, apart) for part in parts if not apart or relations[part].kind == "r")


def _split(name: str) -> Iterator[tuple[str, str]]:
    """Yield every way to split a name at a dot, because a quoted name can contain dots."""
    parts = name.split(".")
    return ((".".join(parts[:at]), ".".join(parts[at:])) for at in range(1, len(parts)))


def _count(loss: Loss) -> str:
    """Return the query that counts. Rows are counted with ONLY, because each dropped table is listed itself."""
    only = "ONLY " if loss.only or not loss.column else ""
    return f"SELECT count({loss.column or '*'}) FROM {only}{loss.table}"
