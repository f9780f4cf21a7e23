"""The part of a report that shows the tables before and after, and says what of it is not known."""

from __future__ import annotations

from collections.abc import Iterator

from pulumi_alembic.account import Account
from pulumi_alembic.report import facts, markdown
from pulumi_alembic.report.page import Page
from pulumi_alembic.report.preview import Planned, Preview
from pulumi_alembic.report.verdict import counted

__all__ = ["structure"]

_LEGEND = "Green is new, yellow changes, red goes; behind a column stands what happens to it."
_MANY = 10


def structure(preview: Preview, page: Page) -> list[str]:
    """Per resource whose plan touches tables a diagram of them, and what it cannot show."""
    several = preview.planned > 1
    return [
        block for planned in page.rows(preview.plans, "resource") for block in _plan(planned, page, several=several)
    ]


def _plan(planned: Planned, page: Page, *, several: bool) -> Iterator[str]:
    account = planned.account
    drawing = page.drawing(account.tables) if account and account.tables else ""
    if account is None or not drawing:
        return
    of = f" of {page.code(planned.name)}" if several else ""
    yield f"#### Tables before and after{of}{f' in {page.plain(planned.databases)}' if planned.databases else ''}"
    yield " ".join([_LEGEND, *_unknown(account, page)])
    many = len(account.tables) > _MANY
    yield markdown.folded(counted(len(account.tables), "table"), drawing) if many else drawing


def _unknown(account: Account, page: Page) -> Iterator[str]:
    hidden = [each.id for each in account.revisions if facts.is_opaque(each)]
    if hidden:
        names = ", ".join(page.code(each) for each in page.rows(hidden, "name"))
        yield f"⚠️ What {names} will do to the tables is not known, and not drawn."
    said = (what for each in account.revisions for one in each.statements for what in one.effects.unknown)
    if unknown := list(dict.fromkeys(said)):
        names = ", ".join(page.code(each) for each in page.rows(unknown, "name"))
        yield f"❓ Not drawn is what these may do: {names}."
    bare = [each.name for each in account.tables if not each.before and each.after and not each.after.columns]
    if bare:
        yield f"❓ The columns of {', '.join(page.code(each) for each in page.rows(bare, 'name'))} are not known."
