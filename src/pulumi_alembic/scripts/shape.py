"""Check the order of the statements in a script by its source, without running it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pulumi_alembic.errors import HistoryError
from pulumi_alembic.scripts.revision import tree
from pulumi_alembic.sql.outside_transaction import StatementError, alone, recognise

__all__ = ["BatchedUpdate", "Function", "batched_updates", "refuse_misplaced"]

BATCHED = frozenset(["batched_delete", "batched_insert", "batched_update"])
_WALKS = BATCHED | {"backfill"}
# Methods of `op` and of a connection that run no statement.
SILENT = {
    "get_bind",
    "get_context",
    "f",
    "inline_literal",
    "implementation_for",
    "invoke",
    "register_operation",
    "run_async",
}
# A script without any of these words is always accepted, and is not parsed.
_MARKS = re.compile(r"autocommit_block|batched_|concurrently|vacuum", re.IGNORECASE)
SPLIT = "split it into two revisions"


@dataclass(frozen=True)
class Function:
    """A script's source, and the name of the function that runs."""

    path: Path
    source: str
    name: str


@dataclass(frozen=True)
class BatchedUpdate:
    """A call of a function that walks along a table's key. Arguments that are not literals are None."""

    function: str
    line: int
    table: str | None
    key: tuple[str, ...] | None
    keyed: bool
    """Whether the call passes a key, literal or not."""


@dataclass(frozen=True)
class _Ran:
    """A place where a statement runs: in a block outside a transaction, or in the revision's transaction."""

    line: int
    sql: str | None
    concurrent: bool
    block: ast.With | None
    batched: str = ""
    """The name of the function, such as batched_update, which opens a block itself."""

    @property
    def outside(self) -> bool:
        return bool(self.batched) or self.block is not None


def refuse_misplaced(function: Function) -> None:
    """Raise HistoryError, naming file and line, if a statement of the function is in the wrong place.

    A wrong place is a transaction for a statement that needs an autocommit block, or the other way round. So are a
    second statement in a block, and a block after a statement of the transaction, whose commit would leave the revision
    half applied. Everything else is checked when the script runs.
    """
    if not _MARKS.search(function.source):
        return
    module = _parse(function)
    body = _body(module, function.name)
    constants = _constants(module, body)
    ran = list(_statements(body, constants, None))
    for statement in ran:
        if problem := _problem(statement):
            raise HistoryError(f"{function.path}:{statement.line}: {problem}")
    for earlier, later in _clashes(body, ran):
        raise HistoryError(f"{function.path}:{later.line}: {_out_of_order(earlier, later)}")


def batched_updates(function: Function) -> list[BatchedUpdate]:
    """Return the calls in the function that walk along a table's key."""
    if not any(name in function.source for name in _WALKS):
        return []
    module = _parse(function)
    body = _body(module, function.name)
    constants = _constants(module, body)
    return [
        _batched(call, constants)
        for statement in body
        for call in ast.walk(statement)
        if isinstance(call, ast.Call) and _name(call) in _WALKS
    ]


def _parse(function: Function) -> ast.Module:
    try:
        return tree(function.source)
    except SyntaxError as error:
        raise HistoryError(f"{function.path}, line {error.lineno}: {error.msg}") from None
    except ValueError as error:
        raise HistoryError(f"{function.path} is not readable Python: {error}") from None


def _problem(statement: _Ran) -> str | None:
    if statement.batched and statement.block is not None:
        return f"{statement.batched} opens a block itself: take it out of this one"
    if statement.block is None:
        kind = recognise(statement.sql) if statement.sql else None
        if statement.concurrent or (kind and kind.kind.needs_block):
            subject = kind.kind if kind else "an index built or dropped concurrently"
            return (
                f"{subject} cannot run in a transaction. Put it in a block: with op.get_context().autocommit_block(): …"
            )
        return None
    try:
        _ = statement.sql and not statement.concurrent and alone(statement.sql)
    except StatementError as error:
        return str(error)
    return None


def _clashes(body: Sequence[ast.stmt], ran: Sequence[_Ran]) -> Iterator[tuple[_Ran, _Ran]]:
    """Yield pairs of statements of which the second is not allowed after the first."""
    for index, later in enumerate(ran):
        for earlier in ran[:index] if later.outside else ():
            same_block = earlier.block is not None and earlier.block is later.block
            writes = not earlier.outside and not _reads(earlier)
            if (same_block or writes) and not _exclusive(body, earlier.line, later.line):
                yield earlier, later


def _out_of_order(earlier: _Ran, later: _Ran) -> str:
    if earlier.block is not None:
        return f"the second statement of an autocommit block, after that of line {earlier.line}: give it its own block"
    return f"what line {earlier.line} does in a transaction would be committed here, with the rest undone: {SPLIT}"


def _exclusive(body: Iterable[ast.AST], first: int, second: int) -> bool:
    """Return whether at most one of the two lines can run: branches of one `if`, or the first one's branch returns."""
    for statement in body:
        for node in ast.walk(statement):
            if isinstance(node, ast.If) and first in _lines(node.body):
                leaves = isinstance(node.body[-1], ast.Return | ast.Raise) and second not in _lines(node.body)
                if leaves or second in _lines(node.orelse):
                    return True
    return False


def _lines(body: Sequence[ast.stmt]) -> range:
    return range(body[0].lineno, (body[-1].end_lineno or body[-1].lineno) + 1) if body else range(0)


def _reads(place: _Ran) -> bool:
    return place.sql is not None and place.sql.lstrip(" \n\t(").upper().startswith(("SELECT", "SHOW", "SET", "RESET"))


def _statements(body: Iterable[ast.AST], constants: dict[str, str], block: ast.With | None) -> Iterator[_Ran]:
    """Yield the places where statements run, in the order of the source, without called functions."""
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda):
            continue
        if isinstance(node, ast.With) and any(_name(item.context_expr) == "autocommit_block" for item in node.items):
            yield from _statements(node.body, constants, node)
            continue
        yield from _statements(ast.iter_child_nodes(node), constants, block)
        if isinstance(node, ast.Call) and (ran := _ran(node, constants, block)):
            yield ran


def _ran(call: ast.Call, constants: dict[str, str], block: ast.With | None) -> _Ran | None:
    name = _name(call)
    if name in BATCHED:
        return _Ran(call.lineno, None, concurrent=False, block=block, batched=name)
    of_op = (
        isinstance(call.func, ast.Attribute) and isinstance(call.func.value, ast.Name) and call.func.value.id == "op"
    )
    if name not in {"execute", "exec_driver_sql"} and (not of_op or name in SILENT):
        return None
    sql = _text(call.args[0], constants) if call.args and (not of_op or name == "execute") else None
    concurrent = any(
        keyword.arg == "postgresql_concurrently" and not _is_false(keyword.value) for keyword in call.keywords
    )
    return _Ran(call.lineno, sql, concurrent, block)


def _batched(call: ast.Call, constants: dict[str, str]) -> BatchedUpdate:
    keywords = {keyword.arg: keyword.value for keyword in call.keywords}
    table = keywords.get("source") or (call.args[0] if call.args else keywords.get("table"))
    key = keywords.get("key")
    try:
        literal = ast.literal_eval(key) if key is not None else None
    except ValueError:
        literal = None
    columns = (literal,) if isinstance(literal, str) else tuple(literal) if literal else None
    return BatchedUpdate(_name(call), call.lineno, _text(table, constants) if table else None, columns, key is not None)


def _body(tree: ast.Module, name: str) -> list[ast.stmt]:
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name == name:
            return node.body
    return []


def _constants(tree: ast.Module, body: Sequence[ast.stmt]) -> dict[str, str]:
    """Return the string constants of the module and the function by name."""
    return {
        target.id: node.value.value
        for node in (*tree.body, *body)
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        for target in node.targets
        if isinstance(target, ast.Name)
    }


def _text(node: ast.expr, constants: dict[str, str]) -> str | None:
    """Return the string value of the expression, also of `text(…)`. Inserted values of an f-string become a name."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else None
    if isinstance(node, ast.Name):
        return constants.get(node.id)
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else "inserted" for part in node.values)
    if isinstance(node, ast.Call) and _name(node) in {"text", "dedent"} and node.args:
        return _text(node.args[0], constants)
    return None


def _name(node: ast.expr) -> str:
    """Return the name of the called function or method. Empty if the node is not a call."""
    if not isinstance(node, ast.Call):
        return ""
    return node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")


def _is_false(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and not node.value
