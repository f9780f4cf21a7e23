"""The lint of a project's scripts without a database: for whoever writes one, and for continuous integration."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from pulumi_alembic.errors import PolicyError, TargetError
from pulumi_alembic.migrate.planner import Looked
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
    """A finding, the file that it is in, and which way of the revision it is about."""

    file: str
    direction: str
    finding: Finding

    @property
    def document(self) -> dict[str, str]:
        """As JSON values."""
        return {"file": self.file, "direction": self.direction, **asdict(self.finding)}

    @property
    def text(self) -> str:
        """The finding as a person reads it, with what to write instead below."""
        finding = self.finding
        excused = f" (allowed: {finding.excused})" if finding.excused else ""
        instead = "" if excused else "".join(f"\n    {line}" for line in finding.suggestion.splitlines())
        return f"{self.file}: {self.direction}: {finding.severity} {finding.rule}: {finding.message}{excused}{instead}"

    def reaches(self, limit: str) -> bool:
        """Whether it is as bad as `limit` or worse, and nobody allowed it."""
        order = list(Severity)
        return not self.finding.excused and order.index(self.finding.severity) <= order.index(Severity(limit))


def settings_of(severities: Iterable[str]) -> Settings:
    """The settings from `RULE=SEVERITY` words. Raises PolicyError."""
    words = [setting.partition("=") for setting in severities]
    for rule, equals, severity in words:
        if not equals:
            raise PolicyError(f"{rule!r} is not RULE=SEVERITY, such as truncate=error{severity}")
    return Settings.parse({rule: severity for rule, _, severity in words})


def lint_scripts(directory: Path, revisions: Iterable[str], settings: Settings) -> list[Placed]:
    """What lint finds in these revisions, else in all, up and down; no table's size is known.

    Raises TargetError for a revision that there is not, and HistoryError where the scripts are not one history.
    """
    history = History.load(directory)
    selected = set(revisions)
    for revision_id in sorted(selected - history.revisions.keys()):
        raise TargetError(
            f"there is no revision {revision_id!r} in the scripts: pulumi-alembic lint, without it, lints all"
        )
    ups = tuple(history.revisions.values())
    heads = revision_text(history.heads)
    up = review_of(Looked(Plan((), heads, Direction.UPGRADE, ups), history, Catalog()), settings, static=True)
    back = Plan(history.heads, "base", Direction.DOWNGRADE, ups[::-1])
    down = review_of(Looked(back, history, _built(up)), settings, static=True)
    placed = list(_placed(up, selected))
    failed = {finding.finding for finding in placed if finding.finding.rule == BROKEN}
    return [*placed, *(finding for finding in _placed(down, selected) if finding.finding not in failed)]


def broken(plan: Plan, history: History) -> list[Placed]:
    """What of the plan's statements PostgreSQL's parser refuses, and no script has an exception for."""
    review = review_of(Looked(plan, history, Catalog()), Settings.parse({}), static=True)
    return [
        finding
        for finding in _placed(review, set())
        if finding.finding.rule == "syntax-error" and finding.reaches("error")
    ]


def _built(up: PlanReview) -> Catalog:
    """What is there once all revisions have run."""
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
            # A rule that failed is not asked again, so it has nothing to say of what is wanted either.
            meant = not wanted or revision.id in wanted or finding.rule == BROKEN
            # Every downgrade from a table destroys it: that is for whoever goes there, and knows the rows.
            if meant and (revision.direction, finding.rule) != (Direction.DOWNGRADE, "destroys-data"):
                yield Placed(revision.file, revision.direction, finding)


def _findings(revision: RevisionReview) -> Iterator[Finding]:
    for statement in revision.statements:
        yield from statement.findings
    yield from revision.findings
