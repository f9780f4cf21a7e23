"""Which revisions may take away rows: those that the stack names, and those that one run is given."""

from __future__ import annotations

import os
from collections.abc import Iterable

from pulumi_alembic.errors import PolicyError
from pulumi_alembic.scripts.naming import is_revision_id

__all__ = ["VARIABLE", "allowed"]

VARIABLE = "PULUMI_ALEMBIC_ALLOW_DATA_LOSS"
"""The environment variable that names the revisions of one run."""


def allowed(revisions: Iterable[str]) -> frozenset[str]:
    """These revisions, and those of VARIABLE. Raises PolicyError for what is no revision id."""
    ids = [*revisions, *os.environ.get(VARIABLE, "").replace(",", " ").split()]
    for id in ids:
        if not is_revision_id(id):
            raise PolicyError(f"data loss is allowed for {id!r}, which is no revision id such as 20250126_003")
    return frozenset(ids)
