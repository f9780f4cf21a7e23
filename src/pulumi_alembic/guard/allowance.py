"""Which revisions may take away rows: those that the stack names, and those that one run is given."""

from __future__ import annotations

import os
from collections.abc import Container, Iterable
from typing import TYPE_CHECKING

from pulumi_alembic.errors import DataLoss, PolicyError
from pulumi_alembic.scripts.naming import is_revision_id

if TYPE_CHECKING:
    from pulumi_alembic.account import Account

__all__ = ["VARIABLE", "allowed", "refuse_losses"]

VARIABLE = "PULUMI_ALEMBIC_ALLOW_DATA_LOSS"
"""The environment variable that names the revisions of one run."""


def allowed(revisions: Iterable[str]) -> frozenset[str]:
    """These revisions, and those of VARIABLE. Raises PolicyError for what is no revision id."""
    ids = [*revisions, *os.environ.get(VARIABLE, "").replace(",", " ").split()]
    for id in ids:
        if not is_revision_id(id):
            raise PolicyError(f"data loss is allowed for {id!r}, which is no revision id such as 20250126_003")
    return frozenset(ids)


def refuse_losses(account: Account, may_lose: Container[str], command: str) -> None:
    """Raises DataLoss, with how much of what, where a revision of the plan would take away rows and may not.

    That is before the first one runs, and as far as the plan's statements tell: `guard.Guard` looks again at each
    statement. `command` is what a person types to run the plan.
    """
    risks = {each.id: each.losses for each in account.revisions if each.losses and each.id not in may_lose}
    if risks:
        told = "\n".join(f"  {account.direction} {id}: {', '.join(lost)}" for id, lost in risks.items())
        raise DataLoss(
            f"data would be lost, and nothing was changed:\n{told}\n"
            f"  next: keep what is needed, then if the rest may go, run `{VARIABLE}={','.join(risks)} {command}`"
        )
