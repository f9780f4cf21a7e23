"""Render the SQL of each revision of a plan without a database, or give the reason why it cannot be known."""

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
    """What one revision sends to the server, without Alembic's version table and the ledger.

    Run by psql on a database at the same revision, the statements have the same result as the revision.

    Attributes:
        statements: The texts as the server receives them, each with whether it runs outside of the transaction.
        runs_python: Why the statements cannot be known. Then there are none.
        lines: The lines of the script that send them. 0 if no line does.

    """

    statements: tuple[tuple[str, bool], ...] = ()
    runs_python: str = ""
    lines: tuple[int, ...] = field(default=(), compare=False)


def render(
    steps: Plan, history: History, learn: Callable[[Models], None] = lambda models: None
) -> tuple[Rendered, ...]:
    """Render each step of a plan, in order. No database is needed.

    Args:
        steps: The plan.
        history: The scripts.
        learn: Receives the models of env.py.

    Raises:
        HistoryError: The project's env.py cannot be run. An error of a script is the reason of its step instead.

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
