"""Findings: what hurts in the statements and the revisions of a plan, and what to write instead."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pulumi_alembic.lint.settings import Lower, Settings

__all__ = ["Lower", "Settings", "lint_settings"]


def lint_settings(properties: Mapping[str, Any]) -> Settings:
    """The settings among a Migrations resource's properties; a lower stack whose revision is unknown is not asked."""
    lower = properties.get("__lower")
    revision = lower.get("revision") if isinstance(lower, Mapping) else ""
    known = isinstance(lower, Mapping) and (revision is None or isinstance(revision, str))
    return Settings.parse(
        properties.get("lint") or {},
        production=bool(properties.get("__production")),
        backup=str(properties.get("backup") or "never"),
        configure_backup=str(properties.get("__configure_backup") or Settings.configure_backup),
        lower=Lower(str(lower["stack"]), revision or "") if known and lower else None,
    )
