"""Build the review of a plan: the statements of its revisions, and their effects on the database as it is now."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from pulumi_alembic.database.connection import VERSION_SCHEMA
from pulumi_alembic.database.measuring import measuring
from pulumi_alembic.errors import MigrationError
from pulumi_alembic.ledger import integrity
from pulumi_alembic.migrate import planner
from pulumi_alembic.output.redact import redact
from pulumi_alembic.output.wording import few
from pulumi_alembic.review.lint.settings import Settings
from pulumi_alembic.review.plan_review import BaselineReview, Finding, PlanReview, RevisionReview, StatementReview
from pulumi_alembic.review.unmet import with_unmet
from pulumi_alembic.scripts.history import History
from pulumi_alembic.scripts.plan import Direction, plan, revision_text
from pulumi_alembic.scripts.revision import CONTRACT

if TYPE_CHECKING:
    from pulumi_alembic.migrate.job import Job
    from pulumi_alembic.migrate.planner import PlanContext
    from pulumi_alembic.review.lint.plan import PlanLint
    from pulumi_alembic.review.rehearsal.artifact import Artifact
    from pulumi_alembic.review.rendering import Rendered
    from pulumi_alembic.scripts.plan import Plan
    from pulumi_alembic.sql.catalog import Catalog, Measure, Models

__all__ = ["review_from_artifact", "review_from_base", "review_from_database", "review_of", "with_losses"]


def review_from_database(
    job: Job,
    lint: Settings,
    *,
    admin: str = "",
    tell: Callable[[str], None] = lambda text: None,
    keep: bool = False,
) -> tuple[PlanContext, PlanReview]:
    """Return the plan from the database's revision, and its review.

    Args:
        job: The parameters of the run.
        lint: The severities of lint.
        admin: The URL of an admin of the server. If it is given, the plan is rehearsed. The digest stays the same.
        tell: Receives the progress of the rehearsal as text.
        keep: Whether downgrades and contracts preserve what they delete. The review then contains the cost.

    Raises:
        MigrationError: There is no plan, or the database cannot be read. Nothing was changed.

    """
    context = planner.read_plan_context(job, catalog=True)
    with ExitStack() as stack:
        rehearse: Callable[[PlanReview], PlanReview] = lambda review: review  # noqa: E731
        if admin and context.plan.steps:
            from pulumi_alembic.review.rehearsal import rehearsal

            rehearse = stack.enter_context(rehearsal(job.url, admin, context, tell))
        planner.refuse_unfit(context.plan, job.url)
        measure = stack.enter_context(measuring(job.url))
        review = review_of(context, lint, database(job.url), measure=measure)
        review = with_unmet(with_losses(review, job.url, keep), job.url)
        return context, _with_downgrades(rehearse(review), context.history, lint)


def _with_downgrades(review: PlanReview, history: History, lint: Settings) -> PlanReview:
    """Return the review with a finding for each revision whose rehearsed downgrade does not restore the schema.

    The finding belongs to the rehearsal's result, so that the digest of an update without a rehearsal is the same.
    """
    severity = lint.severity("irreversible-downgrade")
    if severity is None or review.direction != Direction.UPGRADE or not review.rehearsed:
        return review
    from pulumi_alembic.review.lint.exceptions import LintExceptions

    revisions = []
    for revision in review.revisions:
        if (seen := revision.rehearsed) and (seen.left or seen.way_back.startswith("fails: ")):
            script = history.revisions[revision.id]
            reasons = [
                exception.reason
                for exception in LintExceptions(script.source).all
                if exception.rule == "irreversible-downgrade"
            ]
            subject = f"downgrade() {_left(seen.left) or seen.way_back}"
            suggestion = "# in downgrade(): undo the rest of what upgrade() does"
            reason = redact(reasons[0]) if reasons else ""
            finding = Finding("irreversible-downgrade", severity, f"in the rehearsal {subject}", suggestion, reason)
            revision = replace(revision, rehearsed=replace(seen, findings=(finding,)))
        revisions.append(revision)
    return replace(review, revisions=tuple(revisions))


def _left(lines: Sequence[str], shown: int = 3) -> str:
    """Return what a downgrade leaves and does not restore, from the differences of the catalog."""
    names: dict[str, list[str]] = {"+": [], "-": []}
    for line in lines:
        sign, kind, name = line.split(" ", 3)[:3]
        # An object's owner and privileges differ whenever the object does.
        names[sign] += [f"{kind} {name}"] if kind not in ("owner", "privileges") or len(lines) == 1 else []
    parts = []
    for verb, remaining in (("leaves", names["+"]), ("does not restore", names["-"])):
        parts += [f"{verb} {few(remaining, shown)}"] if remaining else []
    return " and ".join(parts) or (f"changes {' '.join(lines[0].split(' ', 3)[1:3])}" if lines else "")


def review_from_base(job: Job, lint: Settings, current: Sequence[str] = ()) -> tuple[PlanContext, PlanReview]:
    """Return the plan and its review for a database that cannot be read: it does not exist yet, or was at `current`."""
    context = planner.plan_context_from_base(job, current)
    planner.refuse_unfit(context.plan, None)
    return context, review_of(context, lint)


def review_from_artifact(
    artifact: Artifact, directory: Path, target: str, admin: str = "", tell: Callable[[str], None] = lambda text: None
) -> PlanReview:
    """Return the review for a database that an artifact describes. The database is not contacted.

    Args:
        artifact: The schema file.
        directory: The scripts.
        target: `head` or a revision.
        admin: The URL of an admin of any server. If it is given, the plan is rehearsed there.
        tell: Receives the progress of the rehearsal as text.

    Raises:
        HistoryError: The scripts are not one history, or differ from those that were applied.
        TargetError: No plan leads to the target.
        MigrationError: The artifact's catalog is not valid.

    """
    from pulumi_alembic.review.rows_at_risk import at_risk_by_statistics

    context = _artifact_context(artifact, directory, target)
    planner.refuse_unfit(context.plan, None)
    lint = Settings()
    review = review_of(context, lint, artifact.address)
    if context.catalog and review.revisions:
        losses = at_risk_by_statistics(review, context.catalog)
        review = replace(
            review, revisions=tuple(replace(revision, losses=losses[revision.id]) for revision in review.revisions)
        )
    if admin and review.revisions:
        from pulumi_alembic.review.rehearsal import rehearsal_elsewhere

        with rehearsal_elsewhere(artifact, admin, context, tell) as rehearse:
            review = _with_downgrades(rehearse(review), context.history, lint)
    return replace(review, as_of=artifact.written)


def _artifact_context(artifact: Artifact, directory: Path, target: str) -> PlanContext:
    from pulumi_alembic.sql.catalog import Catalog

    history = History.load(directory)
    integrity.check_runs(history, artifact.heads, artifact.runs)
    history.require_manifest()
    steps = plan(history, artifact.heads, history.resolve(target))
    try:
        return planner.PlanContext(steps, history, Catalog.of(artifact.catalog), artifact.server)
    except (AttributeError, KeyError, TypeError, ValueError):
        raise MigrationError("its catalog is not what pulumi-alembic schema writes") from None


def review_of_empty(job: Job, lint: Settings) -> PlanReview | None:
    """Return the review that a preview makes before the database exists. None if the database is not empty."""
    context = planner.read_plan_context(job, catalog=True)
    relations = context.catalog.relations if context.catalog else ()
    if context.plan.current or any(not name.startswith(f"{VERSION_SCHEMA}.") for name in relations):
        return None
    return review_of(planner.PlanContext(context.plan, context.history), lint)


def review_of(
    context: PlanContext,
    lint: Settings,
    database: str = "",
    *,
    static: bool = False,
    measure: Measure = lambda table: None,
) -> PlanReview:
    """Return the effects of the plan's steps on the catalog, and the findings of lint.

    Args:
        context: The plan, the scripts and the catalog.
        lint: The severities of lint.
        database: The database as `HOST:PORT/NAME`. Empty if it does not exist yet.
        static: Whether the catalog describes no real database, so that no table's size is known.
        measure: Returns the size of a table for which the server has no statistics.

    Raises:
        HistoryError: A script cannot be rendered.
        MigrationError: A configured linter cannot be run.

    """
    plan, catalog = context.plan, context.catalog
    about: dict[str, Any] = {"held": tuple(plan.held_lines), "phased": lint.phased}
    if plan.baseline:
        covers = tuple(step.id for step in plan.steps if step.id in plan.covered)
        about["baseline"] = BaselineReview(plan.baseline.revision, plan.baseline.checksum, covers)
    review = PlanReview(revision_text(plan.current), plan.target, plan.direction, database, **about)
    if not plan.steps:
        return review
    from pulumi_alembic.review.lint.linter import Linter
    from pulumi_alembic.review.lint.plan import PlanLint
    from pulumi_alembic.review.rendering import render
    from pulumi_alembic.sql.catalog import Catalog
    from pulumi_alembic.sql.tables import tables

    models: list[Models] = []
    held = tuple(context.history.revisions[id] for id in plan.waits)
    # The models are those of code that needs what waits.
    rendered = render(replace(plan, steps=(*plan.steps, *held)), context.history, models.append)
    texts = tuple(sql for script in rendered[: len(plan.steps)] for sql, _ in script.statements)
    linter = Linter(lint, catalog, plan.direction, texts, static, measure)
    known = not any(script.runs_python for script in rendered)
    linted = PlanLint.of(linter, plan, context.history, models, known=known, server=context.server)
    later = tuple(sql for script in rendered[len(plan.steps) :] for sql, _ in script.statements)
    linted = replace(linted, later=later)
    revisions, after = _revisions(plan, rendered[: len(plan.steps)], catalog, linted)
    return replace(review, revisions=revisions, tables=tables(catalog or Catalog(), after or Catalog()))


def with_losses(review: PlanReview, url: str, keep: bool) -> PlanReview:
    """Return the review with the amount of data that each revision deletes or, with `keep`, preserves."""
    if not review.revisions:
        return review
    from pulumi_alembic.review.rows_at_risk import at_risk, with_preserved

    risks = at_risk(url, review, apart=keep)
    texts = {id: tuple(loss.text for loss in risk) for id, risk in risks.items()}
    revisions = (replace(revision, losses=texts.get(revision.id, ())) for revision in review.revisions)
    return with_preserved(replace(review, revisions=tuple(revisions)), url, risks if keep else {})


def database(url: str) -> str:
    """Return the database of a URL as `HOST:PORT/NAME`."""
    parts = urlsplit(url)
    [host, *_] = parse_qs(parts.query).get("host", ["localhost"])
    return f"{parts.hostname or host}:{parts.port or 5432}{parts.path}"


def _revisions(
    plan: Plan, rendered: tuple[Rendered, ...], catalog: Catalog | None, linted: PlanLint
) -> tuple[tuple[RevisionReview, ...], Catalog | None]:
    """Return the reviews of the revisions, and the catalog after them as far as their SQL is known."""
    from pulumi_alembic.sql.effects import play

    relations = catalog.relations if catalog else {}
    reviews = []
    for step, does in zip(plan.steps, rendered, strict=True):
        lint = linted.revision(step, catalog)
        statements = []
        for (sql, outside), line in zip(does.statements, does.lines, strict=True):
            parsed, behind = play(sql, catalog)
            locks = tuple(replace(lock, new=lock.table not in relations) for lock in parsed.locks)
            findings = lint.statement(sql, line, parsed, catalog, outside=outside)
            statements.append(StatementReview(redact(sql), outside, replace(parsed, locks=locks), findings))
            catalog = behind
        if does.runs_python and catalog:
            catalog = replace(catalog, complete=False)
        about = (step.id, step.message, f"{step.folder.name}/{step.file}", step.checksum, plan.direction)
        findings = lint.whole(does.statements, does.runs_python, linted.of_plan(step, catalog))
        more: dict[str, Any] = {"from_ledger": step.is_stored, "proven_by": linted.proven_by(step)}
        more["waited"] = linted.waited(step)
        if plan.direction is Direction.UPGRADE:
            more |= {"phase": step.phase if step.phase == CONTRACT else "", "breaks": tuple(map(redact, lint.breaks))}
        reviews.append(RevisionReview(*about, does.runs_python, tuple(statements), findings, **more))
    return tuple(reviews), catalog
