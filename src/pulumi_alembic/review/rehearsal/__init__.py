"""Run the pending revisions in a scratch database with the target's schema, before an update runs them."""

from pulumi_alembic.review.rehearsal.rehearse import rehearsal, rehearsal_elsewhere

__all__ = ["rehearsal", "rehearsal_elsewhere"]
