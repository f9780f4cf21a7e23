"""Between the resource's properties and adoption: what a check finds to adopt, and the update that does."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from pulumi_alembic.database.connection import NoDatabase, NoLogin
from pulumi_alembic.stack import log
from pulumi_alembic.stack.inputs import ADOPTS, Inputs, Properties

if TYPE_CHECKING:
    from pulumi_alembic.adoption.matching import Adopted

__all__ = ["find", "first"]


def find(inputs: Inputs) -> Adopted | None:
    """What the database is to be taken for; None where there is nothing to adopt. Raises AdoptionError."""
    if not inputs.adopt:
        return None
    if inputs.url is None:
        log.info(
            "what is there is adopted, if anything is: only the update can tell, its login has no password yet. What "
            "follows is for an empty database",
            inputs.urn,
        )
        return None
    from pulumi_alembic.adoption import matching

    try:
        adopted = matching.find(
            inputs.url,
            inputs.directory,
            inputs.admin,
            inputs.adopt,
            inputs.drift_ignore,
            command=log.command("up", inputs.urn),
            tell=lambda text: log.status(text, inputs.urn),
        )
    except (NoDatabase, NoLogin):
        # The plan says so, or does without.
        return None
    if adopted:
        heads = "+".join(adopted.heads)
        log.info(f"adopts the database as it is: it is what {heads} builds, and no script of that runs", inputs.urn)
    return adopted


def first(
    inputs: Inputs, properties: Properties, around: AbstractContextManager[object]
) -> AbstractContextManager[object]:
    """What is entered once nobody else migrates: the adoption, where the check found something, and then `around`."""
    found = properties.get(ADOPTS)
    if not found:
        return around
    from pulumi_alembic.adoption import taking
    from pulumi_alembic.adoption.matching import Adopted

    adopted = Adopted(tuple(found["revision"].split("+")), found["digest"])
    command = log.command("up", inputs.urn)
    return taking.first(adopted, inputs.url or "", inputs.directory, log.stack(inputs.urn), command, around)
