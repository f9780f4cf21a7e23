"""A report of a preview for a pull request, as Markdown or JSON, from `pulumi preview --json`. Pure.

`read` takes the preview's bytes, and `of_review` a plan's review. `judge` returns the verdict. `comment` and
`document` write the report.
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
