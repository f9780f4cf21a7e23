"""Lint scripts without a database, for the command `pulumi-alembic lint` and for continuous integration."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from pulumi_alembic.errors import PolicyError, TargetError
from pulumi_alembic.migrate.planner import PlanContext
from pulumi_alembic.review.build import review_of
from pulumi_alembic.review.lint import Settings
from pulumi_alembic.review.lint.rules import BROKEN
from pulumi_alembic.review.plan_review import Finding, PlanReview, RevisionReview, Severity
from pulumi_alembic.scripts.history import History
from pulumi_alembic.scripts.plan import Direction, Plan, revision_text
from pulumi_alembic.sql.catalog import Catalog

__all__ = ["Placed", "broken", "lint_scripts", "settings_of"]


@dataclass(frozen=True)
class Placed:
    """A finding with its file and the direction of the revision that it is about."""

    file: str
    direction: str
    finding: Finding

    @property
    def document(self) -> dict[str, str]:
        """The finding as JSON values."""
        return {"file": self.file, "direction": self.direction, **asdict(self.finding)}

    @property
    def text(self) -> str:
        """The finding as text, followed by the suggestion."""
        finding = self.finding
        excused = f" (allowed: {finding.excused})" if finding.excused else ""
        instead = "" if excused else "".join(f"\n    {line}" for line in finding.suggestion.splitlines())
        return f"{self.file}: {self.direction}: {finding.severity} {finding.rule}: {finding.message}{excused}{instead}"

    def reaches(self, limit: str) -> bool:
        """Return whether the severity is `limit` or higher, and the script has no exception for it."""
        order = list(Severity)
        return not self.finding.excused and order.index(self.finding.severity) <= order.index(Severity(limit))


def settings_of(severities: Iterable[str]) -> Settings:
    """Return the settings from `RULE=SEVERITY` arguments. Raises PolicyError if one is not valid."""
    words = [setting.partition("=") for setting in severities]
    for rule, equals, severity in words:
        if not equals:
            raise PolicyError(f"{rule!r} is not RULE=SEVERITY, such as truncate=error{severity}")
    return Settings.parse({rule: severity for rule, _, severity in words})


def lint_scripts(directory: Path, revisions: Iterable[str], settings: Settings) -> list[Placed]:
    """Return the findings in the upgrades and downgrades of scripts. No size of a table is known.

    Args:
        directory: The scripts.
        revisions: The revisions whose findings are returned. Empty for all.
        settings: The severities.

    Raises:
        TargetError: A revision is not in the scripts.
        HistoryError: The scripts are not one history.

    """
    history = History.load(directory)
    selected = set(revisions)
    for revision_id in sorted(selected - history.revisions.keys()):
        raise TargetError(f"the scripts have no revision {revision_id!r}. Lint all of them: pulumi-alembic lint")
    ups = tuple(history.revisions.values())
    heads = revision_text(history.heads)
    up = review_of(PlanContext(Plan((), heads, Direction.UPGRADE, ups), history, Catalog()), settings, static=True)
    back = Plan(history.heads, "base", Direction.DOWNGRADE, ups[::-1])
    down = review_of(PlanContext(back, history, _built(up)), settings, static=True)
    placed = list(_placed(up, selected))
    failed = {finding.finding for finding in placed if finding.finding.rule == BROKEN}
    return [*placed, *(finding for finding in _placed(down, selected) if finding.finding not in failed)]


def broken(plan: Plan, history: History) -> list[Placed]:
    """Return the statements of the plan that PostgreSQL's parser rejects and that have no exception."""
    review = review_of(PlanContext(plan, history, Catalog()), Settings.parse({}), static=True)
    return [
        finding
        for finding in _placed(review, set())
        if finding.finding.rule == "syntax-error" and finding.reaches("error")
    ]


def _built(up: PlanReview) -> Catalog:
    """Return the catalog after all revisions."""
    from pulumi_alembic.sql.effects import after

    catalog = Catalog()
    for revision in up.revisions:
        for statement in revision.statements:
            catalog = after(statement.sql, catalog)
        if revision.runs_python:
            catalog = Catalog(catalog.relations, complete=False)
    return catalog


def _placed(review: PlanReview, wanted: set[str]) -> Iterator[Placed]:
    for revision in review.revisions:
        for finding in _findings(revision):
            # A rule that failed does not run again, so its failure matters for every revision.
            meant = not wanted or revision.id in wanted or finding.rule == BROKEN
            # A downgrade is expected to drop what its upgrade created. Only the database shows whether rows are lost.
            if meant and (revision.direction, finding.rule) != (Direction.DOWNGRADE, "destroys-data"):
                yield Placed(revision.file, revision.direction, finding)


def _findings(revision: RevisionReview) -> Iterator[Finding]:
    for statement in revision.statements:
        yield from statement.findings
    yield from revision.findings
