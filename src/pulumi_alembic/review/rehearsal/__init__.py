"""The pending revisions really run before an update runs them: in a scratch database with the target's schema."""

from pulumi_alembic.review.rehearsal.rehearse import rehearsal, rehearsal_elsewhere

__all__ = ["rehearsal", "rehearsal_elsewhere"]
