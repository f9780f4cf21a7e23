"""The whole report as Markdown within the size of a comment."""

from __future__ import annotations

from pulumi_alembic.review.report import markdown, revisions, sections
from pulumi_alembic.review.report.facts import Verdict
from pulumi_alembic.review.report.page import DETAILS, Page, TooLong
from pulumi_alembic.review.report.preview import Preview
from pulumi_alembic.review.report.sections import drift, structure

__all__ = ["LIMIT", "MARKER", "comment"]

# GitHub accepts 65,536 characters. Counted in bytes, the report is below that whatever GitHub counts.
LIMIT = 65_000
MARKER = "pulumi-alembic-report"


def comment(preview: Preview, verdict: Verdict, marker: str = MARKER) -> str:
    """Return the report in at most LIMIT bytes.

    The order of the parts is fixed, but messages of a failed preview come first. A report that is too long has less
    detail, down to the ids of the revisions, and names what it omits.

    Args:
        preview: The preview.
        verdict: The verdict on it.
        marker: The text of an HTML comment in the first line, by which the comment is found again.

    """
    for detail in DETAILS:
        try:
            text = _comment(preview, verdict, marker, Page(detail, LIMIT))
        except TooLong:
            continue
        if len(text.encode()) <= LIMIT:
            return text
    raise AssertionError("the least detail fits, whatever the preview")


def _comment(preview: Preview, verdict: Verdict, marker: str, page: Page) -> str:
    messages = sections.messages(preview, page)
    blocks = [
        *(messages if preview.failed else []),
        *sections.infrastructure(preview, page),
        *drift(preview, page),
        *revisions.schema(preview, page),
        *sections.findings(preview, page),
        *sections.locks(preview, page),
        *sections.data(preview, page),
        *structure(preview, page),
        *sections.commands(preview, page),
        *([] if preview.failed else messages),
    ]
    head = [f"<!-- {marker} -->", f"### {verdict.symbol} {markdown.plain(verdict.text, 300)}"]
    if preview.stack:
        head.append(f"Stack {page.code(preview.stack)} of {page.code(preview.project)}")
    if page.omissions:
        everything = sections.command(preview, "preview", "--diff")
        note = f"✂️ Too long for a comment: {page.omissions}. All of it: {everything}, or this report as JSON."
        head.append(note)
    return "\n\n".join([*head, *blocks]) + "\n"
