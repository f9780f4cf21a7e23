"""The whole report as Markdown, never longer than a comment may be."""

from __future__ import annotations

from pulumi_alembic.review.report import markdown, revisions, sections
from pulumi_alembic.review.report.facts import Verdict
from pulumi_alembic.review.report.page import DETAILS, Page, TooLong
from pulumi_alembic.review.report.preview import Preview
from pulumi_alembic.review.report.sections import drift, structure

__all__ = ["LIMIT", "MARKER", "comment"]

# GitHub takes 65,536 characters; counted in bytes, a report is below that whichever way it counts them.
LIMIT = 65_000
MARKER = "pulumi-alembic-report"


def comment(preview: Preview, verdict: Verdict, marker: str = MARKER) -> str:
    """The report, of at most LIMIT bytes; its first line is `marker` as a comment of HTML, by which it can be found.

    The order of the parts is fixed, but that the messages of a preview that failed come first. Where the report would
    be longer it is made of less detail, down to the ids of the revisions, and says what is left out.
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
