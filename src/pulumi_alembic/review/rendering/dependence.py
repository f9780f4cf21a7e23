"""What a script depends on, from its source text only. Pure."""

from __future__ import annotations

import ast
import re
from functools import lru_cache

from pulumi_alembic.scripts.revision import tree

__all__ = ["catches", "fickle", "needs_watch"]

_DETERMINISTIC = {
    "__future__", "alembic", "collections", "contextlib", "dataclasses", "decimal", "enum", "functools", "itertools",
    "json", "math", "operator", "pulumi_alembic", "re", "sqlalchemy", "string", "textwrap", "typing",
}  # fmt: skip
_REACHES_OUT = {
    "__builtins__", "__import__", "breakpoint", "command", "compile", "create_async_engine", "create_engine",
    "create_mock_engine", "engine_from_config", "eval", "exec", "globals", "input", "open", "util", "vars",
}  # fmt: skip


_FICKLE = re.compile(r"\{|\bsys\b|\b(?:set|frozenset|id|hash)\(")
_CATCHES = re.compile(r"\b(?:try|with)\b")


@lru_cache(maxsize=4)
def _nodes(source: str) -> tuple[ast.AST, ...]:
    """Return all nodes of the tree, the root first."""
    return tuple(ast.walk(tree(source)))


def needs_watch(source: str) -> bool:
    """Return whether a script can reach more than Alembic, SQLAlchemy and deterministic modules."""
    if _is_plain(source):
        return False
    for node in _nodes(source):
        if isinstance(node, ast.Import) and {name.name.split(".")[0] for name in node.names} - _DETERMINISTIC:
            return True
        if isinstance(node, ast.ImportFrom):
            names = {name.name for name in node.names}
            if (node.module or "").split(".")[0] not in _DETERMINISTIC or node.level or names & _REACHES_OUT:
                return True
        if isinstance(node, ast.Name | ast.Attribute) and _last_name(node) in _REACHES_OUT:
            return True
    return False


_WORD = re.compile(r"\w+")
_PLAIN_IMPORT = re.compile(
    r"^[ \t]*(?:from[ \t]+(\w+)(?:\.\w+)*[ \t]+import\b|import[ \t]+(\w+)(?:\.\w+)*(?:[ \t]+as[ \t]+\w+)?[ \t\r]*$)",
    re.MULTILINE,
)


def _is_plain(source: str) -> bool:
    """Return whether the words of the source show that it needs no watch. Most scripts pass, and need no tree.

    Each `import` must begin a statement of one line, and no word can reach outside. Other letters than ASCII can spell
    the same name in another form, and a backslash can join lines.
    """
    if not source.isascii() or "\\\n" in source or "\\\r" in source:
        return False
    words = _WORD.findall(source)
    imported = [first or second for first, second in _PLAIN_IMPORT.findall(source)]
    return (
        len(imported) == words.count("import")
        and _DETERMINISTIC.issuperset(imported)
        and _REACHES_OUT.isdisjoint(words)
    )


def fickle(source: str, function: str) -> str:
    """Return why the module, or this function, computes something else in another process. Empty if it does not."""
    if not _FICKLE.search(source):
        return ""
    others = {"upgrade", "downgrade"} - {function}
    module = _nodes(source)[0]
    others_lines = [
        range(node.lineno, (node.end_lineno or 0) + 1)
        for node in ast.iter_child_nodes(module)
        if isinstance(node, ast.FunctionDef) and node.name in others
    ]
    ordered = {id(child) for node in _nodes(source) for child in _where_order_is_nothing(node)}
    for node in _nodes(source):
        if any(getattr(node, "lineno", 0) in lines for lines in others_lines):
            continue
        name = _last_name(node.func) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) else ""
        is_set = isinstance(node, ast.Set | ast.SetComp) or name in {"set", "frozenset"}
        if is_set and id(node) not in ordered:
            return f"line {node.lineno}: depends on the order of a set"  # type: ignore[attr-defined]
        if name in {"id", "hash"}:
            return f"line {node.lineno}: depends on {name}()"  # type: ignore[attr-defined]
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "sys":
            return f"line {node.lineno}: reads sys.{node.attr}"
        if isinstance(node, ast.ImportFrom) and node.module == "sys":
            return f"line {node.lineno}: reads sys"
    return ""


def _where_order_is_nothing(node: ast.AST) -> list[ast.expr]:
    if isinstance(node, ast.Compare):
        return [
            operand
            for operand, op in zip(node.comparators, node.ops, strict=True)
            if isinstance(op, ast.In | ast.NotIn)
        ]
    if isinstance(node, ast.Call) and _last_name(node.func) in {"sorted", "len", "min", "max", "any", "all"}:
        return node.args
    return []


_KNOWN_BLOCKS = {
    "autocommit_block", "batch_alter_table", "begin", "begin_nested", "begin_transaction", "cursor", "no_autoflush",
    "nullcontext", "redirect_stdout", "Session",
}  # fmt: skip


@lru_cache(maxsize=16)
def catches(source: str) -> tuple[tuple[range, str], ...]:
    """Return the lines where the error of a statement does not always end the script, each with the reason."""
    ranges = []
    for node in _nodes(source) if _CATCHES.search(source) else ():
        if isinstance(node, ast.Try | ast.TryStar):
            if not all(map(_raises, node.handlers)) or any(map(_leaves, node.finalbody)):
                ranges.append((_lines(node.body), "goes on where its statement fails: it catches the error"))
        elif isinstance(node, ast.With):
            for name in {_last_name(getattr(item.context_expr, "func", item.context_expr)) for item in node.items}:
                if name not in _KNOWN_BLOCKS:
                    ranges.append((_lines(node.body), f"may go on where its statement fails, behind `with {name}`"))
    return tuple(ranges)


def _raises(handler: ast.ExceptHandler) -> bool:
    return isinstance(handler.body[-1], ast.Raise) and not any(map(_leaves, handler.body))


def _leaves(statement: ast.stmt) -> bool:
    return any(isinstance(node, ast.Return | ast.Break | ast.Continue) for node in ast.walk(statement))


def _lines(body: list[ast.stmt]) -> range:
    return range(body[0].lineno, (body[-1].end_lineno or body[-1].lineno) + 1)


def _last_name(node: ast.AST) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
