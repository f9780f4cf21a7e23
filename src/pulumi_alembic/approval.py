"""What runs is what was approved: its digest is that of the plan at the moment when nobody else migrates."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from pulumi_alembic.account import DIGEST_FORMULA, PARTS, Account, differences
from pulumi_alembic.accounting import account_of_empty
from pulumi_alembic.errors import NotApproved
from pulumi_alembic.lint.settings import Settings

if TYPE_CHECKING:
    from pulumi_alembic.scripts.trust import Trust

__all__ = ["VARIABLE", "approval", "not_approved"]

VARIABLE = "PULUMI_ALEMBIC_APPROVE"
"""The environment variable that an approval is given in."""

_DIGEST = re.compile(rf"(v\d+:)[0-9a-f]{{32}}(-[0-9a-f]{{4}}){{{len(PARTS)}}}")


def approval(
    approved: str, url: str, directory: Path, preview: str, up: str, lint: Settings, trust: Trust | None = None
) -> Callable[[Account], None]:
    """What raises NotApproved for an account that has not the digest `approved`; empty where none was given.

    The plan of a database with nothing in it may also be approved as one for a database to come. `preview` and `up`
    are the commands that a person types, and `trust` is for what the scripts lack.
    """

    def approve(account: Account) -> None:
        if approved == account.digest:
            return
        empty = account_of_empty(url, directory, account.target, lint, trust) if approved else None
        if empty is not None and approved == empty.digest:
            return
        raise not_approved(approved, account.digest, preview, up)

    return approve


def not_approved(approved: str, digest: str, preview: str, up: str) -> NotApproved:
    """That `approved` is another digest than the plan's, or none, with what to type."""
    if (form := _DIGEST.fullmatch(approved)) and form[1] != DIGEST_FORMULA:
        version = "an older" if _number(form[1]) < _number(DIGEST_FORMULA) else "a newer"
        return NotApproved(
            f"approved by {version} version; look at it again: {preview}\n  then: {VARIABLE}={digest} {up}"
        )
    return NotApproved(f"{_reason(approved, digest)}\n  look at it: {preview}\n  then: {VARIABLE}={digest} {up}")


def _reason(approved: str, digest: str) -> str:
    if not approved:
        return "pending revisions need an approval here, and none was given"
    if not _DIGEST.fullmatch(approved):
        return f"{approved!r} is not the digest of a plan, as a preview shows it"
    different = differences(approved, digest)
    return f"what would run is not what was approved: of the plan {_joined(different)} changed since"


def _number(formula: str) -> int:
    return int(formula[1:-1])


def _joined(names: list[str]) -> str:
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]])) if names else "something"
