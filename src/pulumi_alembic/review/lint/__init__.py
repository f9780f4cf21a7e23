"""Findings: what hurts in the statements and the revisions of a plan, and what to write instead."""

from pulumi_alembic.review.lint.settings import Settings

__all__ = ["Settings"]
