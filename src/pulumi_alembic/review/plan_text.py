"""A plan as a preview prints it: a short summary, and the SQL with comments. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from pulumi_alembic.output.printable import printable
from pulumi_alembic.output.wording import counted, few
from pulumi_alembic.review.plan_review import RESTORES, PlanReview, Rehearsed, RevisionReview, Severity, StatementReview
from pulumi_alembic.scripts.plan import Direction
from pulumi_alembic.sql.assertions import message_of
from pulumi_alembic.sql.locks import MODES, Effects, Lock
from pulumi_alembic.sql.outside_transaction import backfilled

__all__ = ["phase_lines", "statements", "summary"]

_SHOWN = 20
_ARROWS = {Direction.UPGRADE: "↑", Direction.DOWNGRADE: "↓"}
_LABEL = 9  # characters, of the longest label


def summary(review: PlanReview) -> list[str]:
    """Return a line for each revision, followed by its effects. If there are many, the middle ones are counted.

    Revisions that a baseline covers are left out.
    """
    if review.held and not review.revisions:
        return list(review.held)
    first, last = review.runs, review.runs[:0]
    hidden = len(first) - 2 * _SHOWN
    if hidden > 1:
        first, last = first[:_SHOWN], first[-_SHOWN:]
    lines = [line for revision in first for line in _revision(revision)]
    lines += [f"… {hidden} more revisions"] if last else []
    lines += [line for revision in last for line in _revision(revision)]
    return [*lines, *phase_lines(review), _how(review), f"Digest: {review.digest}"]


def phase_lines(review: PlanReview) -> list[str]:
    """Return the held revisions, the baseline, and whether code of the previous version runs on the new schema."""
    runs, loaded = review.running_code, review.baseline
    covered = f"{counted(len(loaded.covers), 'revision')}, judged as if they ran" if loaded else ""
    return [
        *review.held,
        *([f"Starts from the baseline of {loaded.revision} ({covered})"] if loaded else []),
        *([f"Code of the previous version runs on this schema: {runs}"] if runs else []),
    ]


def _how(review: PlanReview) -> str:
    """Return whether the plan was rehearsed, or why it could not be."""
    if not review.rehearsed:
        reason = f": {review.not_rehearsed}" if review.not_rehearsed else ""
        return f"Static analysis, not rehearsed{reason}"
    applied = sum(revision.rehearsed is not None and not revision.rehearsed.fails for revision in review.revisions)
    rehearsed = "Rehearsed in a scratch database (its tables are empty)"
    if review.copied:
        rehearsed = f"Rehearsed in a scratch database with the {review.copied} that the plan can touch (all empty)"
    if applied < len(review.revisions):
        return f"{rehearsed}: {applied} of {counted(len(review.revisions), 'revision')} applied"
    if not all(revision.rehearsed and revision.rehearsed.way_back == RESTORES for revision in review.revisions):
        return rehearsed
    return f"{rehearsed}; the downgrade {RESTORES}{' of these tables' if review.copied else ''}"


def statements(review: PlanReview) -> dict[str, list[str]]:
    """Return the lines of SQL of each revision, with comments on the effects above each statement.

    A baseline is a comment that names its file.
    """
    first = {}
    if loaded := review.baseline:
        place = f"-- the statements of baselines/{loaded.revision}.sql ({loaded.checksum})"
        first[f"baseline {loaded.revision}"] = [f"{place}, in place of {counted(len(loaded.covers), 'revision')}"]
    return first | {
        printable(f"{revision.direction} {revision.id}"): list(map(printable, _lines(revision)))
        for revision in review.runs
    }


def _revision(revision: RevisionReview) -> Iterator[str]:
    origin = ", from the ledger" if revision.from_ledger else ""
    proven = f", proven by {revision.proven_by}" if revision.proven_by else ""
    waited = f", {revision.waited} after the expand" if revision.waited else ""
    arrow = _ARROWS[Direction(revision.direction)]
    phase = f", {revision.phase}" if revision.phase else ""
    yield f"{arrow} {revision.id} {revision.message} ({_size(revision)}{phase}{origin}{proven}{waited})"
    seen = revision.rehearsed
    effects = _together([statement.does for statement in revision.sends])
    for label, text in [
        *(_changes(seen, effects.destroys) if seen else ()),
        *_effects(effects),
        *(("deletes", loss) for loss in revision.losses),
        *(("preserves", keep) for keep in revision.keeps),
        *(("restores", returned) for returned in revision.puts_back),
        *(("ensures", message) for statement in revision.sends if (message := message_of(statement.sql))),
        *(
            ("backfills", f"{table}, after the revision")
            for statement in revision.sends
            if (table := backfilled(statement.sql))
        ),
    ]:
        yield f"    {label:<{_LABEL}} {text}"
    if seen:
        yield from (f"    {line}" for line in _outcome(seen))
    yield from (f"    {Severity.ERROR:<{_LABEL}} not true: {message}" for message in revision.unmet)
    findings = seen.findings if seen else ()
    for finding in [
        *revision.findings,
        *(one for statement in revision.statements for one in statement.findings),
        *findings,
    ]:
        allowed = f" (allowed: {finding.excused})" if finding.excused else ""
        yield f"    {finding.severity:<{_LABEL}} {finding.rule}: {finding.message}{allowed}"


def _changes(seen: Rehearsed, deleted: Sequence[str] = ()) -> Iterator[tuple[str, str]]:
    """Return what the rehearsal created, dropped, changed and renamed, except dropped objects listed as `deleted`."""
    dropped = [name for name in seen.dropped if name not in deleted]
    for label, names in (("creates", seen.made), ("drops", dropped), ("changes", seen.changed)):
        if names:
            yield label, few([name.removeprefix("table ") for name in names], _SHOWN)
    if seen.renamed:
        yield "renames", few(seen.renamed, _SHOWN)


def _outcome(seen: Rehearsed) -> Iterator[str]:
    """Return why a revision failed in the rehearsal, and how its downgrade fails to restore the schema."""
    if seen.fails:
        yield f"{'error' if seen.refused else 'warning':<{_LABEL}} fails in the rehearsal, {seen.fails}"
    if seen.doubt:
        yield f"    {seen.doubt}"
    if seen.way_back and seen.way_back != RESTORES:
        yield f"{'downgrade':<{_LABEL}} {seen.way_back}"
    yield from (f"    {line}" for line in seen.left[:_SHOWN])
    if len(seen.left) > _SHOWN:
        yield f"    … {len(seen.left) - _SHOWN} more lines"


def _together(several: Sequence[Effects]) -> Effects:
    """Return the effects of all on existing objects, with the strongest lock of each table."""
    locks: dict[str, Lock] = {}
    for lock in sorted(
        (lock for effects in several for lock in effects.locks), key=lambda lock: -MODES.index(lock.mode)
    ):
        locks.setdefault(lock.table, lock)
    new = {name for name, lock in locks.items() if lock.new}

    def old(names: Iterable[str]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(name for name in names if name not in new))

    return Effects(
        tuple(lock for lock in locks.values() if not lock.new),
        old(name for effects in several for name in effects.rewrites),
        old(name for effects in several for name in effects.scans),
        tuple(dict.fromkeys(name for effects in several for name in effects.destroys)),
        tuple(dict.fromkeys(name for effects in several for name in effects.unknown)),
    )


def _size(revision: RevisionReview) -> str:
    count = len(revision.sends)
    if revision.runs_python:
        sent = f"; sent {counted(count, 'statement')} in the rehearsal" if revision.rehearsed else ""
        return f"runs Python, {revision.runs_python}{sent}"
    return counted(count, "statement") if count else "no statement"


def _lines(revision: RevisionReview) -> Iterator[str]:
    if revision.from_ledger:
        yield "-- from the ledger: the scripts here lack it"
    if revision.runs_python:
        yield f"-- runs Python, {revision.runs_python}"
    for statement in revision.statements:
        yield from _statement(statement, revision)
    seen = revision.rehearsed
    if seen and seen.sent:
        others = "" if revision.runs_python else "other "
        yield f"-- {others}statements sent in the rehearsal (its tables are empty):"
        for statement in seen.sent:
            yield from _statement(statement, revision)
    if seen:
        yield from (f"-- {label} {text}" for label, text in _changes(seen))
        yield from (f"-- {line}" for line in _outcome(seen))
        if seen.way_back == RESTORES:
            yield f"-- the downgrade {RESTORES}"


def _statement(statement: StatementReview, revision: RevisionReview) -> Iterator[str]:
    yield from (f"-- {comment}" for comment in _comments(statement, measures=revision.rehearsed is not None))
    yield from statement.sql.strip().splitlines()


def _comments(statement: StatementReview, *, measures: bool) -> Iterator[str]:
    if statement.outside:
        yield "outside the transaction"
    mark = " (measured)" if statement.measured else " (static analysis)" if measures else ""
    for label, text in _effects(statement.measured or statement.effects):
        yield f"{label} {text}{mark if label == 'locks' else ''}"
    yield from (f"{label} {text} (static analysis)" for label, text in _effects(Effects(statement.unseen)))
    for finding in statement.findings:
        yield f"{finding.severity} {finding.rule}: {finding.message}"


def _effects(effects: Effects) -> Iterator[tuple[str, str]]:
    """Return pairs of a label and the names of its objects."""
    for mode in reversed(MODES):
        tables = [lock.table for lock in effects.locks if lock.mode == mode]
        if tables:
            yield "locks", f"{', '.join(tables)}: {mode}"
    for label, names in (
        ("rewrites", effects.rewrites),
        ("scans", effects.scans),
        ("deletes", effects.destroys),
        ("unknown", effects.unknown),
    ):
        if names:
            yield label, ", ".join(names)
