"""Whether downgrades keep what they take away: as the stack says, and as one run is told."""

from __future__ import annotations

import os

from pulumi_alembic.policy import Policy

__all__ = ["VARIABLE", "is_wanted"]

VARIABLE = "PULUMI_ALEMBIC_KEEP_DATA"
"""The environment variable that says `false` where one run is to keep nothing."""


def is_wanted(policy: Policy) -> bool:
    """Whether downgrades are to keep what they take away."""
    return policy.keep_data and os.environ.get(VARIABLE, "true").lower() != "false"
