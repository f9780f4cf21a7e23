"""A table that a revision drops or shortens, by its names from before the revision, to which a restore returns."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pulumi_alembic.migrate.data_loss.catalog_after import Names, names
from pulumi_alembic.migrate.data_loss.columns import read_columns

if TYPE_CHECKING:
    from pulumi_alembic.database.connection import Connection

__all__ = ["Before", "Source"]

_KEYS = """
SELECT conrelid::bigint, array_agg(confrelid::bigint) FROM pg_constraint
WHERE contype = 'f' AND conparentid = 0 GROUP BY 1
"""
_OID = "SELECT to_regclass(%s)::oid::bigint"


class Before:
    """Names of tables and columns before a revision runs, and the tables that foreign keys refer to."""

    def __init__(self, session: Connection) -> None:
        self.names: Names = names(session)
        self._keys: dict[int, list[int]] = dict(session.execute(_KEYS).fetchall())

    def name(self, table: int, now: str) -> str:
        """Return the table's name before the revision, or `now` if the revision created it."""
        return self.names[table][0] if table in self.names else now

    def refers(self, table: int) -> tuple[str, ...]:
        """Return the names of the tables that the table's foreign keys refer to."""
        return tuple(sorted({self.names[oid][0] for oid in self._keys.get(table, ()) if oid in self.names}))


class Source:
    """A table that is dropped or loses columns: `table` is its current name, `name` the one before the revision."""

    def __init__(self, session: Connection, table: str, before: Before) -> None:
        self.table = table
        [(self.oid,)] = session.execute(_OID, [table]).fetchall()
        self.name = before.name(self.oid, table)
        self.columns = read_columns(session, table)
        was = before.names[self.oid][1] if self.oid in before.names else {}
        self._called = {column.name: was.get(column.number, column.name) for column in self.columns.values()}

    def called(self, column: str) -> str:
        """Return the column's name before the revision."""
        return self._called.get(column, column)

    @property
    def renamed(self) -> dict[str, str]:
        """The renamed columns: from the current name to the one before."""
        return {name: was for name, was in self._called.items() if name != was}

    @property
    def is_light(self) -> bool:
        """Whether all types are ones that cannot be dropped, so that the table can be moved."""
        return all((column.plain or column.base) and not column.collated for column in self.columns.values())

    @property
    def types(self) -> dict[str, str]:
        """Types of columns whose values are stored as another type, by the column's name before the revision."""
        return {self.called(column.name): column.type for column in self.columns.values() if not column.plain}
