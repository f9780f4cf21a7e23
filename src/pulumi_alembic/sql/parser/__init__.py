"""PostgreSQL's own parser: SQL text to statements, trees, comments and keywords, and trees to SQL text.

Pure functions.

Other packages use the parser only through this one. Nodes are defined here, and positions count characters.
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
    """Return the statements of a text as trees.

    Args:
        sql: The text.
        shared: Allow trees of an earlier call, so that a statement is parsed once for all readers. A caller that
            changes nodes, or passes them to other people's code, needs its own trees.

    Raises:
        ParseError: PostgreSQL 18's grammar rejects the text, or it is nested too deeply.

    """
    return [*(_trees(sql) if shared else _trees.__wrapped__(sql))]


@lru_cache(maxsize=16)
def _trees(sql: str) -> tuple[Node, ...]:
    return tuple(trees(library.parse(sql), sql))


def split(sql: str) -> list[str]:
    """Return the texts of the statements in a text, without surrounding space.

    Raises:
        ParseError: PostgreSQL 18's grammar rejects the text.

    """
    return [sql[part] for part in _slices(sql, library.split(sql))]


def slices(sql: str) -> list[slice]:
    """Return the positions of the statements in a text, without surrounding space, using only the scanner.

    Therefore statements with wrong or unknown syntax are found too.

    Raises:
        ParseError: The scanner cannot read the text, for example an unterminated literal.

    """
    return _slices(sql, library.split(sql, scanner=True))


def comments(sql: str) -> list[str]:
    """Return the comments of a text, including their marks.

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
