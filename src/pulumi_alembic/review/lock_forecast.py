"""Forecast the strong locks of a plan's revisions, from the measurements of a rehearsal or from static analysis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import sqlalchemy as sa

    from pulumi_alembic.review.plan_review import PlanReview, RevisionReview
    from pulumi_alembic.scripts.revision import Revision
    from pulumi_alembic.sql.catalog import Catalog
    from pulumi_alembic.sql.lock_plan import LockPlan, Sent

__all__ = ["of_review", "of_scripts"]


def of_review(review: PlanReview, catalog: Catalog | None) -> dict[str, LockPlan]:
    """Return the locks of each revision of an approved plan, by its id.

    Args:
        review: The review of the plan.
        catalog: The catalog before the first revision. None if it is not known.

    """
    revisions = [
        (revision.id, _sent(revision), "" if revision.sends else revision.runs_python) for revision in review.revisions
    ]
    return _plans(revisions, catalog)


def of_scripts(
    metadata: sa.MetaData, scripts: Sequence[Revision], *, is_upgrade: bool, document: Any
) -> dict[str, LockPlan]:
    """Return the locks of scripts, by revision, without a review. `env.py` uses it for a run by the `alembic` command.

    Args:
        metadata: The program's tables.
        scripts: The scripts in the order in which they run.
        is_upgrade: The direction.
        document: The catalog's document before the first script.

    """
    from pulumi_alembic.review.rendering.dry_run import DryRun
    from pulumi_alembic.scripts.plan import Direction
    from pulumi_alembic.sql.catalog import Catalog

    run, direction = DryRun(metadata).run, Direction.of(is_upgrade=is_upgrade)
    revisions = []
    for script in scripts:
        statements, why_not, _ = run(script, direction)
        revisions.append((script.id, [(sql, outside, None) for sql, outside in statements], why_not))
    return _plans(revisions, Catalog.of(document))


def _sent(revision: RevisionReview) -> Sequence[Sent]:
    return [(statement.sql, statement.outside, statement.measured) for statement in revision.sends]


def _plans(known: Sequence[tuple[str, Sequence[Sent], str]], catalog: Catalog | None) -> dict[str, LockPlan]:
    """Return the lock plan of each id, from its statements or from the reason why they are not known."""
    from pulumi_alembic.sql.catalog import Catalog
    from pulumi_alembic.sql.lock_plan import LockPlan, lock_plan

    plans, catalog_now = {}, catalog or Catalog()
    for id, statements, why_not in known:
        if why_not:
            plans[id], catalog_now = LockPlan(unknown=why_not), replace(catalog_now, complete=False)
        else:
            plans[id], catalog_now = lock_plan(statements, catalog_now)
    return plans
