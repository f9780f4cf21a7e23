"""Whether the functions of a plan can run: as far as their text and the database show before the first one runs."""

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
"""The exception that lint wants of such a script, with its reason."""


def refuse_irreversible(functions: Iterable[Function], *, rehearsed: bool = False) -> None:
    """Raise TargetError for each downgrade that takes nothing back, naming file and line.

    That is one that ends in a `raise` whatever it finds; one that raises in some case only is for that case to show.
    And one that does nothing, where its upgrade does something, unless the script says that this is meant: where it is
    only `rehearsed`, what it leaves is told by the rehearsal.
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
    """Whether there is more than `pass`, `…`, an empty `return` and a docstring."""
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
    """The `raise` that every run comes to, unless something else ends it before with an error of its own."""
    for statement in body:
        if isinstance(statement, ast.Raise):
            yield statement
            return
        if any(isinstance(node, ast.Return) for node in ast.walk(statement)):
            return


def refuse_unfit(functions: Sequence[Function], url: str | None, *, rehearsed: bool = False) -> None:
    """Raise HistoryError, naming file and line, for a statement in the wrong place or a batched update without a key.

    And TargetError for a downgrade that takes nothing back, as `refuse_irreversible` does.
    The downgrade of what is to be upgraded is looked at too: once it is applied, the script cannot be changed. `url` is
    None if there is no database yet. It is asked only if there is a batched update.
    """
    refuse_irreversible(functions, rehearsed=rehearsed)
    for function in functions:
        refuse_misplaced(function)
        refuse_misplaced(replace(function, name="downgrade"))
    if url is not None and any(batched_updates(function) for function in functions):
        from pulumi_alembic.migrate.blocks.keys import refuse_keyless

        with connect(url) as connection:
            refuse_keyless(connection, functions, login_search_path(url))
