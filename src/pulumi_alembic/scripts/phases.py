"""What the phases of revisions mean for lint. Pure."""

from __future__ import annotations

__all__ = ["BEHIND", "BREAKS", "NEEDLESS", "RULES"]

BREAKS, NEEDLESS, BEHIND = "breaks-running-code", "needless-contract", "expand-behind-contract"

RULES = frozenset({BREAKS, NEEDLESS, BEHIND})
"""The rules about phases. They are no part of a plan's digest, which is older, and covers all that they go by."""
