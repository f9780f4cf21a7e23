"""The lint of a project's scripts without a database: for whoever writes one, and for continuous integration."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from pulumi_alembic.errors import PolicyError, TargetError
from pulumi_alembic.migrate.planner import Looked
from pulumi_alembic.review.build import account_of
from pulumi_alembic.review.lint import Settings
from pulumi_alembic.review.lint.rules import BROKEN
from pulumi_alembic.review.plan_review import Account, Finding, RevisionAccount, Severity
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
        found = self.finding
        excused = f" (allowed: {found.excused})" if found.excused else ""
        instead = "" if excused else "".join(f"\n    {line}" for line in found.suggestion.splitlines())
        return f"{self.file}: {self.direction}: {found.severity} {found.rule}: {found.message}{excused}{instead}"

    def reaches(self, limit: str) -> bool:
        """Whether it is as bad as `limit` or worse, and nobody excused it."""
        order = list(Severity)
        return not self.finding.excused and order.index(self.finding.severity) <= order.index(Severity(limit))


def settings_of(severities: Iterable[str]) -> Settings:
    """The settings from `RULE=SEVERITY` words. Raises PolicyError."""
    words = [each.partition("=") for each in severities]
    for rule, equals, severity in words:
        if not equals:
            raise PolicyError(f"{rule!r} is not RULE=SEVERITY, such as truncate=error{severity}")
    return Settings.parse({rule: severity for rule, _, severity in words})


def lint_scripts(directory: Path, revisions: Iterable[str], settings: Settings) -> list[Placed]:
    """What lint finds in these revisions, else in all, up and down; no table's size is known.

    Raises TargetError for a revision that there is not, and HistoryError where the scripts are not one history.
    """
    history = History.load(directory)
    wanted = set(revisions)
    for each in sorted(wanted - history.revisions.keys()):
        raise TargetError(f"there is no revision {each!r} in the scripts: pulumi-alembic lint, without it, lints all")
    ups = tuple(history.revisions.values())
    heads = revision_text(history.heads)
    up = account_of(Looked(Plan((), heads, Direction.UPGRADE, ups), history, Catalog()), settings, static=True)
    back = Plan(history.heads, "base", Direction.DOWNGRADE, ups[::-1])
    down = account_of(Looked(back, history, _built(up)), settings, static=True)
    found = list(_placed(up, wanted))
    failed = {each.finding for each in found if each.finding.rule == BROKEN}
    return [*found, *(each for each in _placed(down, wanted) if each.finding not in failed)]


def broken(plan: Plan, history: History) -> list[Placed]:
    """What of the plan's statements PostgreSQL's parser refuses, and no script has an exception for."""
    account = account_of(Looked(plan, history, Catalog()), Settings.parse({}), static=True)
    return [each for each in _placed(account, set()) if each.finding.rule == "syntax-error" and each.reaches("error")]


def _built(up: Account) -> Catalog:
    """What is there once all revisions have run."""
    from pulumi_alembic.sql.effects import after

    catalog = Catalog()
    for revision in up.revisions:
        for statement in revision.statements:
            catalog = after(statement.sql, catalog)
        if revision.runs_python:
            catalog = Catalog(catalog.relations, complete=False)
    return catalog


def _placed(account: Account, wanted: set[str]) -> Iterator[Placed]:
    for revision in account.revisions:
        for finding in _findings(revision):
            # A rule that failed is not asked again, so it has nothing to say of what is wanted either.
            meant = not wanted or revision.id in wanted or finding.rule == BROKEN
            # Every way back from a table destroys it: that is for whoever goes there, and knows the rows.
            if meant and (revision.direction, finding.rule) != (Direction.DOWNGRADE, "destroys-data"):
                yield Placed(revision.file, revision.direction, finding)


def _findings(revision: RevisionAccount) -> Iterator[Finding]:
    for each in revision.statements:
        yield from each.findings
    yield from revision.findings
