"""What one revision sends, taken down statement by statement, as far as it can be known without the server."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn

from psycopg.sql import Composable

from pulumi_alembic.database.literals import Unbindable, bound, numbered
from pulumi_alembic.sql.outside_transaction import BACKFILL, BATCHED, StatementError, alone, ends_transaction, recognise
from pulumi_alembic.sql.parser import Node, ParseError, children, parse

__all__ = ["Recorder", "Unknowable"]


class Unknowable(BaseException):
    """What a script does next depends on something that a preview cannot know.

    No Exception, or a script's own `except Exception` would take it for an error of its statement.
    """


class Recorder:
    """What one revision sends: `statements`, each with whether it is outside the transaction; or `reason` why not.

    The first reason stays, also where the script goes on after it. `caught` says for the line that runs whether the
    script would go on if its statement failed, and `place` names that line. It is `connected` once there is a
    connection, which is the only one, and `open` until the function has ended. `lines` are those of the statements.
    """

    def __init__(self, place: Callable[[], str], caught: Callable[[], str], line: Callable[[], int]) -> None:
        self.statements: list[tuple[str, bool]] = []
        self.lines: list[int] = []
        self.reason = ""
        self.connected = False
        self.open = True
        self._place = place
        self._caught = caught
        self._line = line
        self._outside = False
        self._written = False
        self._accepted: tuple[str, tuple[bool, ...]] = ("", ())
        self._in_block = 0

    def refuse(self, reason: str) -> NoReturn:
        """End the script, and keep why."""
        self.reason = self.reason or f"{self._place()}{reason}"
        raise Unknowable(self.reason)

    def send(self, query: Any, parameters: Any = None) -> None:
        """One statement as the driver gets it."""
        if isinstance(query, Composable):
            query = query.as_string(None)
        if not isinstance(query, str | bytes):
            self.refuse(f"sends a statement that is a {type(query).__name__}")
        text = query.decode() if isinstance(query, bytes) else query
        try:
            sql = bound(text, parameters)
            if parameters:
                self._refuse_parameters(*numbered(text, parameters))
        except Unbindable as error:
            self.refuse(f"has parameters that are no SQL: {error}")
        self._refuse_misplaced(sql)
        if reason := self._caught():
            self.refuse(reason)
        self._written = self._written or not (self._outside or _only_reads(sql))
        self.statements.append((sql, self._outside))
        self.lines.append(self._line())

    def batched(self, statement: str) -> None:
        """A batched update: a statement outside the transaction, which the update cuts in pieces."""
        with self.block():
            if reason := self._caught():
                self.refuse(reason)
            self.statements.append((f"{statement} {BATCHED}", True))
            self.lines.append(self._line())

    def backfill(self, statement: str) -> None:
        """A backfill: done later, outside of any transaction of the revision."""
        if reason := self._caught():
            self.refuse(reason)
        self.statements.append((f"{statement} {BACKFILL}", True))
        self.lines.append(self._line())

    def ensure(self, statement: str) -> None:
        """An assertion: the update goes on if it is true."""
        if reason := self._caught():
            self.refuse(reason)
        self.statements.append((statement, False))
        self.lines.append(self._line())

    @contextmanager
    def block(self) -> Iterator[None]:
        """What runs outside the transaction; where the update would refuse a block, the script ends."""
        if self._outside:
            self.refuse("opens a block within a block, which the update refuses")
        if self._written:
            self.refuse("opens a block behind statements of the transaction, which the update refuses")
        self._outside, self._in_block = True, 0
        try:
            yield
        finally:
            self._outside = False

    def _refuse_misplaced(self, sql: str) -> None:
        if self._outside:
            self._in_block += 1
            if self._in_block > 1:
                self.refuse("runs a second statement in an autocommit block, which the update refuses")
            try:
                alone(sql)
            except StatementError as error:
                self.refuse(f"is refused by the update: {error}")
            return
        statement = recognise(sql)
        if statement is not None and statement.kind.needs_block:
            self.refuse(f"runs {statement.kind} in the transaction, which the update refuses")
        if ends_transaction(sql):
            self.refuse("ends the revision's transaction, which the update refuses")
        if _copies(sql):
            self.refuse("sends or fetches rows with COPY, which is no statement of its own")

    def _refuse_parameters(self, sql: str, typed: Sequence[bool]) -> None:
        """PostgreSQL takes parameters in queries and changes of rows alone, and in one statement at a time."""
        key = (sql, tuple(typed))
        if not typed or key == self._accepted:
            return
        self._accepted = key
        parts = _parsed(sql)
        if len(parts) > 1:
            self.refuse("fails: PostgreSQL takes no parameters for several statements at once")
        if not parts or parts[0].tag not in _WITH_PARAMETERS:
            self.refuse("fails: PostgreSQL takes no parameters in such a statement; write the values into its text")
        parameters = _parameters(parts[0])
        if set(parameters) != set(range(1, len(typed) + 1)):
            self.refuse("fails: it has a parameter inside quotes or behind a type, where PostgreSQL takes none")
        if any(open and not typed[number - 1] for number, open in parameters.items()):
            self.refuse("has a parameter whose type only the server knows: write CAST(… AS …) around it")


_WITH_PARAMETERS = {
    "SelectStmt", "InsertStmt", "UpdateStmt", "DeleteStmt", "MergeStmt", "CreateTableAsStmt", "ExplainStmt",
    "DeclareCursorStmt",
}  # fmt: skip


def _parsed(sql: str) -> list[Node]:
    """The statements in a text as trees; none where PostgreSQL's parser does not understand it."""
    try:
        return parse(sql)
    except ParseError:
        return []


def _parameters(statement: Node) -> dict[int, bool]:
    """The numbers of the parameters in a statement, and whether what is around each leaves its type open.

    A function, which may be of any type, or a test for NULL does, where a literal would be a text. Those that only
    this parser takes are left out: it reads `INTERVAL $1` too, which the server does not.
    """
    parameters: dict[int, bool] = {}
    waiting: list[tuple[Any, Node]] = [(statement, statement)]
    while waiting:
        node, around = waiting.pop()
        if isinstance(node, list):
            waiting += [(item, around) for item in reversed(node)]
            continue
        if node.tag == "ParamRef":
            type_name = around.typeName if around.tag == "TypeCast" else None
            if type_name is None or type_name.location > node.location:
                parameters[node.number] = around.tag in {"FuncCall", "NamedArgExpr", "NullTest"}
        waiting += [(child, node) for child in reversed(children(node))]
    return parameters


def _copies(sql: str) -> bool:
    """Whether it is a COPY from or to the client."""
    nodes = _parsed(sql) if "copy" in sql.lower() else []
    return any(node.tag == "CopyStmt" and node.filename is None for node in nodes)


def _only_reads(sql: str) -> bool:
    return sql.lstrip(" \n\t(").upper().startswith(("SELECT", "SHOW", "SET", "RESET"))
