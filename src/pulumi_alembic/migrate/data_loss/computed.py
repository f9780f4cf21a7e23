"""Record what a contract's downgrade computes from other values. Older preserved values do not replace it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pulumi_alembic.database.connection import read_catalog
from pulumi_alembic.sql.catalog import quoted
from pulumi_alembic.sql.effects import effects
from pulumi_alembic.sql.parser import ParseError, nodes, parse

if TYPE_CHECKING:
    from pulumi_alembic.database.connection import Connection
    from pulumi_alembic.sql.parser import Node

__all__ = ["Computed"]

_NUMBER = """
SELECT attrelid::bigint, attnum FROM pg_attribute
WHERE attrelid = to_regclass(%s) AND (attname = %s OR %s = '' AND attnum = 1)
"""


class Computed:
    """Columns and tables that a script's statements fill from other columns or tables.

    A constant only fills a column if it is written to every row, or to rows in which the column was NULL.

    Attributes:
        columns: computed in every row, as pairs of the table's oid and the column's number.
        some: computed in some rows, in the same form.
        tables: oids of tables that got rows from other tables.
        unknown: a statement's text did not show what it writes.

    """

    def __init__(self, session: Connection) -> None:
        self._session = session
        self.columns: set[tuple[int, int]] = set()
        self.some: set[tuple[int, int]] = set()
        self.tables: set[int] = set()
        self.unknown = False

    def writes(self, table: int, column: int | None = None) -> bool:
        """Return whether the script computes something in the table or can do so, or in the column if one is given."""
        if self.unknown or table in self.tables:
            return True
        return column is not None and (table, column) in self.columns | self.some

    def note(self, statement: str) -> None:
        """Note what a statement computes, after it has run."""
        try:
            trees = parse(statement, shared=True)
        except ParseError:
            self.unknown = True
            return
        self.unknown = self.unknown or bool(effects(statement, read_catalog(self._session)).unknown)
        for node in nodes(trees, "UpdateStmt", "InsertStmt", "MergeStmt"):
            if node.tag == "UpdateStmt":
                self._update(node)
            elif node.tag == "MergeStmt":
                self.unknown = True
            elif any(nodes(node.selectStmt, "RangeVar")):
                self.tables |= {table for table, _ in self._numbers(node)}

    def _update(self, node: Node) -> None:
        names = {target.name for target in node.targetList}
        read = {str(reference.fields[-1].sval) for reference in nodes(node.whereClause, "ColumnRef")}
        for target in node.targetList:
            if any(nodes(target.val, "ColumnRef", "SubLink")) or not read <= names:
                (self.some if node.whereClause else self.columns).update(self._numbers(node, target.name))

    def _numbers(self, node: Node, column: str = "") -> list[tuple[int, int]]:
        table = quoted(node.relation.schemaname or "", node.relation.relname)
        return self._session.execute(_NUMBER, [table, column, column]).fetchall()
