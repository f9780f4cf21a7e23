"""Which statements only drop tables, so that an empty table in each one's place is all that they need."""

from __future__ import annotations

__all__ = ["drops_tables"]


def drops_tables(statement: str) -> bool:
    """Whether the text is one DROP TABLE, and nothing else."""
    from pglast import ast, enums, parse_sql
    from pglast.parser import ParseError

    try:
        found = [each.stmt for each in parse_sql(statement)]
    except ParseError:
        return False
    [only] = found if len(found) == 1 else [None]
    return isinstance(only, ast.DropStmt) and only.removeType == enums.ObjectType.OBJECT_TABLE
