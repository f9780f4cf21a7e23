"""Where kept rows go back to: the table that the upgrade made, and how a kept value is one of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pulumi_alembic.keeping.columns import Column, read_columns

if TYPE_CHECKING:
    from pulumi_alembic.database import Connection
    from pulumi_alembic.keeping.entry import Entry

__all__ = ["WHY", "Target"]

WHY = "why it stays"
"""The column that a kept table gets where not all of it went back."""

_KIND = "SELECT relkind IN ('r', 'p') FROM pg_class WHERE oid = to_regclass(%s)"
_LOUD = """
WITH RECURSIVE tree AS (
    SELECT to_regclass(%s)::oid AS oid UNION ALL SELECT inhrelid FROM pg_inherits JOIN tree ON inhparent = tree.oid
)
SELECT format('ALTER TABLE ONLY %%s DISABLE TRIGGER %%I', tgrelid::regclass, tgname),
    format('ALTER TABLE ONLY %%s ENABLE %%s TRIGGER %%I', tgrelid::regclass,
        CASE tgenabled WHEN 'A' THEN 'ALWAYS' WHEN 'R' THEN 'REPLICA' ELSE '' END, tgname)
FROM tree JOIN pg_trigger ON tgrelid = tree.oid WHERE NOT tgisinternal AND tgenabled <> 'D'
UNION ALL SELECT format('ALTER TABLE ONLY %%s NO FORCE ROW LEVEL SECURITY', c.oid::regclass),
    format('ALTER TABLE ONLY %%s FORCE ROW LEVEL SECURITY', c.oid::regclass)
FROM tree JOIN pg_class c ON c.oid = tree.oid WHERE relforcerowsecurity
"""


class Target:
    """The table that an entry goes back `into`, its columns, and those of the kept table by the same names."""

    def __init__(self, session: Connection, entry: Entry) -> None:
        self._session = session
        self._entry = entry
        self.there = session.execute(_KIND, [entry.into]).fetchone() == (True,)
        self.columns = read_columns(session, entry.into)
        self.kept = {name: each for name, each in read_columns(session, entry.place).items() if name != WHY}

    def is_same(self, name: str) -> bool:
        """Whether every value of the kept column is one of the table's, as it is."""
        kept, column = self.kept[name], self.columns[name]
        if self._entry.types.get(name):
            return self._entry.types[name] == column.type
        return kept.full == column.full

    def value(self, name: str, *, exactly: bool = False) -> str:
        """The kept value as one of the table's column, `k` being the kept table; the server's error where it is none.

        `exactly` also by its length and digits, for which it may be cut.
        """
        kept, column = self.kept[name], self.columns[name]
        if kept.full == column.full:
            return f"k.{kept.sql}"
        if self.is_same(name):
            return f"k.{kept.sql}::{column.full}"
        return f"k.{kept.sql}::text::{column.full if exactly else column.bare}"

    def is_cut(self, name: str) -> str:
        """The condition that the column cannot hold the kept value whole."""
        kept = self.kept[name]
        return f"({self.value(name, exactly=True)})::text::{kept.full}::text IS DISTINCT FROM k.{kept.sql}::text"

    def column(self, name: str) -> Column:
        """The table's column."""
        return self.columns[name]

    @contextmanager
    def quiet(self) -> Iterator[None]:
        """Within the block no trigger of the table's acts, and no policy hides its rows."""
        found = self._session.execute(_LOUD, [self._entry.into]).fetchall()
        for off, _ in found:
            self._session.execute(off.encode())
        yield
        for _, on in found:
            self._session.execute(on.encode())
