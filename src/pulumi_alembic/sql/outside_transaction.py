"""Statements that run outside a transaction: recognize their kind and their object without the parser.

Pure functions.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from pulumi_alembic.output.printable import printable

__all__ = [
    "BACKFILL",
    "BATCHED",
    "Kind",
    "Statement",
    "StatementError",
    "Token",
    "alone",
    "assigned",
    "backfilled",
    "ends_transaction",
    "lexed",
    "own_constants",
    "printable_sql",
    "recognise",
]


class Kind(StrEnum):
    """Kinds of statements for an autocommit block. The values are their names in messages and in the ledger."""

    CREATE_INDEX = "CREATE INDEX CONCURRENTLY"
    DROP_INDEX = "DROP INDEX CONCURRENTLY"
    REINDEX = "REINDEX CONCURRENTLY"
    DETACH = "DETACH PARTITION CONCURRENTLY"
    ADD_VALUE = "ALTER TYPE ADD VALUE"
    REFRESH = "REFRESH MATERIALIZED VIEW CONCURRENTLY"
    VACUUM = "VACUUM"
    ANALYZE = "ANALYZE"

    @property
    def needs_block(self) -> bool:
        """Whether PostgreSQL rejects it inside a transaction. The other kinds are only allowed outside."""
        return self not in {Kind.ADD_VALUE, Kind.REFRESH, Kind.ANALYZE}


@dataclass(frozen=True)
class Statement:
    """A statement of one of these kinds. Names are as written, with quotes and schema. Empty if the kind has none.

    Attributes:
        name: the index, type, view or partition. For REINDEX, the word and the name, such as `TABLE app.tasks`.
        table: the table of a new index, or the parent of a partition.
        label: the literal of an enum's new value.
        lenient: it has IF EXISTS or IF NOT EXISTS.
        definition: of a new index, what follows the table's name.

    """

    kind: Kind
    name: str = ""
    table: str = ""
    label: str = ""
    unique: bool = False
    lenient: bool = False
    definition: str = ""


class StatementError(ValueError):
    """A text that cannot be the statement of a block. The message says why and what to do."""


def alone(sql: str) -> Statement:
    """Return the only statement of `sql`, of a kind for an autocommit block.

    Raises StatementError for any other text.
    """
    tokens = _tokens(sql)
    ends = [index for index, token in enumerate(tokens) if token.text == ";"]
    if ends and ends[0] < len(tokens) - 1:
        raise StatementError("these are several statements: each needs a block of its own")
    statement = recognise(sql)
    if statement is None:
        raise StatementError(
            f"an autocommit block is for one of {', '.join(Kind)}; any other statement belongs in the revision's "
            "transaction, behind the block"
        )
    if statement.kind is Kind.CREATE_INDEX and not statement.name:
        raise StatementError("give the index a name, by which an interrupted build is found again")
    return statement


BATCHED, BACKFILL = "/* in batches */", "/* backfill */"
"""How the statement of a batched update, and of a backfill, ends where it is shown."""


def backfilled(statement: str) -> str:
    """Return the table of a statement that is shown as a backfill. Empty for any other statement."""
    head, _, _ = statement.partition(" SET ") if statement.endswith(BACKFILL) else ("", "", "")
    return head.removeprefix("UPDATE ")


def assigned(assignments: str) -> list[str]:
    """Return the columns that a SET clause assigns to, as written, including lists in parentheses."""
    columns, depth, target = [], 0, True
    for token in lexed(assignments):
        if token.text == "=" and (depth == 0 or target):
            target = False
        elif token.text == "," and depth == 0:
            target = True
        elif target and token.kind in {"word", "quoted"}:
            columns.append(token.text)
        depth += {"(": 1, ")": -1}.get(token.text, 0)
    return columns


def recognise(sql: str) -> Statement | None:
    """Return the first statement of `sql` if it is of one of these kinds, otherwise None."""
    first = next(lexed(sql), None) if _MARK.search(sql) else None
    if first is None or first.text.upper() not in _FIRST_WORDS:
        return None
    tokens = _tokens(sql)
    for read in (_create_index, _drop_index, _reindex, _add_value, _detach, _refresh, _vacuum):
        if statement := read(_Reader(sql, tokens)):
            return statement
    return None


def ends_transaction(sql: str) -> bool:
    """Return whether `sql` begins or ends a transaction. Statements about savepoints do not count.

    In a text with BEGIN ATOMIC only the first statement is checked.
    """
    if not _TRANSACTION_MARK.search(sql):
        return False
    statements: list[list[str]] = [[]]
    for token in lexed(sql):
        if token.text == ";":
            statements.append([])
        elif len(statements[-1]) < 3:
            statements[-1].append(token.text.upper())
    whole = statements[:1] if _ATOMIC.search(sql) else statements
    return any(words and words[0] in _TRANSACTION and "TO" not in words for words in whole)


def printable_sql(sql: str) -> str:
    """Return an equivalent statement that `printable` does not change.

    Unprintable characters in constants and names are escaped, which requires a server encoding that has them. The
    comments of such a statement are left out.
    """
    if printable(sql) == sql:
        return sql
    written, end = [], 0
    for token in lexed(sql):
        gap = " " if token.start > end else ""
        text = token.text if printable(token.text) == token.text else _escaped(token)
        written.append(gap + text)
        end = token.start + len(token.text)
    return "".join(written)


def own_constants(sql: str, source: str) -> str:
    """Return the statement with an ellipsis for each text and number that is not in its script's source.

    Such constants come from the database, and can be values of rows.
    """

    def replacement(match: re.Match[str]) -> str:
        text = match[0]
        if match["name"] or (match["text"] or text).replace("''", "'") in source:
            return text
        return "'…'" if match["text"] else "…"

    return _CONSTANT.sub(replacement, sql)


_CONSTANT = re.compile(
    r"""(?P<name>"(?:[^"]|"")*"|[^\W\d][\w$]*|\$\d+)
      | '(?P<text>(?:[^']|'')+)'
      | \d+(?:\.\d+)?""",
    re.VERBOSE,
)


def _escaped(token: Token) -> str:
    if token.kind == "quoted":
        return 'U&"' + "".join(_in_name(character) for character in token.text[1:-1]) + '"'
    if token.kind != "string":
        return printable(token.text)
    text = token.text
    if text[0] in "eE":
        return "E'" + "".join(map(_in_constant, text[2:-1])) + "'"
    if text[0] == "$":
        tag = text.index("$", 1) + 1
        text = "'" + text[tag:-tag].replace("'", "''") + "'"
    return "E'" + "".join(map(_in_constant, text[1:-1].replace("\\", r"\\"))) + "'"


def _in_constant(character: str) -> str:
    if character.isprintable() and character != "#":
        return character
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x80 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _in_name(character: str) -> str:
    if character == "\\":
        return r"\\"
    if character.isprintable() and character != "#":
        return character
    code = ord(character)
    return f"\\{code:04x}" if code < 0x10000 else f"\\+{code:06x}"


@dataclass(frozen=True)
class Token:
    """A token as written, and its position.

    Attributes:
        kind: string, quoted, word, or other for a single character.

    """

    text: str
    start: int
    kind: str


# PostgreSQL 15 manual, 4.1: a comment counts as white space. Block comments nest, which `_comment_end` counts.
_TOKEN = re.compile(
    r"""(?P<space>\s+|--[^\n]*)
      | (?P<comment>/\*)
      | (?P<string>[eE]'(?:[^'\\]|\\.|'')*'|'(?:[^']|'')*'|\$(?P<tag>(?:[^\W\d]\w*)?)\$.*?\$(?P=tag)\$)
      | (?P<quoted>"(?:[^"]|"")*")
      | (?P<word>[^\W\d][\w$]*)
      | (?P<other>.)""",
    re.VERBOSE | re.DOTALL,
)
_FIRST_WORDS = {"CREATE", "DROP", "REINDEX", "ALTER", "REFRESH", "VACUUM", "ANALYZE", "ANALYSE"}
_MARK = re.compile(r"concurrently|value|vacuum|analy[sz]e", re.IGNORECASE)
"""A word of each kind. A statement without any of them is none of these kinds, and is not lexed."""
_TRANSACTION = {"BEGIN", "START", "COMMIT", "END", "ROLLBACK", "ABORT"}
_TRANSACTION_MARK = re.compile("|".join(sorted(_TRANSACTION)), re.IGNORECASE)
_ATOMIC = re.compile(r"\batomic\b", re.IGNORECASE)
_COMMENT_MARK = re.compile(r"/\*|\*/")


def _tokens(sql: str) -> list[Token]:
    return list(lexed(sql))


def lexed(sql: str) -> Iterator[Token]:
    """Yield the tokens of a text, without comments. An unterminated constant begins with a quote of kind other."""
    position = 0
    while match := _TOKEN.match(sql, position):
        position = match.end()
        kind = match.lastgroup if match.lastgroup != "tag" else "string"
        if kind == "comment":
            position = _comment_end(sql, position)
        elif kind != "space":
            yield Token(match[0], match.start(), kind or "other")


def _comment_end(sql: str, position: int) -> int:
    depth = 1
    while depth and (mark := _COMMENT_MARK.search(sql, position)):
        depth += 1 if mark[0] == "/*" else -1
        position = mark.end()
    return position if depth == 0 else len(sql)


class _Reader:
    """Reads tokens from the left. A token that does not match is not consumed."""

    def __init__(self, sql: str, tokens: Sequence[Token]) -> None:
        self._sql = sql.rstrip().rstrip(";")
        self._tokens = tokens
        self._at = 0

    def take(self, words: str) -> bool:
        """Return whether the next tokens are these words, and consume them if so."""
        expected = words.split()
        next_words = [token.text.upper() for token in self._tokens[self._at : self._at + len(expected)]]
        if next_words != expected:
            return False
        self._at += len(expected)
        return True

    def name(self) -> str:
        """Read a name, qualified or not. Empty if the next token is not a name."""
        parts = []
        while token := self._next("word", "quoted"):
            parts.append(token.text)
            if not self.take("."):
                break
        return ".".join(parts)

    def literal(self) -> str:
        """Read a string literal, as written."""
        token = self._next("string")
        return token.text if token else ""

    def parenthesis(self) -> set[str]:
        """Read a parenthesis, and return its words in upper case."""
        words: set[str] = set()
        if self.take("("):
            while self._at < len(self._tokens) and not self.take(")"):
                words.add(self._tokens[self._at].text.upper())
                self._at += 1
        return words

    def rest(self) -> str:
        """Return the text after the consumed tokens."""
        return self._sql[self._tokens[self._at].start :].strip() if self._at < len(self._tokens) else ""

    def _next(self, *kinds: str) -> Token | None:
        if self._at < len(self._tokens) and self._tokens[self._at].kind in kinds:
            self._at += 1
            return self._tokens[self._at - 1]
        return None


def _create_index(read: _Reader) -> Statement | None:
    if not read.take("CREATE"):
        return None
    unique = read.take("UNIQUE")
    if not read.take("INDEX CONCURRENTLY"):
        return None
    lenient = read.take("IF NOT EXISTS")
    name = "" if read.take("ON") else read.name()
    _ = name and read.take("ON")
    read.take("ONLY")
    table = read.name()
    return Statement(Kind.CREATE_INDEX, name, table, unique=unique, lenient=lenient, definition=read.rest())


def _drop_index(read: _Reader) -> Statement | None:
    if not read.take("DROP INDEX CONCURRENTLY"):
        return None
    lenient = read.take("IF EXISTS")
    return Statement(Kind.DROP_INDEX, read.name(), lenient=lenient)


def _reindex(read: _Reader) -> Statement | None:
    if not read.take("REINDEX"):
        return None
    concurrently = "CONCURRENTLY" in read.parenthesis()
    for object_type in ("INDEX", "TABLE", "SCHEMA", "DATABASE"):
        if read.take(object_type):
            concurrently = read.take("CONCURRENTLY") or concurrently
            return Statement(Kind.REINDEX, f"{object_type} {read.name()}".strip()) if concurrently else None
    return None


def _add_value(read: _Reader) -> Statement | None:
    if not read.take("ALTER TYPE"):
        return None
    name = read.name()
    if not read.take("ADD VALUE"):
        return None
    lenient = read.take("IF NOT EXISTS")
    return Statement(Kind.ADD_VALUE, name, label=read.literal(), lenient=lenient)


def _detach(read: _Reader) -> Statement | None:
    if not read.take("ALTER TABLE"):
        return None
    read.take("IF EXISTS")
    read.take("ONLY")
    table = read.name()
    if not read.take("DETACH PARTITION"):
        return None
    name = read.name()
    return Statement(Kind.DETACH, name, table) if read.take("CONCURRENTLY") else None


def _refresh(read: _Reader) -> Statement | None:
    return Statement(Kind.REFRESH, read.name()) if read.take("REFRESH MATERIALIZED VIEW CONCURRENTLY") else None


def _vacuum(read: _Reader) -> Statement | None:
    for kind, words in ((Kind.VACUUM, "VACUUM"), (Kind.ANALYZE, "ANALYZE"), (Kind.ANALYZE, "ANALYSE")):
        if read.take(words):
            return Statement(kind)
    return None
