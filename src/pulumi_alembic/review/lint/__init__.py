"""Findings: what hurts in the statements and the revisions of a plan, and what to write instead."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from pulumi_alembic.review.lint.settings import Settings
from pulumi_alembic.scripts.promotion import UNREADABLE, VARIABLE, Lower, is_known, reason_of

__all__ = ["Settings", "lint_settings"]


def lint_settings(properties: Mapping[str, Any]) -> Settings:
    """The settings among a Migrations resource's properties. Raises PolicyError for what makes no sense."""
    return Settings.parse(
        properties.get("lint") or {},
        production=bool(properties.get("__production")),
        backup=str(properties.get("backup") or "never"),
        configure_backup=str(properties.get("__configure_backup") or Settings.configure_backup),
        lower=_lower(properties.get("__lower")),
    )


def _lower(lower: object) -> Lower | None:
    """None where there is none, or it is not known yet what it proves."""
    if not isinstance(lower, Mapping) or not isinstance(lower.get("stack"), str):
        return None
    proof, stack = lower.get("proof"), lower["stack"]
    if not is_known(proof):
        return None
    # As an empty object a reference gives what it cannot decrypt, Pulumi CLI 3.260.
    if not isinstance(proof, str | None):
        proof = UNREADABLE
    up = f"{os.environ.get('PULUMI_COMMAND', 'pulumi')} up --stack {stack}"
    return Lower.parse(stack, proof or "", reason=reason_of(os.environ.get(VARIABLE, "")), up=up)
