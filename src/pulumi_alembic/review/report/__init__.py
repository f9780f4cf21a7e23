"""A report of a preview for a pull request: what `pulumi preview --json` printed, as Markdown or as JSON. Pure.

`read` takes the preview's bytes, `of_review` a plan's review; `judge` says what to think of it, `comment` and
`document` write it down.
"""

from pulumi_alembic.review.report.comment import LIMIT, MARKER, comment
from pulumi_alembic.review.report.document import document
from pulumi_alembic.review.report.facts import Level, Verdict, judge
from pulumi_alembic.review.report.preview import Preview, PreviewError, of_review, read

__all__ = [
    "LIMIT",
    "MARKER",
    "Level",
    "Preview",
    "PreviewError",
    "Verdict",
    "comment",
    "document",
    "judge",
    "of_review",
    "read",
]
