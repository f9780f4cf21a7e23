"""Revisions whose way back is an error: named before anything runs, and not when it is their turn. Pure."""

from __future__ import annotations

import ast
import re
import tokenize
from collections.abc import Iterable, Iterator
from io import StringIO

from pulumi_alembic.errors import TargetError
from pulumi_alembic.plan import Direction
from pulumi_alembic.redact import redact
from pulumi_alembic.scripts.shape import Function

__all__ = ["refuse_irreversible"]


_MEANT = re.compile(r"#\s*lint\s*:\s*allow\s+irreversible-downgrade\s*:\s*\S", re.IGNORECASE)
"""The excuse that lint wants of such a script, with its reason."""


def refuse_irreversible(functions: Iterable[Function], *, rehearsed: bool = False) -> None:
    """Raise TargetError for each downgrade that takes nothing back, naming file and line.

    That is one that ends in a `raise` whatever it finds; one that raises in some case only is for that case to show.
    And one that does nothing, where its upgrade does something, unless the script says that this is meant: where it is
    only `rehearsed`, what it leaves is told by the rehearsal.
    """
    ways_back = [function for function in functions if function.name == Direction.DOWNGRADE]
    if refused := [f"{each.path}:{line}: {why}" for each in ways_back for line, why in _problems(each, rehearsed)]:
        lines = "\n".join(f"  {redact(line)}" for line in refused)
        raise TargetError(
            f"the way back leads through revisions that cannot be taken back:\n{lines}\nNothing was run. Go no further "
            'back than to these, or change the schema by a new revision: alembic revision -m "…"'
        )


def _problems(function: Function, rehearsed: bool) -> Iterator[tuple[int, str]]:
    functions = {each.name: each for each in ast.parse(function.source).body if isinstance(each, ast.FunctionDef)}
    if (way_back := functions.get("downgrade")) is None:
        return
    for found in _always(way_back.body):
        yield found.lineno, ast.unparse(found)
    way_there = None if rehearsed else functions.get("upgrade")
    if way_there and _acts(way_there.body) and not _acts(way_back.body) and not _says_so(function.source):
        yield (
            way_back.lineno,
            "downgrade() does nothing, and upgrade() does something: it would count as taken back, and be there still",
        )


def _acts(body: Iterable[ast.stmt]) -> bool:
    """Whether there is more than `pass`, `…`, an empty `return` and a docstring."""
    idle = (ast.Pass, ast.Return, ast.Expr)
    return any(
        not isinstance(each, idle) or not isinstance(getattr(each, "value", None) or ast.Constant(None), ast.Constant)
        for each in body
    )


def _says_so(source: str) -> bool:
    comments = (each for each in tokenize.generate_tokens(StringIO(source).readline) if each.type == tokenize.COMMENT)
    return any(_MEANT.match(each.string) for each in comments)


def _always(body: Iterable[ast.stmt]) -> Iterator[ast.Raise]:
    """The `raise` that every run comes to, unless something else ends it before with an error of its own."""
    for statement in body:
        if isinstance(statement, ast.Raise):
            yield statement
            return
        if any(isinstance(node, ast.Return) for node in ast.walk(statement)):
            return
