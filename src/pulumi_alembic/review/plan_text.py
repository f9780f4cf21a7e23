"""What a preview shows of a plan's account: a summary in a few lines, and every statement line by line. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from pulumi_alembic.output.printable import printable
from pulumi_alembic.review.plan_review import Account, Rehearsed, RevisionAccount, StatementAccount
from pulumi_alembic.sql.locks import MODES, Effects, Lock

__all__ = ["how", "statements", "summary"]

_SHOWN = 20


def summary(account: Account) -> list[str]:
    """A line for each revision, with what of it can hurt below; of many revisions those in the middle are counted."""
    lines = [list(_revision(each)) for each in account.revisions]
    hidden = len(lines) - 2 * _SHOWN
    if hidden > 1:
        lines[_SHOWN:-_SHOWN] = [[f"… {hidden} more revisions"]]
    return [*(line for each in lines for line in each), how(account), f"digest {account.digest}"]


def how(account: Account) -> str:
    """Whether what is shown was measured or concluded, and why not where a rehearsal was wanted."""
    if account.rehearsed:
        ran = sum(each.rehearsed is not None and not each.rehearsed.fails for each in account.revisions)
        if ran < len(account.revisions):
            of = f"{ran} of {len(account.revisions)} revision{'' if len(account.revisions) == 1 else 's'} ran"
            return f"rehearsed in a scratch database, where no table has rows: {of}"
        return "rehearsed: it ran in a scratch database, where no table has rows"
    reason = f": {account.not_rehearsed}" if account.not_rehearsed else ""
    return f"concluded from the text, not rehearsed{reason}"


def statements(account: Account) -> dict[str, list[str]]:
    """For each revision the lines of its statements, as the server gets them, each behind comments of what it does."""
    return {printable(f"{each.direction} {each.id}"): list(map(printable, _lines(each))) for each in account.revisions}


def _revision(revision: RevisionAccount) -> Iterator[str]:
    origin = ", from the ledger" if revision.from_ledger else ""
    proven = f", proven by {revision.proven_by}" if revision.proven_by else ""
    yield f"{revision.direction} {revision.id} {revision.message}: {_size(revision)}{origin}{proven}"
    yield from (f"    {line}" for line in _effects(_together([each.does for each in revision.sends])))
    if revision.losses:
        yield f"    takes away {', '.join(revision.losses)}"
    yield from (f"    sets aside {each}" for each in revision.keeps)
    yield from (f"    puts back {each}" for each in revision.puts_back)
    if revision.rehearsed:
        yield from (f"    {line}" for line in _rehearsed(revision.rehearsed))
    seen = revision.rehearsed.findings if revision.rehearsed else ()
    for finding in [*revision.findings, *(one for each in revision.statements for one in each.findings), *seen]:
        excused = f" (excused: {finding.excused})" if finding.excused else ""
        yield f"    {finding.severity} {finding.rule}: {finding.message}{excused}"


def _rehearsed(seen: Rehearsed) -> Iterator[str]:
    """What the rehearsal showed beside the effects of each statement."""
    for verb, names in (("makes", seen.made), ("drops", seen.dropped), ("changes", seen.changed)):
        if names:
            yield f"{verb} {_few(names)}"
    if seen.renamed:
        yield f"renames {_few(seen.renamed)}"
    if seen.fails:
        yield f"{'error' if seen.refused else 'warning'}: fails in the rehearsal, {seen.fails}"
    if seen.doubt:
        yield f"    {seen.doubt}"
    if seen.way_back:
        yield f"way back: {seen.way_back}"
    yield from (f"    {line}" for line in seen.left[:_SHOWN])
    if len(seen.left) > _SHOWN:
        yield f"    … {len(seen.left) - _SHOWN} more lines"


def _few(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


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
        sent = f"; sent {count} statement{'' if count == 1 else 's'} in the rehearsal" if revision.rehearsed else ""
        return f"runs Python, {revision.runs_python}{sent}"
    return f"{count} statement{'' if count == 1 else 's'}" if count else "no statement"


def _lines(revision: RevisionAccount) -> Iterator[str]:
    if revision.from_ledger:
        yield "-- from the ledger: the scripts here lack it"
    if revision.runs_python:
        yield f"-- runs Python, {revision.runs_python}"
    for each in revision.statements:
        yield from _statement(each, revision)
    if revision.rehearsed and revision.rehearsed.sent:
        others = "sent" if revision.runs_python else "sent others than concluded"
        yield f"-- {others} in the rehearsal, where no table has rows:"
        for each in revision.rehearsed.sent:
            yield from _statement(each, revision)
    if revision.rehearsed:
        yield from (f"-- {line}" for line in _rehearsed(revision.rehearsed))


def _statement(statement: StatementAccount, revision: RevisionAccount) -> Iterator[str]:
    yield from (f"-- {comment}" for comment in _comments(statement, measures=revision.rehearsed is not None))
    yield from statement.sql.strip().splitlines()


def _comments(statement: StatementAccount, *, measures: bool) -> Iterator[str]:
    if statement.outside:
        yield "outside of the transaction"
    mark = " (measured)" if statement.measured else " (concluded)" if measures else ""
    found = statement.measured or statement.effects
    yield from (f"{line}{mark if line.startswith('locks ') else ''}" for line in _effects(found))
    yield from (f"{line} (concluded)" for line in _effects(Effects(statement.unseen)))
    for finding in statement.findings:
        yield f"{finding.severity} {finding.rule}: {finding.message}"


def _effects(effects: Effects) -> Iterator[str]:
    for mode in reversed(MODES):
        tables = [lock.table for lock in effects.locks if lock.mode == mode]
        if tables:
            yield f"locks {', '.join(tables)}: {mode}"
    for what, names in (
        ("writes anew", effects.rewrites),
        ("reads whole", effects.scans),
        ("destroys", effects.destroys),
        ("not known", effects.unknown),
    ):
        if names:
            yield f"{what}: {', '.join(names)}"
