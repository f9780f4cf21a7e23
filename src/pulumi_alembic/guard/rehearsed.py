"""A plan that the server refused in its rehearsal is not run on the target, unless somebody gives a reason for it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from pulumi_alembic.errors import PolicyError, RehearsalFailed
from pulumi_alembic.plan import Direction

if TYPE_CHECKING:
    from pulumi_alembic.account import Account, RevisionAccount

__all__ = ["SKIPPED", "VARIABLE", "notes", "refuse_failed"]

VARIABLE = "PULUMI_ALEMBIC_SKIP_REHEARSAL"
"""The environment variable with the reason why one run goes on in spite of its rehearsal."""

SKIPPED = "rehearsal_skipped"
"""The key of the reason in the ledger's detail of each revision that ran in spite of its rehearsal."""

_SHORTEST = 3


def refuse_failed(account: Account, command: str) -> None:
    """Raise RehearsalFailed if the server refused a revision of the plan in the rehearsal. Nothing has run then.

    `command` is what a person types to run the plan. With a reason in VARIABLE nothing is refused. Raises PolicyError
    for a reason that is too short to help anybody later.
    """
    refused = list(_refused(account))
    if not refused or _reason():
        return
    lines = [f"  {each.file}: {each.rehearsed.fails}" for each in refused if each.rehearsed]
    revision = refused[0]
    advice = [] if account.direction == Direction.DOWNGRADE else ["  correct the script, then: pulumi-alembic manifest"]
    raise RehearsalFailed(
        "\n".join(
            [
                f"revision {revision.id} fails on {revision.direction} in the rehearsal, and nothing was changed:",
                *lines,
                *advice,
                f"  to run it all the same, once: {VARIABLE}='why it can succeed' {command}",
            ]
        )
    )


def notes(account: Account) -> dict[str, dict[str, Any]]:
    """What the ledger keeps of the revisions that run in spite of the rehearsal: the reason, and what failed."""
    failed = [each.rehearsed.fails for each in _refused(account) if each.rehearsed]
    if not failed or not (reason := _reason()):
        return {}
    return {each.id: {SKIPPED: {"reason": reason, "failed": failed[0]}} for each in account.revisions}


def _refused(account: Account) -> Iterator[RevisionAccount]:
    return (each for each in account.revisions if each.rehearsed and each.rehearsed.refused)


def _reason() -> str:
    reason = " ".join(os.environ.get(VARIABLE, "").split())
    if reason and (len(reason) < _SHORTEST or reason.isdigit() or reason.lower() in ("yes", "true")):
        raise PolicyError(
            f"{VARIABLE} is {reason[:80]!r}: the ledger keeps it as the reason, so say it in words, such as "
            f"{VARIABLE}='the script needs rows that only this database has'"
        )
    return reason
