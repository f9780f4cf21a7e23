"""Refuse a plan for tenants' schemas whose scripts reach beyond a schema."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

from pulumi_alembic.database.connection import log_in
from pulumi_alembic.errors import HistoryError
from pulumi_alembic.migrate.tenant_scripts import WHY, other_schemas
from pulumi_alembic.sql.schema_names import beyond_schema

if TYPE_CHECKING:
    from pulumi_alembic.review.plan_review import PlanReview

__all__ = ["refuse_unfit"]

_SHOWN = 100
"""Characters of a statement in an error."""


def refuse_unfit(review: PlanReview, url: str) -> None:
    """Check the known statements of a plan for tenants. Those that only a run shows are checked when they run.

    Args:
        review: The review of the plan.
        url: The database. Empty if it does not exist yet.

    Raises:
        HistoryError: A statement reaches beyond the tenant's schema.

    """
    schemas: list[str] = []
    if url and review.revisions:
        with closing(log_in(url)) as connection:
            schemas = other_schemas(connection)
    for revision in review.revisions:
        for statement in revision.statements:
            if beyond := beyond_schema(statement.sql, schemas):
                text = " ".join(statement.sql.split())[:_SHOWN]
                raise HistoryError(f"{revision.file}: {revision.direction} {beyond}: {text}\n  {WHY}")
