"""Settings of one run: which revisions are allowed to delete rows, and whether dropped data is preserved."""

from __future__ import annotations

import os
from collections.abc import Iterable

from pulumi_alembic.errors import PolicyError
from pulumi_alembic.policy import Policy
from pulumi_alembic.scripts.naming import is_meant, is_revision_id, is_usable

__all__ = ["ALLOW_DATA_LOSS", "KEEP_DATA", "allowed", "is_wanted"]

_NO_IDS = {"true", "false", "yes", "no", "on", "off", "all", "any", "head", "base", "none"}
"""Words that people write to allow it for everything. It is allowed only for single revisions."""

ALLOW_DATA_LOSS = "PULUMI_ALEMBIC_ALLOW_DATA_LOSS"
"""The environment variable that lists the revisions that one run allows to delete rows."""


def allowed(revisions: Iterable[str]) -> frozenset[str]:
    """Return these revisions and those of ALLOW_DATA_LOSS. Raises PolicyError if one is not a revision id."""
    ids = [*revisions, *os.environ.get(ALLOW_DATA_LOSS, "").replace(",", " ").split()]
    for id in ids:
        mistaken = is_meant(id) and not is_revision_id(id)
        if not is_usable(id) or mistaken or id.lower() in _NO_IDS:
            raise PolicyError(f"data loss is allowed for {id!r}, which is no revision id such as 20250126_003")
    return frozenset(ids)


KEEP_DATA = "PULUMI_ALEMBIC_KEEP_DATA"
"""The environment variable that is `false` for a run that preserves nothing."""


def is_wanted(policy: Policy) -> bool:
    """Return whether downgrades and contracts preserve what they drop."""
    return policy.keep_data and os.environ.get(KEEP_DATA, "true").lower() != "false"
