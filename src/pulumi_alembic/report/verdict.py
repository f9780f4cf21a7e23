"""What to think of a preview, in one line and one word."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from enum import StrEnum

from pulumi_alembic.account import WAY_BACK, Severity
from pulumi_alembic.report import facts
from pulumi_alembic.report.preview import Preview

__all__ = ["Level", "Verdict", "counted", "judge"]


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


def counted(number: int, word: str) -> str:
    """`1 revision`, `2 revisions`."""
    return f"{number:,} {word}" if number == 1 else f"{number:,} {word}s"


def _verdict(level: Level, symbol: str, said: list[str], advice: str, counts: dict[str, int]) -> Verdict:
    text = ", ".join(said)
    return Verdict(level, symbol, f"{text[:1].upper()}{text[1:]}: {advice}", counts)


def _counts(preview: Preview) -> dict[str, int]:
    placed = [each.finding for each in facts.findings(preview)]
    severities = Counter(finding.severity for finding in placed if not finding.excused)
    # Several plans of one resource may have a revision in common.
    pending = {(planned.urn, each.id): each for planned, each in facts.revisions(preview)}.values()
    seen = [(planned.urn, each.id, each.rehearsed) for planned, each in facts.revisions(preview) if each.rehearsed]
    return {
        "errors": severities[Severity.ERROR] + sum(each.severity == "error" for each in preview.diagnostics),
        "warnings": severities[Severity.WARNING],
        "infos": severities[Severity.INFO],
        "excused": sum(bool(finding.excused) for finding in placed),
        "steps": len(preview.steps),
        "unchanged": preview.unchanged,
        "deleted": facts.gone(preview, "delete"),
        "replaced": facts.gone(preview, "replace", "delete-replaced"),
        "revisions": len(pending),
        "opaque": sum(facts.is_opaque(revision) for revision in pending),
        "failing": len({each[:2] for each in seen if each[2].refused}),
        "doubtful": len({each[:2] for each in seen if each[2].doubt}),
        "astray": len({each[:2] for each in seen if each[2].way_back not in ("", WAY_BACK)}),
        "statements": sum(len(revision.statements) for revision in pending),
        "destroys": sum(not loss.unknown for loss in facts.losses(preview)),
        "unknown": sum(loss.unknown for loss in facts.losses(preview)),
        "drift": sum(len(each.drift) for each in preview.plans),
        "without_plan": sum(each.account is None for each in preview.plans),
    }


def _rehearsed(counts: dict[str, int]) -> list[str]:
    said = [f"{counted(counts['failing'], 'revision')} failed in the rehearsal"] if counts["failing"] else []
    if counts["doubtful"]:
        said.append(f"{counted(counts['doubtful'], 'revision')} failed in the rehearsal, and can succeed with rows")
    number = counts["astray"]
    return said + ([f"{counted(number, 'way')} back lead{'s' * (number == 1)} elsewhere"] if number else [])


def _gone(preview: Preview, counts: dict[str, int]) -> list[str]:
    lost = [" ".join(loss.what.split())[:80] for loss in facts.losses(preview) if not loss.unknown]
    more = f" and {len(lost) - 1:,} more" if len(lost) > 1 else ""
    said = [f"destroys {lost[0]}{more}"] if lost else []
    numbers = ((counts["deleted"], "deletes"), (counts["replaced"], "replaces"))
    return said + [f"{verb} {counted(number, 'resource')}" for number, verb in numbers if number]


def _unknown(counts: dict[str, int]) -> list[str]:
    said = [f"{counted(counts['opaque'], 'revision')} of unknown SQL"] if counts["opaque"] else []
    said += [f"{counted(counts['unknown'], 'unknown effect')}"] if counts["unknown"] else []
    return said + (["revisions not known"] if counts["without_plan"] else [])
