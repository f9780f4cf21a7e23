"""The part of a report about the revisions of each migrations resource."""

from __future__ import annotations

from pulumi_alembic.output.wording import counted
from pulumi_alembic.review import plan_text
from pulumi_alembic.review.plan_review import RESTORES, PlanReview, RevisionReview, Severity, StatementReview
from pulumi_alembic.review.report import facts, markdown
from pulumi_alembic.review.report.page import Page, Show
from pulumi_alembic.review.report.preview import Planned, Preview
from pulumi_alembic.sql.locks import Effects

__all__ = ["SYMBOLS", "schema"]

SYMBOLS = {Severity.ERROR: "⛔", Severity.WARNING: "⚠️", Severity.INFO: "💡"}

# More revisions than _MANY are folded together. The SQL of a single revision is not folded up to _SMALL characters.
_MANY = 10
_SMALL = 600


def schema(preview: Preview, page: Page) -> list[str]:
    """Return blocks of Markdown: the revisions and the database of each resource, then what each revision does."""
    blocks: list[str] = []
    for planned in page.rows(preview.plans, "resource"):
        blocks += _plan(planned, page, several=preview.planned > 1)
    names = [page.code(name) for name in page.rows(preview.forgotten, "resource")]
    if names:
        text = "no revision runs, and the schema stays for as long as its database does"
        blocks.append(f"#### Schema\n\nThe stack forgets {', '.join(names)}: {text}.")
    if not blocks:
        why = "it failed before there was one" if preview.failed else "nothing is pending, or the program has none"
        blocks.append(f"#### Schema\n\nNo migrations resource in this preview: {why}.")
    return blocks


def _plan(planned: Planned, page: Page, *, several: bool) -> list[str]:
    of = f" of {page.code(planned.name)}" if several else ""
    of += f" in {page.plain(planned.databases)}" if planned.databases else ""
    review = planned.review
    if review is None:
        return [f"#### Schema{of}: not known\n\n⚠️ {page.plain(planned.problem)}"]
    if not review.revisions:
        on = f" on {page.plain(review.as_of)}" if review.as_of else ""
        pending = "; ".join(page.plain(line) for line in review.held) or "nothing pending"
        return [f"#### Schema{of}\n\nAt {page.code(review.origin)}{on}: {pending}."]
    heading = f"#### Schema{of}: {page.code(review.origin)} → {page.code(review.target)}"
    return [heading, _about(review, page, many=bool(planned.databases)), *_revisions(review, page)]


def _about(review: PlanReview, page: Page, *, many: bool) -> str:
    where = f"of {page.code(review.database)}" if review.database else "of a database that does not exist yet"
    where = f"as seen in {page.code(review.database)}" if review.database and many else where
    where += f" as it was on {page.plain(review.as_of)}" if review.as_of else ""
    how = "rehearsed in a scratch database" if review.rehearsed else "static analysis, not rehearsed"
    how += f" with {page.plain(review.copied)}" if review.copied else ""
    how += f" ({page.plain(review.not_rehearsed)})" if review.not_rehearsed else ""
    lines = "".join(f"<br>{page.plain(line)}." for line in plan_text.phase_lines(review))
    number = counted(len(review.revisions), "revision")
    return f"{page.plain(review.direction).capitalize()} {where}, {number}, {how}.{lines}"


def _revisions(review: PlanReview, page: Page) -> list[str]:
    shown = page.revisions(review.revisions)
    if page.detail.show is Show.ID:
        blocks = [", ".join(page.code(revision.id) for revision in shown)]
        page.left["revision named only"] += len(shown)
    else:
        small = len(review.revisions) == 1 and sum(len(statement.sql) for statement in shown[0].statements) <= _SMALL
        blocks = [_revision(revision, page, opened=small) for revision in shown]
    if len(review.revisions) <= _MANY:
        return blocks
    between = "\n" if page.detail.show is Show.LINE else "\n\n"
    return [markdown.folded(counted(len(review.revisions), "revision"), between.join(blocks))]


def _revision(revision: RevisionReview, page: Page, *, opened: bool) -> str:
    line = f"**{page.code(revision.id)}** {page.plain(revision.message)}".rstrip()
    if not _in_full(revision, page):
        page.left["revision without SQL"] += bool(revision.statements)
        return f"- {line}{_summed(revision, page)}"
    origin = ", from the ledger: the scripts here lack it" if revision.from_ledger else ""
    proven = f", proven by the stack {page.code(revision.proven_by)}" if revision.proven_by else ""
    if revision.waited:
        proven += f", which ran it {page.plain(revision.waited)} after the expand before it"
    blocks = [f"{line}<br>{page.code(revision.file)}{origin}{proven}"]
    if revision.runs_python:
        unknown = ", so its SQL is not known before the update" if facts.is_opaque(revision) else ""
        blocks.append(f"🐍 Runs Python{unknown}: {page.plain(revision.runs_python)}")
    elif not revision.statements:
        blocks.append("Sends no statement.")
    if revision.sends:
        statements = "\n\n".join(_statement(statement, page) for statement in revision.sends)
        title = f"SQL: {counted(len(revision.sends), 'statement')}{'' if revision.statements else ' of the rehearsal'}"
        blocks.append(markdown.folded(title, statements, opened=opened))
    blocks += _rehearsed(revision, page)
    return "\n\n".join(blocks)


def _rehearsed(revision: RevisionReview, page: Page) -> list[str]:
    seen = revision.rehearsed
    texts = []
    if seen and seen.fails:
        doubt = f". {page.plain(seen.doubt)}" if seen.doubt else ""
        texts.append(f"{'⛔' if seen.refused else '⚠️'} Fails in the rehearsal: {page.plain(seen.fails)}{doubt}")
    if seen and seen.way_back and seen.way_back != RESTORES:
        lines = [f"- {page.code(line)}" for line in page.rows(seen.left, "line")]
        texts.append("\n".join([f"⚠️ Downgrade: {page.plain(seen.way_back)}", *([""] if lines else []), *lines]))
    return texts


def _in_full(revision: RevisionReview, page: Page) -> bool:
    if page.detail.show is not Show.CONSPICUOUS:
        return page.detail.show is Show.FULL
    findings = [*revision.findings, *(finding for statement in revision.statements for finding in statement.findings)]
    objected = any(not finding.excused for finding in findings)
    effects = [statement.does for statement in revision.sends]
    seen = revision.rehearsed
    objected = objected or (seen is not None and bool(seen.fails or seen.left))
    return objected or bool(revision.runs_python) or any(effect.destroys or effect.unknown for effect in effects)


def _summed(revision: RevisionReview, page: Page) -> str:
    """Return the effects of a revision in a few words, which follow its name."""
    if facts.is_opaque(revision):
        return " · 🐍 runs Python"
    outcomes = [statement.does for statement in revision.sends]
    locks = [lock for effects in outcomes for lock in effects.locks if not lock.new]
    tables = len({lock.table for lock in locks})
    lines = ["", counted(len(revision.statements), "statement")]
    if locks:
        strongest = max(locks, key=lambda lock: facts.strength(lock.mode))
        more = f" and {counted(tables - 1, 'more table')}" if tables > 1 else ""
        lines.append(f"🔒 {page.plain(strongest.mode)} on {page.code(strongest.table)}{more}")
    lines += ["🗑️ deletes"] if any(effects.destroys for effects in outcomes) else []
    lines += ["❓ unknown effects"] if any(effects.unknown for effects in outcomes) else []
    return " · ".join(lines)


def _statement(statement: StatementReview, page: Page) -> str:
    lines = _effects(statement.does, page)
    if statement.outside:
        lines.insert(0, "outside the transaction")
    for finding in page.rows(statement.findings, "name"):
        lines.append(f"{SYMBOLS[finding.severity]} {page.code(finding.rule)}{' (allowed)' if finding.excused else ''}")
    sql = page.block(statement.sql, "sql", "statement")
    return f"{' · '.join(lines)}\n\n{sql}" if lines else sql


def _effects(effects: Effects, page: Page) -> list[str]:
    by_mode: dict[str, list[str]] = {}
    for lock in page.rows(effects.locks, "name"):
        by_mode.setdefault(lock.mode, []).append(f"{page.code(lock.table)}{' (new)' if lock.new else ''}")
    parts = [f"🔒 {page.plain(mode)} on {', '.join(on)}" for mode, on in by_mode.items()]
    for verb, names in (
        ("rewrites", effects.rewrites),
        ("scans", effects.scans),
        ("🗑️ deletes", effects.destroys),
        ("❓ not known:", effects.unknown),
    ):
        if names:
            parts.append(f"{verb} {', '.join(page.code(name) for name in page.rows(names, 'name'))}")
    return parts
