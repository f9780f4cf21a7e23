"""What a preview shows, gathered, and the verdict on it in one line and one word. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from pulumi_alembic.output.wording import counted
from pulumi_alembic.review.plan_review import RESTORES, Finding, RevisionAccount, Severity, StatementAccount
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
    "put_back",
    "revisions",
    "strength",
    "tables",
]


@dataclass(frozen=True)
class Placed:
    """A finding, and where: `statement` counts from 1, and is 0 where the finding is about the whole revision."""

    finding: Finding
    resource: str
    revision: str
    statement: int


@dataclass(frozen=True)
class Loss:
    """Something that will be gone, and the revision that destroys it; without one, the infrastructure does.

    `unknown` where it is only what a revision does that its SQL does not show, which may destroy as well as not.
    """

    what: str
    resource: str
    revision: str = ""
    unknown: bool = False


@dataclass(frozen=True)
class TableFacts:
    """The strongest lock on a table, which revision takes it first, and what else is done to the whole table."""

    table: str
    mode: str = ""
    revision: str = ""
    rewritten: bool = False
    scanned: bool = False


def revisions(preview: Preview) -> Iterator[tuple[Planned, RevisionAccount]]:
    """Every pending revision, with its resource."""
    for planned in preview.plans:
        if planned.account is not None:
            yield from ((planned, revision) for revision in planned.account.revisions)


def is_opaque(revision: RevisionAccount) -> bool:
    """Whether nobody can know before the update what the revision does: it runs Python, and was not rehearsed."""
    return bool(revision.runs_python) and not revision.sends and not revision.rehearsed


def findings(preview: Preview) -> list[Placed]:
    """Every finding, the worst first, and those that the scripts excuse at the end."""
    found = [
        Placed(finding, planned.name, revision.id, number)
        for planned, revision in revisions(preview)
        for number, found_there in enumerate(
            [
                (*revision.findings, *(revision.rehearsed.findings if revision.rehearsed else ())),
                *(each.findings for each in revision.statements),
            ]
        )
        for finding in found_there
    ]
    order = list(Severity)
    # Several plans of one resource may have a revision in common.
    return sorted(
        dict.fromkeys(found), key=lambda each: (bool(each.finding.excused), order.index(each.finding.severity))
    )


def losses(preview: Preview) -> list[Loss]:
    """What will be gone: databases that are dropped with their resources, what the revisions destroy, then unknowns."""
    dropped = [Loss(f"database {step.drops} with all its rows", step.name) for step in preview.steps if step.drops]
    destroyed = [
        Loss(what, planned.name, revision.id)
        for planned, revision, statement in _statements(preview)
        for what in statement.does.destroys
    ]
    unknown = [
        Loss(what, planned.name, revision.id, unknown=True)
        for planned, revision, statement in _statements(preview)
        for what in statement.does.unknown
    ]
    counted = [Loss(what, planned.name, each.id) for planned, each in revisions(preview) for what in each.losses]
    return list(dict.fromkeys([*dropped, *counted, *destroyed, *unknown]))


def kept(preview: Preview) -> list[tuple[str, str]]:
    """What the revisions set aside, each with its revision."""
    return [(what, each.id) for _, each in revisions(preview) for what in each.keeps]


def put_back(preview: Preview) -> list[tuple[str, str]]:
    """What the revisions put back, each with its revision."""
    return [(what, each.id) for _, each in revisions(preview) for what in each.puts_back]


def gone(preview: Preview, *ops: str) -> int:
    """How many resources one of `ops` is done to; migrations resources and providers hold nothing, and do not count."""
    found = {
        step.urn
        for step in preview.steps
        if step.op in ops and step.type not in (MIGRATIONS, STACK) and not step.type.startswith("pulumi:providers:")
    }
    return len(found)


def tables(preview: Preview) -> list[TableFacts]:
    """One entry per table, the strongest lock first; none for a table or a database that is yet to be made."""
    found: dict[str, TableFacts] = {}
    for planned, revision, statement in _statements(preview):
        if planned.account is None or not planned.account.database:
            continue
        effects = statement.does
        made = {lock.table for lock in effects.locks if lock.new}
        for lock in effects.locks:
            if lock.new:
                continue
            known = found.get(lock.table, TableFacts(lock.table))
            stronger = known.mode == "" or strength(lock.mode) > strength(known.mode)
            mode, by = (lock.mode, revision.id) if stronger else (known.mode, known.revision)
            found[lock.table] = TableFacts(lock.table, mode, by, known.rewritten, known.scanned)
        for table in dict.fromkeys([*effects.rewrites, *effects.scans]):
            if table in made:
                continue
            known = found.get(table, TableFacts(table, revision=revision.id))
            rewritten, scanned = known.rewritten or table in effects.rewrites, known.scanned or table in effects.scans
            found[table] = TableFacts(table, known.mode, known.revision, rewritten, scanned)
    return sorted(found.values(), key=lambda each: -strength(each.mode))


def strength(mode: str) -> int:
    """A mode that is not known counts as the strongest; none at all as the weakest."""
    if not mode:
        return -1
    return MODES.index(mode) if mode in MODES else len(MODES)


def _statements(preview: Preview) -> Iterator[tuple[Planned, RevisionAccount, StatementAccount]]:
    for planned, revision in revisions(preview):
        yield from ((planned, revision, statement) for statement in revision.sends)


class Level(StrEnum):
    """An ERROR is a preview that failed or a finding of that severity; a WARNING is for a person to decide."""

    OK = "ok"
    WARNING = "warning"
    ERROR = "error"

    def reaches(self, limit: str) -> bool:
        """Whether this is as bad as `limit` or worse."""
        order = list(Level)
        return order.index(self) >= order.index(Level(limit))


@dataclass(frozen=True)
class Verdict:
    """The level, what stands for it in one line of plain text, and the numbers behind it."""

    level: Level
    symbol: str
    text: str
    counts: dict[str, int]


def judge(preview: Preview) -> Verdict:
    """The verdict; a preview's own warnings do not count, as they are often about the machine it ran on.

    A revision that the server refused in its rehearsal is an error. One that can have failed because no table has rows
    there is a warning, and so is a downgrade that restores another schema. What destroys data,
    deletes or replaces a resource, or cannot be known before the update, is a warning at least, and so is drift.
    """
    counts = _counts(preview)
    said = ["the preview failed"] if preview.failed else []
    said += [counted(counts[key], word) for key, word in (("errors", "error"), ("warnings", "warning")) if counts[key]]
    gone = _gone(preview, counts)
    unknown = _unknown(counts)
    said += _rehearsed(counts)
    said += [f"drift in {counted(counts['drift'], 'place')}"] if counts["drift"] else []
    if counts["errors"] or counts["failing"]:
        return _verdict(Level.ERROR, "⛔", [*said, *gone, *unknown], "do not merge as it is", counts)
    if gone:
        return _verdict(Level.WARNING, "🗑️", [*gone, *said, *unknown], "read on before you merge", counts)
    if said or unknown:
        return _verdict(Level.WARNING, "⚠️", [*said, *unknown], "read on before you merge", counts)
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
    placed = [each.finding for each in findings(preview)]
    severities = Counter(finding.severity for finding in placed if not finding.excused)
    # Several plans of one resource may have a revision in common.
    pending = {(planned.urn, each.id): each for planned, each in revisions(preview)}.values()
    seen = [(planned.urn, each.id, each.rehearsed) for planned, each in revisions(preview) if each.rehearsed]
    return {
        "errors": severities[Severity.ERROR] + sum(each.severity == "error" for each in preview.diagnostics),
        "warnings": severities[Severity.WARNING],
        "infos": severities[Severity.INFO],
        "excused": sum(bool(finding.excused) for finding in placed),
        "steps": len(preview.steps),
        "unchanged": preview.unchanged,
        "deleted": gone(preview, "delete"),
        "replaced": gone(preview, "replace", "delete-replaced"),
        "revisions": len(pending),
        "opaque": sum(is_opaque(revision) for revision in pending),
        "failing": len({each[:2] for each in seen if each[2].refused}),
        "doubtful": len({each[:2] for each in seen if each[2].doubt}),
        "astray": len({each[:2] for each in seen if each[2].way_back not in ("", RESTORES)}),
        "statements": sum(len(revision.statements) for revision in pending),
        "destroys": sum(not loss.unknown for loss in losses(preview)),
        "unknown": sum(loss.unknown for loss in losses(preview)),
        "drift": sum(len(each.drift) for each in preview.plans),
        "without_plan": sum(each.account is None for each in preview.plans),
    }


def _rehearsed(counts: dict[str, int]) -> list[str]:
    said = [f"{counted(counts['failing'], 'revision')} failed in the rehearsal"] if counts["failing"] else []
    if counts["doubtful"]:
        said.append(f"{counted(counts['doubtful'], 'revision')} failed in the rehearsal, and can succeed with rows")
    number = counts["astray"]
    return said + (
        [f"{counted(number, 'downgrade')} do{'es' * (number == 1)} not restore the schema"] if number else []
    )


def _gone(preview: Preview, counts: dict[str, int]) -> list[str]:
    lost = [" ".join(loss.what.split())[:80] for loss in losses(preview) if not loss.unknown]
    more = f" and {len(lost) - 1:,} more" if len(lost) > 1 else ""
    said = [f"deletes {lost[0]}{more}"] if lost else []
    numbers = ((counts["deleted"], "deletes"), (counts["replaced"], "replaces"))
    return said + [f"{verb} {counted(number, 'resource')}" for number, verb in numbers if number]


def _unknown(counts: dict[str, int]) -> list[str]:
    said = [f"{counted(counts['opaque'], 'revision')} of unknown SQL"] if counts["opaque"] else []
    said += [f"{counted(counts['unknown'], 'unknown effect')}"] if counts["unknown"] else []
    return said + (["revisions not known"] if counts["without_plan"] else [])
