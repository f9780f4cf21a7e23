"""Checks of a plan's upgrade and downgrade functions, from their source and the database, before any of them runs."""

from __future__ import annotations

import ast
import re
import tokenize
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from io import StringIO

from pulumi_alembic.database.connection import connect, login_search_path
from pulumi_alembic.errors import TargetError
from pulumi_alembic.output.redact import redact
from pulumi_alembic.scripts.plan import Direction
from pulumi_alembic.scripts.revision import tree
from pulumi_alembic.scripts.shape import Function, batched_updates, refuse_misplaced

__all__ = ["refuse_irreversible", "refuse_unfit"]

_MEANT = re.compile(r"#\s*lint\s*:\s*allow\s+irreversible-downgrade\s*:\s*\S", re.IGNORECASE)
"""The comment that allows an empty downgrade, with its reason. Lint wants the same one."""


def refuse_irreversible(functions: Iterable[Function], *, rehearsed: bool = False) -> None:
    """Raise TargetError if a downgrade reverts nothing. The message names the file and the line of each.

    Such a downgrade ends in an unconditional `raise`. Or it does nothing although its upgrade does something, and no
    comment allows that. A conditional `raise` is not an obstacle.

    Args:
        functions: the functions of the plan. Upgrades are ignored.
        rehearsed: do not look for empty downgrades, because the rehearsal reports what they leave.

    Raises:
        TargetError: nothing was run.

    """
    downgrades = [function for function in functions if function.name == Direction.DOWNGRADE]
    if refused := [
        f"{script.path}:{line}: {why}" for script in downgrades for line, why in _problems(script, rehearsed)
    ]:
        lines = "\n".join(f"  {redact(line)}" for line in refused)
        raise TargetError(
            f"these revisions cannot be downgraded:\n{lines}\nNothing was run. Choose a revision that is not older "
            'than these, or change the schema with a new revision: alembic revision -m "…"'
        )


def _problems(function: Function, rehearsed: bool) -> Iterator[tuple[int, str]]:
    functions = {node.name: node for node in tree(function.source).body if isinstance(node, ast.FunctionDef)}
    if (way_back := functions.get("downgrade")) is None:
        return
    for reached in _always(way_back.body):
        yield reached.lineno, ast.unparse(reached)
    way_there = None if rehearsed else functions.get("upgrade")
    if way_there and _acts(way_there.body) and not _acts(way_back.body) and not _says_so(function.source):
        yield (
            way_back.lineno,
            "downgrade() does nothing, and upgrade() does something: its changes would stay",
        )


def _acts(body: Iterable[ast.stmt]) -> bool:
    """Return whether the body contains more than `pass`, `…`, an empty `return` and a docstring."""
    idle = (ast.Pass, ast.Return, ast.Expr)
    return any(
        not isinstance(node, idle) or not isinstance(getattr(node, "value", None) or ast.Constant(None), ast.Constant)
        for node in body
    )


def _says_so(source: str) -> bool:
    comments = (
        token for token in tokenize.generate_tokens(StringIO(source).readline) if token.type == tokenize.COMMENT
    )
    return any(_MEANT.match(comment.string) for comment in comments)


def _always(body: Iterable[ast.stmt]) -> Iterator[ast.Raise]:
    """Yield the `raise` that every call reaches, unless an earlier statement fails."""
    for statement in body:
        if isinstance(statement, ast.Raise):
            yield statement
            return
        if any(isinstance(node, ast.Return) for node in ast.walk(statement)):
            return


def refuse_unfit(functions: Sequence[Function], url: str | None, *, rehearsed: bool = False) -> None:
    """Raise if a function of the plan cannot run. Nothing was run.

    The downgrade of an upgrade is checked too, because an applied script cannot be changed any more.

    Args:
        functions: the functions of the plan.
        url: the database, or None if it does not exist yet. It is connected to only for a batched update.
        rehearsed: as for `refuse_irreversible`.

    Raises:
        HistoryError: a statement is in the wrong place, or a batched update has no key. The message names file and
            line.
        TargetError: a downgrade reverts nothing, as in `refuse_irreversible`.

    """
    refuse_irreversible(functions, rehearsed=rehearsed)
    for function in functions:
        refuse_misplaced(function)
        refuse_misplaced(replace(function, name="downgrade"))
    if url is not None and any(batched_updates(function) for function in functions):
        from pulumi_alembic.migrate.blocks.keys import refuse_keyless

        with connect(url) as connection:
            refuse_keyless(connection, functions, login_search_path(url))
