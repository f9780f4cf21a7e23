"""Values that were copied before the locks of a revision, and that are brought up to date under these locks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from psycopg import sql

from pulumi_alembic.database.connection import KEPT_SCHEMA
from pulumi_alembic.migrate.data_loss import move
from pulumi_alembic.migrate.data_loss.preserved_table import numbers

if TYPE_CHECKING:
    from pulumi_alembic.database.connection import Connection
    from pulumi_alembic.migrate.data_loss.columns import Column
    from pulumi_alembic.migrate.data_loss.preserved_table import Entry
    from pulumi_alembic.migrate.data_loss.source import Source

__all__ = ["CopiedAhead", "copy_ahead"]

_SINCE = """
SELECT pg_snapshot_xmin(pg_current_snapshot())::xid::text
WHERE current_setting('transaction_isolation') = 'read committed'
"""
"""Every row version that a later snapshot of this transaction lacks is of this transaction id or of a newer one."""

_UNUSED = "SELECT FROM pg_class WHERE oid = to_regclass(%s) AND obj_description(oid, 'pg_class') IS NULL"


@dataclass(frozen=True)
class CopiedAhead:
    """Values of some columns that were copied while other sessions could read and write.

    Attributes:
        entry: the preserved table, with the numbers of values at that time.
        columns: the key's columns and the others, in the preserved table's order.
        since: the oldest transaction whose rows the copy can lack.
        copied: the number of copied rows.

    """

    entry: Entry
    columns: tuple[Column, ...]
    since: str
    copied: int

    def fits(self, session: Connection, source: Source, names: Sequence[str]) -> bool:
        """Return whether the copy is not used yet, and has the columns by these names as they are now."""
        return self._is_unused(session) and self.columns == tuple(source.columns[name] for name in names)

    def drop(self, session: Connection) -> None:
        """Drop the copy, unless it is used."""
        if self._is_unused(session):
            session.execute(f"DROP TABLE {self.entry.place}".encode())

    def _is_unused(self, session: Connection) -> bool:
        """Return whether there is the copy without a description. A savepoint that is rolled back can undo both."""
        return session.execute(_UNUSED, [self.entry.place]).fetchone() is not None

    def catch_up(self, session: Connection, entry: Entry, source: Source) -> Entry:
        """Copy what changed meanwhile, and return the entry with the numbers of values.

        The table's lock must keep writers out. Changed rows are found by the transaction that wrote them. Deleted rows
        are searched for only if the numbers of rows differ.

        Args:
            session: the session that copied the values.
            entry: the description of the preserved table.
            source: the table that they were copied from.

        """
        entry = replace(entry, id=self.entry.id, name=self.entry.name)
        changes = sql.Identifier(KEPT_SCHEMA, f"{entry.name}_changes").as_string(None)
        table, values = source.table, move.selected(source, self.columns)
        changed = session.execute(
            f"CREATE TABLE {changes} AS SELECT {values} FROM ONLY {table} "
            f"WHERE age(xmin) <= (SELECT age('{self.since}'::xid))".encode()
        ).rowcount
        copied, counts = self.copied, self.entry.counts
        if changed:
            session.execute(f"ANALYZE {changes}".encode())
            same = " AND ".join(f"k.{name} = c.{name}" for name in map(_quoted, entry.key))
            copied, counts = self._delete(session, f"USING {changes} c WHERE {same}", copied, counts)
            session.execute(f"INSERT INTO {entry.place} SELECT * FROM {changes}".encode())
            added = numbers(session, replace(entry, name=f"{entry.name}_changes"), entry.columns)
            copied, counts = copied + changed, {name: counts[name] + added[name] for name in counts}
        session.execute(f"DROP TABLE {changes}".encode())
        [(rows,)] = session.execute(f"SELECT count(*) FROM ONLY {table}".encode()).fetchall()
        if rows != copied:
            keys = zip(map(_quoted, entry.key), self.columns, strict=False)
            same = " AND ".join(f"k.{name} = {column.kept}" for name, column in keys)
            deleted = f"WHERE NOT EXISTS (SELECT FROM ONLY {table} WHERE {same})"
            copied, counts = self._delete(session, deleted, copied, counts)
        session.execute(f"DROP INDEX {_index(entry)}".encode())
        return replace(entry, rows=sum(counts.values()), counts=counts)

    def _delete(
        self, session: Connection, which: str, copied: int, counts: Mapping[str, int]
    ) -> tuple[int, dict[str, int]]:
        """Delete copied rows, and return how many rows, and how many values of each column, remain."""
        counted = "".join(f", count({_quoted(name)})" for name in counts)
        [(rows, *values)] = session.execute(
            f"WITH gone AS (DELETE FROM {self.entry.place} k {which} RETURNING k.*) "
            f"SELECT count(*){counted} FROM gone".encode()
        ).fetchall()
        return copied - rows, {name: counts[name] - value for name, value in zip(counts, values, strict=True)}


def copy_ahead(session: Connection, entry: Entry, source: Source, names: Sequence[str]) -> CopiedAhead | None:
    """Copy the primary key and the values of columns while others read and write.

    The copy gets an index, so that changed rows are found at once later.

    Returns:
        None if that needs a lock that blocks other sessions, or if the transaction does not see what others commit.

    """
    since = session.execute(_SINCE.encode()).fetchone()
    if since is None or move.is_forced(session, source.table):
        return None
    columns = tuple(source.columns[name] for name in names)
    copied = move.copy(session, entry, source, columns)
    key = ", ".join(map(_quoted, entry.key))
    session.execute(f"CREATE INDEX {_quoted(_index_name(entry))} ON {entry.place} ({key})".encode())
    session.execute(f"ANALYZE {entry.place}".encode())
    entry = replace(entry, counts=numbers(session, entry, entry.columns))
    return CopiedAhead(entry, columns, str(since[0]), copied)


def _index_name(entry: Entry) -> str:
    return f"{entry.name}_key"


def _index(entry: Entry) -> str:
    return sql.Identifier(KEPT_SCHEMA, _index_name(entry)).as_string(None)


def _quoted(name: str) -> str:
    return sql.Identifier(name).as_string(None)
