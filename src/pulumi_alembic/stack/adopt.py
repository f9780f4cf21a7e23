"""The adoption of an existing database, between the resource's properties and the package `adoption`."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from pulumi_alembic.database.connection import NoDatabase, NoLogin

if TYPE_CHECKING:
    from pulumi_alembic.adoption.matching import Adopted
    from pulumi_alembic.migrate.job import Job
    from pulumi_alembic.stack.properties import Properties

__all__ = ["find", "first"]


def find(inputs: Properties) -> Adopted | None:
    """Return the revision at which the update adopts the database. None if there is nothing to adopt.

    Raises:
        AdoptionError: The schema matches no revision, or the revision cannot be determined. Nothing was changed.

    """
    if not inputs.adopt:
        return None
    if inputs.url is None:
        inputs.log.info(
            "the login has no password yet, so only the update can find out which revision to adopt. The plan below is "
            "that of an empty database"
        )
        return None
    from pulumi_alembic.adoption import matching

    try:
        wanted = matching.Wanted(inputs.adopt, inputs.drift_ignore, inputs.configure_adopt)
        adopted = matching.find(inputs.job(inputs), inputs.rehearse_with, wanted, inputs.log.status)
    except (NoDatabase, NoLogin):
        # The check of the plan raises the same error, or plans without the database.
        return None
    if adopted:
        heads = "+".join(adopted.heads)
        inputs.log.info(f"adopting the database at {heads}: its schema matches, so no script runs")
    return adopted


def first(inputs: Properties, job: Job, around: AbstractContextManager[object]) -> AbstractContextManager[object]:
    """Return the context that an update enters under the migration lock: an adoption if needed, then `around`."""
    adopts = inputs.adopts
    if not adopts:
        return around
    from pulumi_alembic.adoption import taking
    from pulumi_alembic.adoption.matching import Adopted

    return taking.first(Adopted(tuple(adopts["revision"].split("+")), adopts["digest"]), job, around)
