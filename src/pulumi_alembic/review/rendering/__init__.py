"""Find the SQL that revisions send without running them on a database.

A revision whose SQL cannot be found is reported to run Python.
"""

from pulumi_alembic.review.rendering.render import Rendered, render

__all__ = ["Rendered", "render"]
