"""Record the statements that one revision sends, as far as they can be known without a server."""

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
    """A script depends on something that a preview cannot know.

    It is no Exception, because a script's own `except Exception` would otherwise catch it.
    """


class Recorder:
    """Records what one revision sends.

    Attributes:
        statements: The statements, each with whether it runs outside of the transaction.
        lines: The lines of the script that send them.
        reason: The first reason why the statements cannot be known. Empty if they are known.
        connected: Whether the only connection was opened.
        open: Whether the revision's function still runs.

    """

    def __init__(self, place: Callable[[], str], caught: Callable[[], str], line: Callable[[], int]) -> None:
        """Begin to record.

        Args:
            place: Returns the running line of the script as text, for reasons.
            caught: Returns why the script would continue if its current statement failed. Empty if it would not.
            line: Returns the running line.

        """
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
        """End the script, and record the reason."""
        self.reason = self.reason or f"{self._place()}{reason}"
        raise Unknowable(self.reason)

    def send(self, query: Any, parameters: Any = None) -> None:
        """Record a statement as the driver receives it."""
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
        """Record a batched update as one statement outside of the transaction. The update divides it."""
        with self.block():
            if reason := self._caught():
                self.refuse(reason)
            self.statements.append((f"{statement} {BATCHED}", True))
            self.lines.append(self._line())

    def backfill(self, statement: str) -> None:
        """Record a backfill, which runs later and outside of the revision's transaction."""
        if reason := self._caught():
            self.refuse(reason)
        self.statements.append((f"{statement} {BACKFILL}", True))
        self.lines.append(self._line())

    def ensure(self, statement: str) -> None:
        """Record an assertion. The script continues as if it were true."""
        if reason := self._caught():
            self.refuse(reason)
        self.statements.append((statement, False))
        self.lines.append(self._line())

    @contextmanager
    def block(self) -> Iterator[None]:
        """Record statements outside of the transaction. End the script if the update would reject the block."""
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
        """Reject parameters that PostgreSQL does not accept: outside of queries and changes of rows, or in several."""
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
    """Return the statements of a text as trees. Empty if PostgreSQL's parser rejects the text."""
    try:
        return parse(sql)
    except ParseError:
        return []


def _parameters(statement: Node) -> dict[int, bool]:
    """Return the numbers of a statement's parameters, and whether the context of each leaves its type open.

    The type is open in the call of a function, which can have any type, or in a test for NULL. A literal there would be
    a text. Parameters that only this parser accepts are left out: it accepts `INTERVAL $1`, but the server does not.
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
    """Return whether the text is a COPY from or to the client."""
    nodes = _parsed(sql) if "copy" in sql.lower() else []
    return any(node.tag == "CopyStmt" and node.filename is None for node in nodes)


def _only_reads(sql: str) -> bool:
    return sql.lstrip(" \n\t(").upper().startswith(("SELECT", "SHOW", "SET", "RESET"))
