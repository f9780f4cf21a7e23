"""PostgreSQL's own parser: SQL text as statements, trees, comments and keywords, and trees as SQL text. Pure.

The only door to a parser. Its answers are nodes of ours, and its positions count characters.
"""

from __future__ import annotations

from functools import lru_cache

from pulumi_alembic.sql.parser import library
from pulumi_alembic.sql.parser.library import ParseError
from pulumi_alembic.sql.parser.printing import identifier, printed
from pulumi_alembic.sql.parser.tree import Node, children, edited, nodes, positions, trees

__all__ = [
    "Node",
    "ParseError",
    "children",
    "comments",
    "edited",
    "identifier",
    "nodes",
    "parse",
    "printed",
    "slices",
    "split",
]

_COMMENTS = frozenset({275, 276})
"""SQL_COMMENT and C_COMMENT of libpg_query's Token."""

_SPACE = " \t\n\r\f\v"


def parse(sql: str, *, shared: bool = False) -> list[Node]:
    """The statements of a text as trees.

    Args:
        sql: The text.
        shared: Whether the trees can be those of an earlier call: a statement is then parsed once for all that only
            look at it. Whoever changes a node, or gives it to code of somebody else's, needs trees of its own.

    Raises:
        ParseError: PostgreSQL 18's grammar refuses the text, or it is nested too deeply.

    """
    return [*(_trees(sql) if shared else _trees.__wrapped__(sql))]


@lru_cache(maxsize=16)
def _trees(sql: str) -> tuple[Node, ...]:
    return tuple(trees(library.parse(sql), sql))


def split(sql: str) -> list[str]:
    """The texts of the statements in a text that PostgreSQL 18's grammar accepts, without space around them.

    Raises:
        ParseError: The grammar refuses the text.

    """
    return [sql[part] for part in _slices(sql, library.split(sql))]


def slices(sql: str) -> list[slice]:
    """Where the statements of a text are, without space around them, by the scanner alone.

    So they can be wrong, or unknown to PostgreSQL 18.

    Raises:
        ParseError: The scanner cannot read the text, as it ends within a literal.

    """
    return _slices(sql, library.split(sql, scanner=True))


def comments(sql: str) -> list[str]:
    """The comments of a text, with their marks.

    Raises:
        ParseError: The scanner cannot read the text.

    """
    at = positions(sql)
    return [sql[at(token.start) : at(token.end)] for token in library.scan(sql) if token.number in _COMMENTS]


def _slices(sql: str, places: list[tuple[int, int]]) -> list[slice]:
    at = positions(sql)
    parts = []
    for start, length in places:
        first, last = at(start), at(start + length)
        statement = sql[first:last]
        first += len(statement) - len(statement.lstrip(_SPACE))
        parts.append(slice(first, first + len(statement.strip(_SPACE))))
    return parts
