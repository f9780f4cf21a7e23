"""The part of a report that says how a database differs from what its last update left."""

from __future__ import annotations

from pulumi_alembic.report import markdown
from pulumi_alembic.report.page import Page
from pulumi_alembic.report.preview import Preview

__all__ = ["drift"]

_MANY = 10


def drift(preview: Preview, page: Page) -> list[str]:
    """Each difference with what is expected, what was found, and the statement that brings back what was."""
    found = [(planned, *each) for planned in preview.plans for each in planned.drift]
    if not found:
        return []
    several = preview.planned > 1
    rows = []
    for planned, name, lines in page.rows(found, "difference"):
        of = f" of {page.code(planned.name)}" if several else ""
        shown = [line for line in lines if line.startswith(("expected:", "found:", " "))]
        sql = [line for line in lines if line not in shown]
        rows.append("\n\n".join([
            f"**{page.code(name)}**{of}",
            page.block("\n".join(shown), "text", "difference"),
            *([page.block("\n".join(sql), "sql", "statement")] if sql else []),
        ]))  # fmt: skip
    text = "\n\n".join(rows)
    if len(found) > _MANY:
        text = markdown.folded(f"{len(found):,} differences", text)
    return ["#### Drift: the database is not as the last update left it", text]
