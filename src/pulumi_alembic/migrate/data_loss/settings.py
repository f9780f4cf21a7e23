"""Settings of one run about data loss: which revisions may delete rows, and whether what is dropped is preserved."""

from __future__ import annotations

import os
from collections.abc import Iterable

from pulumi_alembic.errors import PolicyError
from pulumi_alembic.policy import Policy
from pulumi_alembic.scripts.naming import is_meant, is_revision_id, is_usable

__all__ = ["ALLOW_DATA_LOSS", "KEEP_DATA", "allowed", "is_wanted"]

_NO_IDS = {"true", "false", "yes", "no", "on", "off", "all", "any", "head", "base", "none"}
"""What people write who want to allow it for everything; it is allowed for one revision at a time."""

ALLOW_DATA_LOSS = "PULUMI_ALEMBIC_ALLOW_DATA_LOSS"
"""The environment variable that names the revisions of one run."""


def allowed(revisions: Iterable[str]) -> frozenset[str]:
    """These revisions, and those of ALLOW_DATA_LOSS. Raises PolicyError for what is no revision id."""
    ids = [*revisions, *os.environ.get(ALLOW_DATA_LOSS, "").replace(",", " ").split()]
    for id in ids:
        mistaken = is_meant(id) and not is_revision_id(id)
        if not is_usable(id) or mistaken or id.lower() in _NO_IDS:
            raise PolicyError(f"data loss is allowed for {id!r}, which is no revision id such as 20250126_003")
    return frozenset(ids)


KEEP_DATA = "PULUMI_ALEMBIC_KEEP_DATA"
"""The environment variable that says `false` where one run is to keep nothing."""


def is_wanted(policy: Policy) -> bool:
    """Whether downgrades and contracts preserve what they drop."""
    return policy.keep_data and os.environ.get(KEEP_DATA, "true").lower() != "false"
