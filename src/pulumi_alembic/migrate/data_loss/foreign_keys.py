"""Foreign keys of tables that rows are restored to: the order of the tables, and deferred checks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from psycopg import sql

if TYPE_CHECKING:
    from pulumi_alembic.database.connection import Connection

__all__ = ["ForeignKey", "deferred", "read_keys", "sorted_by_keys", "tables_of"]

# The server maintains a key's copies for partitions. Before PostgreSQL 18 conenforced and conperiod do not exist.
_KEYS = """
SELECT conname, conrelid::bigint, quote_ident(n.nspname) || '.' || quote_ident(c.relname),
    confrelid::bigint, quote_ident(pn.nspname) || '.' || quote_ident(p.relname),
    (SELECT array_agg(attname::text ORDER BY place) FROM unnest(conkey) WITH ORDINALITY AS k (number, place)
     JOIN pg_attribute ON attrelid = conrelid AND attnum = number),
    (SELECT array_agg(attname::text ORDER BY place) FROM unnest(confkey) WITH ORDINALITY AS k (number, place)
     JOIN pg_attribute ON attrelid = confrelid AND attnum = number),
    condeferrable, confmatchtype = 'f'
FROM pg_constraint f JOIN pg_class c ON c.oid = conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_class p ON p.oid = confrelid JOIN pg_namespace pn ON pn.oid = p.relnamespace
WHERE contype = 'f' AND conparentid = 0 AND (conrelid = ANY (%(tables)s) OR confrelid = ANY (%(tables)s))
    AND coalesce((to_jsonb(f) ->> 'conenforced')::boolean, true)
    AND NOT coalesce((to_jsonb(f) ->> 'conperiod')::boolean, false)
ORDER BY conname, conrelid
"""


@dataclass(frozen=True)
class ForeignKey:
    """A foreign key: the `own` columns of `child` refer to the columns `others` of `parent`.

    Attributes:
        child: name of the table as SQL, like `parent`.
        full: MATCH FULL, so that all of its columns are NULL or none.

    """

    name: str
    child_oid: int
    child: str
    parent_oid: int
    parent: str
    own: tuple[str, ...]
    others: tuple[str, ...]
    deferrable: bool
    full: bool

    def alter(self, how: str) -> bytes:
        """Return the statement that makes it `DEFERRABLE INITIALLY DEFERRED`, or `NOT DEFERRABLE` again."""
        name = sql.Identifier(self.name).as_string(None)
        return f"ALTER TABLE {self.child} ALTER CONSTRAINT {name} {how}".encode()


def read_keys(session: Connection, tables: Iterable[int]) -> list[ForeignKey]:
    """Return every foreign key of these tables, and every one that refers to them."""
    rows = session.execute(_KEYS, {"tables": list(tables)}).fetchall()
    return [
        ForeignKey(name, child_oid, child, parent_oid, parent, tuple(own), tuple(others), *kind)
        for name, child_oid, child, parent_oid, parent, own, others, *kind in rows
    ]


def tables_of(keys: Iterable[ForeignKey]) -> set[int]:
    """Return the oids of the tables that have these keys, or are referenced by them."""
    return {oid for key in keys for oid in (key.child_oid, key.parent_oid)}


def sorted_by_keys(tables: Sequence[int], keys: Sequence[ForeignKey]) -> dict[int, int]:
    """Return a rank for each table: referenced tables come first, except in a cycle."""
    rank = dict.fromkeys(tables, 0)
    for _ in rank:
        for key in keys:
            if key.child_oid != key.parent_oid and {key.child_oid, key.parent_oid} <= rank.keys():
                rank[key.child_oid] = max(rank[key.child_oid], min(rank[key.parent_oid] + 1, len(rank)))
    return rank


@contextmanager
def deferred(session: Connection, keys: Iterable[ForeignKey]) -> Iterator[None]:
    """Defer these foreign keys within the block, check them at its end, and restore their deferrability."""
    changed = [key for key in keys if not key.deferrable]
    for key in changed:
        session.execute(key.alter("DEFERRABLE INITIALLY DEFERRED"))
    session.execute("SET CONSTRAINTS ALL DEFERRED")
    yield
    session.execute("SET CONSTRAINTS ALL IMMEDIATE")
    for key in changed:
        session.execute(key.alter("NOT DEFERRABLE"))
