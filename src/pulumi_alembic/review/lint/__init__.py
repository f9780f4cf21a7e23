"""Lint: findings about the statements and revisions of a plan, with suggestions."""

from pulumi_alembic.review.lint.settings import Settings

__all__ = ["Settings"]
