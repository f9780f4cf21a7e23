"""Facts of a preview, and the verdict on it. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from pulumi_alembic.output.wording import counted
from pulumi_alembic.review.plan_review import RESTORES, Finding, RevisionReview, Severity, StatementReview
from pulumi_alembic.review.report.preview import MIGRATIONS, STACK, Planned, Preview
from pulumi_alembic.sql.locks import MODES

__all__ = [
    "Level",
    "Loss",
    "Placed",
    "TableFacts",
    "Verdict",
    "counted",
    "findings",
    "gone",
    "is_opaque",
    "judge",
    "kept",
    "losses",
    "restored",
    "revisions",
    "strength",
    "tables",
]


@dataclass(frozen=True)
class Placed:
    """A finding with its place. `statement` counts from 1. It is 0 for a finding about the whole revision."""

    finding: Finding
    resource: str
    revision: str
    statement: int


@dataclass(frozen=True)
class Loss:
    """Data that will be lost.

    Attributes:
        what: The data.
        resource: The resource.
        revision: The revision that deletes it. Empty if a change of the infrastructure does.
        unknown: Whether the SQL does not show what the revision does. It can then delete data or not.

    """

    what: str
    resource: str
    revision: str = ""
    unknown: bool = False


@dataclass(frozen=True)
class TableFacts:
    """The strongest lock on a table, its first revision, and whether the table is rewritten or scanned."""

    table: str
    mode: str = ""
    revision: str = ""
    rewritten: bool = False
    scanned: bool = False


def revisions(preview: Preview) -> Iterator[tuple[Planned, RevisionReview]]:
    """Return every pending revision with its resource."""
    for planned in preview.plans:
        if planned.review is not None:
            yield from ((planned, revision) for revision in planned.review.revisions)


def is_opaque(revision: RevisionReview) -> bool:
    """Return whether only the update shows what the revision does: it runs Python and was not rehearsed."""
    return bool(revision.runs_python) and not revision.sends and not revision.rehearsed


def findings(preview: Preview) -> list[Placed]:
    """Return all findings, the most severe first, those with an exception last."""
    placed = [
        Placed(finding, planned.name, revision.id, number)
        for planned, revision in revisions(preview)
        for number, found_there in enumerate(
            [
                (*revision.findings, *(revision.rehearsed.findings if revision.rehearsed else ())),
                *(statement.findings for statement in revision.statements),
            ]
        )
        for finding in found_there
    ]
    order = list(Severity)
    # Several plans of one resource may have a revision in common.
    return sorted(
        dict.fromkeys(placed),
        key=lambda finding: (bool(finding.finding.excused), order.index(finding.finding.severity)),
    )


def losses(preview: Preview) -> list[Loss]:
    """Return what will be lost: dropped databases, then what revisions delete, then unknown effects."""
    dropped = [Loss(f"database {step.drops} with all its rows", step.name) for step in preview.steps if step.drops]
    destroyed = [
        Loss(item, planned.name, revision.id)
        for planned, revision, statement in _statements(preview)
        for item in statement.does.destroys
    ]
    unknown = [
        Loss(item, planned.name, revision.id, unknown=True)
        for planned, revision, statement in _statements(preview)
        for item in statement.does.unknown
    ]
    counted = [
        Loss(lost, planned.name, revision.id) for planned, revision in revisions(preview) for lost in revision.losses
    ]
    return list(dict.fromkeys([*dropped, *counted, *destroyed, *unknown]))


def kept(preview: Preview) -> list[tuple[str, str]]:
    """Return what the revisions preserve, each with its revision."""
    return [(preserved, revision.id) for _, revision in revisions(preview) for preserved in revision.keeps]


def restored(preview: Preview) -> list[tuple[str, str]]:
    """Return what the revisions restore, each with its revision."""
    return [(name, revision.id) for _, revision in revisions(preview) for name in revision.puts_back]


def gone(preview: Preview, *ops: str) -> int:
    """Return how many resources have an operation of `ops`, without those that hold no data.

    Migrations resources, stacks and providers hold none.
    """
    rows = {
        step.urn
        for step in preview.steps
        if step.op in ops and step.type not in (MIGRATIONS, STACK) and not step.type.startswith("pulumi:providers:")
    }
    return len(rows)


def tables(preview: Preview) -> list[TableFacts]:
    """Return the facts of each table, the strongest lock first, without tables and databases that do not exist yet."""
    by_name: dict[str, TableFacts] = {}
    for planned, revision, statement in _statements(preview):
        if planned.review is None or not planned.review.database:
            continue
        effects = statement.does
        new = {lock.table for lock in effects.locks if lock.new}
        for lock in effects.locks:
            if lock.new:
                continue
            facts = by_name.get(lock.table, TableFacts(lock.table))
            stronger = facts.mode == "" or strength(lock.mode) > strength(facts.mode)
            mode, by = (lock.mode, revision.id) if stronger else (facts.mode, facts.revision)
            by_name[lock.table] = TableFacts(lock.table, mode, by, facts.rewritten, facts.scanned)
        for table in dict.fromkeys([*effects.rewrites, *effects.scans]):
            if table in new:
                continue
            facts = by_name.get(table, TableFacts(table, revision=revision.id))
            rewritten, scanned = facts.rewritten or table in effects.rewrites, facts.scanned or table in effects.scans
            by_name[table] = TableFacts(table, facts.mode, facts.revision, rewritten, scanned)
    return sorted(by_name.values(), key=lambda held: -strength(held.mode))


def strength(mode: str) -> int:
    """Return the rank of a lock mode. An unknown mode is the strongest, an empty one the weakest."""
    if not mode:
        return -1
    return MODES.index(mode) if mode in MODES else len(MODES)


def _statements(preview: Preview) -> Iterator[tuple[Planned, RevisionReview, StatementReview]]:
    for planned, revision in revisions(preview):
        yield from ((planned, revision, statement) for statement in revision.sends)


class Level(StrEnum):
    """The level of a verdict. An ERROR is a failed preview or an error in it. A WARNING is for a person to decide."""

    OK = "ok"
    WARNING = "warning"
    ERROR = "error"

    def reaches(self, limit: str) -> bool:
        """Return whether this level is `limit` or higher."""
        order = list(Level)
        return order.index(self) >= order.index(Level(limit))


@dataclass(frozen=True)
class Verdict:
    """The verdict on a preview: its level, its symbol and text of one line, and the counts behind it."""

    level: Level
    symbol: str
    text: str
    counts: dict[str, int]


def judge(preview: Preview) -> Verdict:
    """Return the verdict on a preview.

    An error is a failed preview, a finding of severity error, or a revision that the server rejected in its rehearsal.
    Warnings are lost data, deleted or replaced resources, unknown effects, drift, and two results of a rehearsal: a
    failure that rows can change, and a downgrade that does not restore the schema. Warnings of the preview itself do
    not count, because they are often about the machine it ran on.
    """
    counts = _counts(preview)
    reasons = ["the preview failed"] if preview.failed else []
    reasons += [
        counted(counts[key], word) for key, word in (("errors", "error"), ("warnings", "warning")) if counts[key]
    ]
    gone = _gone(preview, counts)
    unknown = _unknown(counts)
    reasons += _rehearsed(counts)
    reasons += [f"drift in {counted(counts['drift'], 'place')}"] if counts["drift"] else []
    if counts["errors"] or counts["failing"]:
        return _verdict(Level.ERROR, "⛔", [*reasons, *gone, *unknown], "do not merge as it is", counts)
    if gone:
        return _verdict(Level.WARNING, "🗑️", [*gone, *reasons, *unknown], "read on before you merge", counts)
    if reasons or unknown:
        return _verdict(Level.WARNING, "⚠️", [*reasons, *unknown], "read on before you merge", counts)
    if not counts["steps"] and not counts["revisions"]:
        return Verdict(Level.OK, "✅", "Nothing to change", counts)
    work = [f"{counted(counts['revisions'], 'revision')} to run"] if counts["revisions"] else []
    others = counts["steps"] - (preview.planned if counts["revisions"] else 0)
    work += [f"{counted(others, 'resource')} to change"] if others > 0 else []
    return _verdict(Level.OK, "✅", work, "no objections", counts)


def _verdict(level: Level, symbol: str, said: list[str], advice: str, counts: dict[str, int]) -> Verdict:
    text = ", ".join(said)
    return Verdict(level, symbol, f"{text[:1].upper()}{text[1:]}: {advice}", counts)


def _counts(preview: Preview) -> dict[str, int]:
    placed = [finding.finding for finding in findings(preview)]
    severities = Counter(finding.severity for finding in placed if not finding.excused)
    # Several plans of one resource may have a revision in common.
    pending = {(planned.urn, revision.id): revision for planned, revision in revisions(preview)}.values()
    seen = [
        (planned.urn, revision.id, revision.rehearsed) for planned, revision in revisions(preview) if revision.rehearsed
    ]
    return {
        "errors": severities[Severity.ERROR]
        + sum(diagnostic.severity == "error" for diagnostic in preview.diagnostics),
        "warnings": severities[Severity.WARNING],
        "infos": severities[Severity.INFO],
        "excused": sum(bool(finding.excused) for finding in placed),
        "steps": len(preview.steps),
        "unchanged": preview.unchanged,
        "deleted": gone(preview, "delete"),
        "replaced": gone(preview, "replace", "delete-replaced"),
        "revisions": len(pending),
        "opaque": sum(is_opaque(revision) for revision in pending),
        "failing": len({item[:2] for item in seen if item[2].refused}),
        "doubtful": len({item[:2] for item in seen if item[2].doubt}),
        "astray": len({item[:2] for item in seen if item[2].way_back not in ("", RESTORES)}),
        "statements": sum(len(revision.statements) for revision in pending),
        "destroys": sum(not loss.unknown for loss in losses(preview)),
        "unknown": sum(loss.unknown for loss in losses(preview)),
        "drift": sum(len(plan.drift) for plan in preview.plans),
        "without_plan": sum(plan.review is None for plan in preview.plans),
    }


def _rehearsed(counts: dict[str, int]) -> list[str]:
    reasons = [f"{counted(counts['failing'], 'revision')} failed in the rehearsal"] if counts["failing"] else []
    if counts["doubtful"]:
        reasons.append(f"{counted(counts['doubtful'], 'revision')} failed in the rehearsal, and can succeed with rows")
    number = counts["astray"]
    return reasons + (
        [f"{counted(number, 'downgrade')} do{'es' * (number == 1)} not restore the schema"] if number else []
    )


def _gone(preview: Preview, counts: dict[str, int]) -> list[str]:
    lost = [" ".join(loss.what.split())[:80] for loss in losses(preview) if not loss.unknown]
    more = f" and {len(lost) - 1:,} more" if len(lost) > 1 else ""
    reasons = [f"deletes {lost[0]}{more}"] if lost else []
    numbers = ((counts["deleted"], "deletes"), (counts["replaced"], "replaces"))
    return reasons + [f"{verb} {counted(number, 'resource')}" for number, verb in numbers if number]


def _unknown(counts: dict[str, int]) -> list[str]:
    reasons = [f"{counted(counts['opaque'], 'revision')} of unknown SQL"] if counts["opaque"] else []
    reasons += [f"{counted(counts['unknown'], 'unknown effect')}"] if counts["unknown"] else []
    return reasons + (["revisions not known"] if counts["without_plan"] else [])
