"""A plan as a preview prints it: a summary in a few lines, and every statement line by line. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from pulumi_alembic.output.printable import printable
from pulumi_alembic.output.wording import counted, few
from pulumi_alembic.review.plan_review import RESTORES, Account, Rehearsed, RevisionAccount, Severity, StatementAccount
from pulumi_alembic.scripts.plan import Direction
from pulumi_alembic.sql.assertions import message_of
from pulumi_alembic.sql.locks import MODES, Effects, Lock
from pulumi_alembic.sql.outside_transaction import backfilled

__all__ = ["phase_lines", "statements", "summary"]

_SHOWN = 20
_ARROWS = {Direction.UPGRADE: "↑", Direction.DOWNGRADE: "↓"}
_LABEL = 9  # characters, of the longest label


def summary(account: Account) -> list[str]:
    """A line for each revision, and below it what it does; of many revisions those in the middle are counted."""
    if account.held and not account.revisions:
        return list(account.held)
    first, last = account.revisions, account.revisions[:0]
    hidden = len(first) - 2 * _SHOWN
    if hidden > 1:
        first, last = first[:_SHOWN], first[-_SHOWN:]
    lines = [line for each in first for line in _revision(each)]
    lines += [f"… {hidden} more revisions"] if last else []
    lines += [line for each in last for line in _revision(each)]
    return [*lines, *phase_lines(account), _how(account), f"Digest: {account.digest}"]


def phase_lines(account: Account) -> list[str]:
    """What waits, and whether code of the previous version runs on the schema that the plan leaves."""
    runs = account.running_code
    return [*account.held, *([f"Code of the previous version runs on this schema: {runs}"] if runs else [])]


def _how(account: Account) -> str:
    """Whether the plan was rehearsed, and why not if a rehearsal was wanted."""
    if not account.rehearsed:
        reason = f": {account.not_rehearsed}" if account.not_rehearsed else ""
        return f"Static analysis, not rehearsed{reason}"
    applied = sum(each.rehearsed is not None and not each.rehearsed.fails for each in account.revisions)
    rehearsed = "Rehearsed in a scratch database (its tables are empty)"
    if account.copied:
        rehearsed = f"Rehearsed in a scratch database with the {account.copied} that the plan can touch (all empty)"
    if applied < len(account.revisions):
        return f"{rehearsed}: {applied} of {counted(len(account.revisions), 'revision')} applied"
    if not all(each.rehearsed and each.rehearsed.way_back == RESTORES for each in account.revisions):
        return rehearsed
    return f"{rehearsed}; the downgrade {RESTORES}{' of these tables' if account.copied else ''}"


def statements(account: Account) -> dict[str, list[str]]:
    """For each revision the lines of its statements, as the server gets them, each behind comments of what it does."""
    return {printable(f"{each.direction} {each.id}"): list(map(printable, _lines(each))) for each in account.revisions}


def _revision(revision: RevisionAccount) -> Iterator[str]:
    origin = ", from the ledger" if revision.from_ledger else ""
    proven = f", proven by {revision.proven_by}" if revision.proven_by else ""
    arrow = _ARROWS[Direction(revision.direction)]
    phase = f", {revision.phase}" if revision.phase else ""
    yield f"{arrow} {revision.id} {revision.message} ({_size(revision)}{phase}{origin}{proven})"
    seen = revision.rehearsed
    effects = _together([each.does for each in revision.sends])
    for label, text in [
        *(_changes(seen, effects.destroys) if seen else ()),
        *_effects(effects),
        *(("deletes", each) for each in revision.losses),
        *(("preserves", each) for each in revision.keeps),
        *(("restores", each) for each in revision.puts_back),
        *(("ensures", message) for each in revision.sends if (message := message_of(each.sql))),
        *(("backfills", f"{table}, after the revision") for each in revision.sends if (table := backfilled(each.sql))),
    ]:
        yield f"    {label:<{_LABEL}} {text}"
    if seen:
        yield from (f"    {line}" for line in _outcome(seen))
    yield from (f"    {Severity.ERROR:<{_LABEL}} not true: {message}" for message in revision.unmet)
    findings = seen.findings if seen else ()
    for finding in [*revision.findings, *(one for each in revision.statements for one in each.findings), *findings]:
        allowed = f" (allowed: {finding.excused})" if finding.excused else ""
        yield f"    {finding.severity:<{_LABEL}} {finding.rule}: {finding.message}{allowed}"


def _changes(seen: Rehearsed, deleted: Sequence[str] = ()) -> Iterator[tuple[str, str]]:
    """What the catalog has, had, and has in another form after the rehearsal, without what is named as deleted."""
    dropped = [name for name in seen.dropped if name not in deleted]
    for label, names in (("creates", seen.made), ("drops", dropped), ("changes", seen.changed)):
        if names:
            yield label, few([name.removeprefix("table ") for name in names], _SHOWN)
    if seen.renamed:
        yield "renames", few(seen.renamed, _SHOWN)


def _outcome(seen: Rehearsed) -> Iterator[str]:
    """Why a revision failed in the rehearsal, and how its downgrade fails to restore the schema."""
    if seen.fails:
        yield f"{'error' if seen.refused else 'warning':<{_LABEL}} fails in the rehearsal, {seen.fails}"
    if seen.doubt:
        yield f"    {seen.doubt}"
    if seen.way_back and seen.way_back != RESTORES:
        yield f"{'downgrade':<{_LABEL}} {seen.way_back}"
    yield from (f"    {line}" for line in seen.left[:_SHOWN])
    if len(seen.left) > _SHOWN:
        yield f"    … {len(seen.left) - _SHOWN} more lines"


def _together(each: Sequence[Effects]) -> Effects:
    """All that these do to what was there before, of each table the strongest lock."""
    locks: dict[str, Lock] = {}
    for lock in sorted((lock for one in each for lock in one.locks), key=lambda lock: -MODES.index(lock.mode)):
        locks.setdefault(lock.table, lock)
    new = {name for name, lock in locks.items() if lock.new}

    def old(names: Iterable[str]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(name for name in names if name not in new))

    return Effects(
        tuple(lock for lock in locks.values() if not lock.new),
        old(name for one in each for name in one.rewrites),
        old(name for one in each for name in one.scans),
        tuple(dict.fromkeys(name for one in each for name in one.destroys)),
        tuple(dict.fromkeys(name for one in each for name in one.unknown)),
    )


def _size(revision: RevisionAccount) -> str:
    count = len(revision.sends)
    if revision.runs_python:
        sent = f"; sent {counted(count, 'statement')} in the rehearsal" if revision.rehearsed else ""
        return f"runs Python, {revision.runs_python}{sent}"
    return counted(count, "statement") if count else "no statement"


def _lines(revision: RevisionAccount) -> Iterator[str]:
    if revision.from_ledger:
        yield "-- from the ledger: the scripts here lack it"
    if revision.runs_python:
        yield f"-- runs Python, {revision.runs_python}"
    for each in revision.statements:
        yield from _statement(each, revision)
    seen = revision.rehearsed
    if seen and seen.sent:
        others = "" if revision.runs_python else "other "
        yield f"-- {others}statements sent in the rehearsal (its tables are empty):"
        for each in seen.sent:
            yield from _statement(each, revision)
    if seen:
        yield from (f"-- {label} {text}" for label, text in _changes(seen))
        yield from (f"-- {line}" for line in _outcome(seen))
        if seen.way_back == RESTORES:
            yield f"-- the downgrade {RESTORES}"


def _statement(statement: StatementAccount, revision: RevisionAccount) -> Iterator[str]:
    yield from (f"-- {comment}" for comment in _comments(statement, measures=revision.rehearsed is not None))
    yield from statement.sql.strip().splitlines()


def _comments(statement: StatementAccount, *, measures: bool) -> Iterator[str]:
    if statement.outside:
        yield "outside the transaction"
    mark = " (measured)" if statement.measured else " (static analysis)" if measures else ""
    for label, text in _effects(statement.measured or statement.effects):
        yield f"{label} {text}{mark if label == 'locks' else ''}"
    yield from (f"{label} {text} (static analysis)" for label, text in _effects(Effects(statement.unseen)))
    for finding in statement.findings:
        yield f"{finding.severity} {finding.rule}: {finding.message}"


def _effects(effects: Effects) -> Iterator[tuple[str, str]]:
    """Each kind of effect by its label, and the names of what it is about."""
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
