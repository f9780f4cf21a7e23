"""The SQL that each revision of a plan would send, found without a database; or why that cannot be found."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pulumi_alembic.errors import HistoryError
from pulumi_alembic.scripts.history import History
from pulumi_alembic.scripts.plan import Plan

if TYPE_CHECKING:
    import sqlalchemy as sa

    from pulumi_alembic.sql.catalog import Models

__all__ = ["Rendered", "render"]


@dataclass(frozen=True)
class Rendered:
    """What one revision sends to the server, in order: a text as the server gets it, and whether it is outside.

    Outside is what runs in an autocommit block; all the rest is one transaction. Run by psql on a database at the same
    revision, the texts lead to the catalog and the rows that the revision itself leads to. Where `runs_python` says why
    that cannot be promised, there are none. Alembic's version table and the ledger are not among them. `lines` of the
    script send them, 0 where none does.
    """

    statements: tuple[tuple[str, bool], ...] = ()
    runs_python: str = ""
    lines: tuple[int, ...] = field(default=(), compare=False)


def render(
    steps: Plan, history: History, learn: Callable[[Models], None] = lambda models: None
) -> tuple[Rendered, ...]:
    """One for each step, in order; `learn` gets the models of env.py. No database is asked, and none is needed.

    Raises HistoryError where the project's env.py cannot be run. What a script raises is the reason of its step.
    """
    if not steps.steps:
        return ()
    from pulumi_alembic.migrate.alembic_run import enter
    from pulumi_alembic.review.rendering.dry_run import DryRun
    from pulumi_alembic.review.rendering.models import models_of

    entered = False
    rendered: list[Rendered] = []

    def within(metadata: sa.MetaData) -> None:
        nonlocal entered
        entered = True
        learn(models_of(metadata))
        with closing(DryRun(metadata)) as dry:
            rendered.extend(Rendered(*dry.run(step, steps.direction)) for step in steps.steps)

    enter(history, within)
    if not entered:
        env = history.manifest.path.parent / "env.py"
        raise HistoryError(f"{env} does not call pulumi_alembic.environment.run, so that nothing can be previewed")
    return tuple(rendered)
