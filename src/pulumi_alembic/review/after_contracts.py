"""Compare the models with the schema as it is after contracts that have not run yet, for `alembic check`."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

from pulumi_alembic.database.connection import connect, login_search_path, read_catalog_document, read_heads
from pulumi_alembic.review.lint.models import differences
from pulumi_alembic.scripts.history import HEAD
from pulumi_alembic.scripts.plan import Direction, plan
from pulumi_alembic.scripts.revision import CONTRACT
from pulumi_alembic.sql.catalog import Catalog
from pulumi_alembic.sql.effects import after

if TYPE_CHECKING:
    import sqlalchemy as sa

    from pulumi_alembic.scripts.history import History

__all__ = ["compare"]


def compare(metadata: sa.MetaData, url: str, history: History) -> tuple[list[str], list[str]]:
    """Return the contracts that wait, and the differences of the models from the schema after these.

    Call it within env.py. Nothing is run. Both are empty if something else than contracts is pending, or if their
    statements are not known.

    Args:
        metadata: the program's tables.
        url: the database.
        history: the scripts.

    """
    from pulumi_alembic.review.rendering.dry_run import DryRun
    from pulumi_alembic.review.rendering.models import models_of

    with connect(url) as connection:
        pending = plan(history, read_heads(connection), history.resolve(HEAD))
        if not pending.steps or any(step.phase != CONTRACT for step in pending.steps):
            return [], []
        catalog: Catalog | None = Catalog.of(read_catalog_document(connection, login_search_path(url)))
    with closing(DryRun(metadata)) as dry:
        for step in pending.steps:
            statements, why_not, _ = dry.run(step, Direction.UPGRADE)
            if why_not:
                return [], []
            for sql, _ in statements:
                catalog = after(sql, catalog)
    found = differences(models_of(metadata), catalog or Catalog())
    return [step.id for step in pending.steps], [difference.text for difference in found]
