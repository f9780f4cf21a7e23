"""The SQL that revisions send, told without running them; whatever cannot be told is said to run Python."""

from pulumi_alembic.review.rendering.render import Rendered, render

__all__ = ["Rendered", "render"]
