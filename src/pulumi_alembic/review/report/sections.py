"""The other parts of a report: infrastructure, drift, findings, locks, tables, data at risk, commands and messages."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Iterator

from pulumi_alembic.output.wording import counted
from pulumi_alembic.review.plan_review import PlanReview, Severity
from pulumi_alembic.review.report import facts, markdown
from pulumi_alembic.review.report.page import Page
from pulumi_alembic.review.report.preview import MIGRATIONS, STACK, Diagnostic, Planned, Preview, Step
from pulumi_alembic.review.report.revisions import SYMBOLS

__all__ = ["command", "commands", "data", "drift", "findings", "infrastructure", "locks", "messages", "structure"]

# What waits while a lock is held (PostgreSQL 18, "Explicit Locking"). Other modes block neither reads nor writes.
_WAITING = {
    "ACCESS EXCLUSIVE": "reads and writes wait",
    "EXCLUSIVE": "writes wait",
    "SHARE ROW EXCLUSIVE": "writes wait",
    "SHARE": "writes wait",
}
_MANY = 10


def infrastructure(preview: Preview, page: Page) -> list[str]:
    """Return a table of the operations on resources, with the counts of `pulumi preview`."""
    if all(step.type == MIGRATIONS and step.op != "delete" for step in preview.steps):
        # The next part is about migrations resources.
        return []
    counts = Counter(step.op for step in preview.steps)
    numbers = ", ".join(f"{number:,} {page.plain(op)}" for op, number in page.rows(counts.most_common(), "kind"))
    same = f", {preview.unchanged:,} unchanged" if preview.unchanged else ""
    rows = [
        f"| {page.plain(step.op)} | {page.code(_short(step))} | {page.code(step.name)} |"
        for step in page.rows(preview.steps, "resource")
    ]
    table = "\n".join(["| | Type | Name |", "|---|---|---|", *rows])
    if len(preview.steps) > _MANY:
        table = markdown.folded(counted(len(preview.steps), "resource"), table)
    return [f"#### Infrastructure: {numbers}{same}", table]


def findings(preview: Preview, page: Page) -> list[str]:
    """Return the findings, the most severe first. Findings for information or with an exception are folded."""
    placed = facts.findings(preview)
    if not placed:
        return []
    several = preview.planned > 1
    loud: list[str] = []
    quiet: list[str] = []
    for finding in page.rows(placed, "finding"):
        objects = not finding.finding.excused and finding.finding.severity is not Severity.INFO
        (loud if objects else quiet).append(_finding(finding, page, several=several))
    if quiet:
        title = f"{counted(len(quiet), 'finding')} for information, or allowed"
        loud.append(markdown.folded(title, "\n\n".join(quiet)))
    return ["#### Findings", *loud]


def _finding(placed: facts.Placed, page: Page, *, several: bool) -> str:
    finding = placed.finding
    where = page.code(placed.revision) + (f" of {page.code(placed.resource)}" if several else "")
    where += f", statement {placed.statement}" if placed.statement else ""
    text = f"{SYMBOLS[finding.severity]} **{page.code(finding.rule)}** in {where}: {page.plain(finding.message)}"
    if finding.excused:
        return f"{text}<br>Allowed: {page.plain(finding.excused)}"
    return f"{text}\n\n{page.block(finding.suggestion, 'python', 'suggestion')}" if finding.suggestion else text


def locks(preview: Preview, page: Page) -> list[str]:
    """Return a table of the strongest lock on each table, what waits for it, and whole-table rewrites and scans."""
    tables = facts.tables(preview)
    if not tables:
        return []
    several = len(list(facts.revisions(preview))) > 1
    rows = [_lock(lock, page, several=several) for lock in page.rows(tables, "table")]
    table = "\n".join(["| Table | Strongest lock | Meanwhile |", "|---|---|---|", *rows])
    if len(tables) > _MANY:
        table = markdown.folded(counted(len(tables), "table"), table)
    return ["#### Locks", table]


def _lock(table: facts.TableFacts, page: Page, *, several: bool) -> str:
    remarks = [_WAITING[table.mode]] if table.mode in _WAITING else []
    remarks += ["rewritten"] if table.rewritten else []
    remarks += ["scanned"] if table.scanned else []
    by = f" in {page.code(table.revision)}" if several else ""
    return f"| {page.code(table.table)} | {page.plain(table.mode)}{by} | {' · '.join(remarks)} |"


def data(preview: Preview, page: Page) -> list[str]:
    """Return what will be lost and by which revision or resource, then what is unknown, preserved or restored."""
    lost = facts.losses(preview)
    kept = [("preserves", *item) for item in facts.kept(preview)]
    kept += [("restores", *item) for item in facts.restored(preview)]
    if not lost and not kept:
        return []
    lines = [_loss(loss, page) for loss in page.rows(lost, "danger")]
    lines += [f"- 📦 {verb} {page.code(name)}, in {page.code(id)}" for verb, name, id in page.rows(kept, "kept thing")]
    listed = "\n".join(lines)
    if len(lost) + len(kept) > _MANY:
        listed = markdown.folded(f"{len(lost) + len(kept):,} things", listed)
    return ["#### Data at risk" if lost else "#### Data", listed]


def _loss(loss: facts.Loss, page: Page) -> str:
    symbol = "❓ unknown:" if loss.unknown else "🗑️"
    return f"- {symbol} {page.code(loss.what)}, in {page.code(loss.revision or loss.resource)}"


def commands(preview: Preview, page: Page) -> list[str]:
    """Return how to apply the preview and how to revert it, or how to repeat a failed preview."""
    if preview.failed:
        return [f"#### Next\n\nFix what the messages say, then {command(preview, 'preview')}"]
    if not preview.steps and not any(planned.review and planned.review.revisions for planned in preview.plans):
        return []
    destroyed = any(step.op == "delete" and step.type == STACK for step in preview.steps)
    rows = [f"- Apply: {command(preview, 'destroy' if destroyed else 'up')}"]
    # Without a preview, the settings of the stack are not known, nor is the digest that it requires.
    digests = [planned.digest for planned in preview.plans if planned.urn and planned.digest and planned.review]
    for digest in page.rows(list(dict.fromkeys(digests)), "digest"):
        rows.append(f"- Approve, if the stack requires it: {page.code(f'PULUMI_ALEMBIC_APPROVE={digest}')}")
    rows += _back(preview, page)
    if any(step.urn not in {planned.urn for planned in preview.plans} for step in preview.steps):
        rows.append(f"- Roll back the infrastructure: {command(preview, 'up')} from the commit before")
    if any(not loss.unknown for loss in facts.losses(preview)):
        rows.append("- A rollback does not restore what is destroyed: make a backup first")
    return ["#### Apply and roll back\n\n" + "\n".join(rows)]


def _back(preview: Preview, page: Page) -> list[str]:
    """Return how to revert each resource that runs revisions."""
    origins: dict[str, dict[str, Planned]] = {}
    for planned in preview.plans:
        if planned.review:
            origins.setdefault(planned.urn, {}).setdefault(planned.review.origin, planned)
    work = {plan.urn for plan in preview.plans if plan.review and plan.review.revisions}
    working = [plans for urn, plans in origins.items() if urn in work]
    return [_back_to(list(plans.values()), preview, page) for plans in page.rows(working, "resource")]


def _back_to(plans: list[Planned], preview: Preview, page: Page) -> str:
    """Return how to revert one resource. `plans` are those of its databases with different origins."""
    of = f" of {page.code(plans[0].name)}" if preview.planned > 1 else ""
    reviews = [planned.review for planned in plans if planned.review]
    origin = reviews[0].origin
    if len(reviews) > 1:
        names = ", ".join(page.code(review.origin) for review in page.rows(reviews, "revision"))
        kind = "schemas" if re.match(r"[\d,]+ schema", plans[0].databases) else "databases"
        return (
            f"- Roll back the schema{of}: its {kind} come from {names}, and one target is for all of them: set it "
            f"to one of these, then {command(preview, 'up')}"
        )
    if "+" in origin:
        return f"- Roll back the schema{of}: no one target names the heads {page.code(origin)}, so restore a backup"
    if any(revision.from_ledger for revision in reviews[0].revisions):
        return f"- Roll back the schema{of}: {command(preview, 'up')} from a commit that has {page.code(origin)}"
    return f"- Roll back the schema{of}: set the target to {page.code(origin)}, then {command(preview, 'up')}"


def messages(preview: Preview, page: Page) -> list[str]:
    """Return the preview's own messages once each, errors first."""
    if not preview.diagnostics:
        return []
    counts = Counter(sorted(preview.diagnostics, key=lambda diagnostic: diagnostic.severity != "error"))
    rows = [_message(message, number, page) for message, number in page.rows(list(counts.items()), "message")]
    return ["#### Messages of the preview", *rows]


def _message(diagnostic: Diagnostic, number: int, page: Page) -> str:
    symbol = SYMBOLS[Severity(diagnostic.severity)]
    start = f"{symbol} {page.code(diagnostic.resource)}: " if diagnostic.resource else f"{symbol} "
    times = f" ({number:,} times)" if number > 1 else ""
    if "\n" not in diagnostic.message:
        return f"{start}{page.plain(diagnostic.message)}{times}"
    first, _, rest = diagnostic.message.partition("\n")
    return f"{start}{page.plain(first)}{times}\n\n{page.block(rest, 'text', 'message')}"


def command(preview: Preview, verb: str, *flags: str) -> str:
    """Return a command of Pulumi for the preview's stack, as code."""
    stack = ["--stack", shlex.quote(preview.stack)] if preview.stack else []
    return markdown.code(" ".join(["pulumi", verb, *flags, *stack]), 200)


def _short(step: Step) -> str:
    """Return the type as `pulumi preview` shows it, without a file that has the same name."""
    package, _, rest = step.type.partition(":")
    module, _, name = rest.rpartition(":")
    folder, _, file = module.rpartition("/")
    return f"{package}:{folder}:{name}" if folder and file.lower() == name.lower() else step.type


_LEGEND = "Green is new, yellow is changed, red is dropped. The note of a column says what happens to it."


def structure(preview: Preview, page: Page) -> list[str]:
    """Return a diagram of the changed tables for each resource, with a note on what it cannot show."""
    several = preview.planned > 1
    return [
        block for planned in page.rows(preview.plans, "resource") for block in _plan(planned, page, several=several)
    ]


def _plan(planned: Planned, page: Page, *, several: bool) -> Iterator[str]:
    review = planned.review
    drawing = page.drawing(review.tables) if review and review.tables else ""
    if review is None or not drawing:
        return
    of = f" of {page.code(planned.name)}" if several else ""
    yield f"#### Tables before and after{of}{f' in {page.plain(planned.databases)}' if planned.databases else ''}"
    yield " ".join([_LEGEND, *_unknown(review, page)])
    many = len(review.tables) > _MANY
    yield markdown.folded(counted(len(review.tables), "table"), drawing) if many else drawing


def _unknown(review: PlanReview, page: Page) -> Iterator[str]:
    hidden = [revision.id for revision in review.revisions if facts.is_opaque(revision)]
    if hidden:
        names = ", ".join(page.code(revision) for revision in page.rows(hidden, "name"))
        yield f"⚠️ The effect of {names} on the tables is not known, and not drawn."
    reasons = (
        text for revision in review.revisions for statement in revision.statements for text in statement.effects.unknown
    )
    if unknown := list(dict.fromkeys(reasons)):
        names = ", ".join(page.code(name) for name in page.rows(unknown, "name"))
        yield f"❓ The effect of these is not drawn: {names}."
    bare = [table.name for table in review.tables if not table.before and table.after and not table.after.columns]
    if bare:
        yield f"❓ The columns of {', '.join(page.code(name) for name in page.rows(bare, 'name'))} are not known."


def drift(preview: Preview, page: Page) -> list[str]:
    """Return each difference: what is expected, what was found, and the statement that restores it."""
    differences = [(planned, *difference) for planned in preview.plans for difference in planned.drift]
    if not differences:
        return []
    several = preview.planned > 1
    rows = []
    for planned, name, lines in page.rows(differences, "difference"):
        of = f" of {page.code(planned.name)}" if several else ""
        shown = [line for line in lines if line.startswith(("expected:", "found:", " "))]
        sql = [line for line in lines if line not in shown]
        rows.append("\n\n".join([
            f"**{page.code(name)}**{of}",
            page.block("\n".join(shown), "text", "difference"),
            *([page.block("\n".join(sql), "sql", "statement")] if sql else []),
        ]))  # fmt: skip
    text = "\n\n".join(rows)
    if len(differences) > _MANY:
        text = markdown.folded(f"{len(differences):,} differences", text)
    return ["#### Drift: the database is not as the last update left it", text]
