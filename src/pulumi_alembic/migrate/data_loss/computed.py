"""What a contract's downgrade computes from other values: newer than what is preserved, which does not replace it."""

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
    """What the statements of a script write that depends on other columns or tables, as it is noted after each.

    A constant in every row, or in those in which the column was NULL, only fills the column. `columns` are those that
    are computed in every row, and `some` those that are computed in some, as pairs of the table's and the column's
    number; `tables` got rows from other tables. It is `unknown` what a text that does not show it writes.
    """

    def __init__(self, session: Connection) -> None:
        self._session = session
        self.columns: set[tuple[int, int]] = set()
        self.some: set[tuple[int, int]] = set()
        self.tables: set[int] = set()
        self.unknown = False

    def writes(self, table: int, column: int | None = None) -> bool:
        """Whether the script computes something in the table or, if one is named, in its column, or can do so."""
        if self.unknown or table in self.tables:
            return True
        return column is not None and (table, column) in self.columns | self.some

    def note(self, statement: str) -> None:
        """The statement has run."""
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
