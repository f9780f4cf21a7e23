"""Revisions whose way back is an error: named before anything runs, and not when it is their turn. Pure."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator

from pulumi_alembic.errors import TargetError
from pulumi_alembic.plan import Direction
from pulumi_alembic.redact import redact
from pulumi_alembic.shape import Function

__all__ = ["refuse_irreversible"]


def refuse_irreversible(functions: Iterable[Function]) -> None:
    """Raise TargetError for each downgrade that ends in a `raise` whatever it finds, naming file and line.

    One that raises in some case only is for that case to show.
    """
    ways_back = [function for function in functions if function.name == Direction.DOWNGRADE]
    if refused := [
        f"{each.path}:{found.lineno}: {ast.unparse(found)}" for each in ways_back for found in _raised(each)
    ]:
        lines = "\n".join(f"  {redact(line)}" for line in refused)
        raise TargetError(
            f"the way back leads through revisions that cannot be taken back:\n{lines}\nNothing was run. Go no further "
            'back than to these, or change the schema by a new revision: alembic revision -m "…"'
        )


def _raised(function: Function) -> Iterator[ast.Raise]:
    if "raise" not in function.source:
        return
    for node in ast.parse(function.source).body:
        if isinstance(node, ast.FunctionDef) and node.name == function.name:
            yield from _always(node.body)


def _always(body: Iterable[ast.stmt]) -> Iterator[ast.Raise]:
    """The `raise` that every run comes to, unless something else ends it before with an error of its own."""
    for statement in body:
        if isinstance(statement, ast.Raise):
            yield statement
            return
        if any(isinstance(node, ast.Return) for node in ast.walk(statement)):
            return
