"""What was seen in a rehearsal, put into the plan's account. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from pulumi_alembic.output.redact import redact
from pulumi_alembic.review.plan_review import RESTORES, Account, Rehearsed, RevisionAccount, StatementAccount
from pulumi_alembic.review.rehearsal.renames import Rename, called
from pulumi_alembic.sql.catalog import Catalog
from pulumi_alembic.sql.effects import after, effects
from pulumi_alembic.sql.locks import MODES, Effects, Lock

if TYPE_CHECKING:
    from pulumi_alembic.review.rehearsal.observer import Reading, Seen, Sent
    from pulumi_alembic.review.rehearsal.scratch_run import Performed

__all__ = ["told"]

_SAVEPOINT = re.compile(r"(?i)\s*SAVEPOINT\s+([^\s;]+)")
_ROLLBACK = re.compile(r"(?i)\s*ROLLBACK\s+(?:(?:WORK|TRANSACTION)\s+)?TO\s+(?:SAVEPOINT\s+)?([^\s;]+)")
_INSIDE = ("column", "constraint", "index", "trigger", "rule", "policy", "statistics", "comment", "owner", "privileges")


def told(
    account: Account, there: Iterable[str], start: tuple[str, ...], forth: Performed, back: Performed | None
) -> Account:
    """The account with what was measured beside what was concluded, which stays as it is, and with it the digest.

    `there` are the relations of the target, `start` are the fingerprint's lines before the first revision.
    """
    known = frozenset(there)
    before, revisions = start, []
    for number, revision in enumerate(account.revisions):
        if number < len(forth.looker.seen):
            seen = forth.looker.seen[number]
            revision = _with(revision, seen.sent, seen.before, known, _changes(before, seen.lines, seen.renames))
            revision = _with_way_back(revision, before, seen.lines, len(forth.looker.seen) - 1 - number, back)
            before = seen.lines
        elif number == len(forth.looker.seen) and forth.failed:
            failed = Rehearsed(fails=redact(forth.failed), doubt=forth.doubt)
            revision = _with(revision, forth.looker.rest, None, known, failed)
        revisions.append(revision)
    return replace(account, rehearsed=True, revisions=tuple(revisions))


def _with(
    revision: RevisionAccount,
    sent: Sequence[Sent],
    before: Catalog | None,
    known: frozenset[str],
    rehearsed: Rehearsed,
) -> RevisionAccount:
    shown = [each.sql for each in revision.statements]
    ran = [
        shown[number] if each.nothing and number < len(shown) else redact(each.sql) for number, each in enumerate(sent)
    ]
    measured = list(_measured(sent, [each.effects for each in _concluded(sent, before, known)], known))
    if not revision.runs_python and shown[: len(ran)] == ran:
        # One that failed sent the first of them.
        by_text = [each.effects for each in revision.statements]
        measured = [*_measured(sent, by_text, known), *[None] * (len(shown) - len(ran))]
        pairs = zip(revision.statements, measured, strict=True)
        statements = tuple(replace(each, measured=found) for each, found in pairs)
        return replace(revision, statements=statements, rehearsed=rehearsed)
    pairs = zip(_concluded(sent, before, known), measured, strict=True)
    others = tuple(replace(each, measured=found) for each, found in pairs)
    return replace(revision, rehearsed=replace(rehearsed, sent=others))


def _concluded(sent: Iterable[Sent], before: Catalog | None, known: frozenset[str]) -> Iterator[StatementAccount]:
    catalog, savepoints = before, dict[str, Catalog | None]()
    for each in sent:
        if point := _SAVEPOINT.match(each.sql):
            savepoints[point[1]] = catalog
        elif point := _ROLLBACK.match(each.sql):
            catalog = savepoints.get(point[1], catalog)
        found = effects(each.sql, catalog)
        locks = tuple(replace(lock, new=lock.table not in known) for lock in found.locks)
        yield StatementAccount(redact(each.sql), each.outside, replace(found, locks=locks))
        catalog = after(each.sql, catalog)


def _measured(sent: Sequence[Sent], concluded: Sequence[Effects], known: frozenset[str]) -> Iterator[Effects | None]:
    held: Mapping[str, frozenset[str]] = {}
    for each, found in zip(sent, concluded, strict=False):
        if each.read is None:
            held = {}
            yield None
            continue
        locks = _locks(found, each.read, held)
        scans = tuple(table for table in found.scans if table not in each.read.rewritten)
        yield replace(
            found,
            locks=tuple(Lock(table, mode, table not in known) for table, mode in locks.items()),
            rewrites=each.read.rewritten,
            scans=scans,
        )
        held = each.read.held


def _locks(concluded: Effects, read: Reading, held: Mapping[str, frozenset[str]]) -> dict[str, str]:
    """Of each table the strongest lock that the statement took, for the first time or again.

    The server does not show that a lock is taken again: where the text says so, and it is held, it is.
    """
    found = {lock.table: lock.mode for lock in concluded.locks if lock.mode in read.held.get(lock.table, ())}
    for table, modes in read.held.items():
        for mode in modes - held.get(table, frozenset()):
            found[table] = max(found.get(table, mode), mode, key=MODES.index)
    return found


def _changes(before: Sequence[str], lines: Iterable[str], renames: Sequence[Rename]) -> Rehearsed:
    """What was made, dropped, changed and renamed: without what belongs to something that is named itself."""
    known = _by_name(before)
    renames = [each for each in renames if (each.kind, each.was) in known]
    old, new = _by_name(called(before, renames)), _by_name(lines)
    made = {key: text for key, text in new.items() if key not in old}
    dropped = {key: text for key, text in old.items() if key not in new}
    changed = {key: "" for key in new.keys() & old.keys() if new[key] != old[key]}
    return Rehearsed(
        made=tuple(_named(made)),
        dropped=tuple(_named(dropped)),
        changed=tuple(_named(changed)),
        renamed=tuple(map(str, renames)),
    )


def _by_name(lines: Iterable[str]) -> dict[tuple[str, str], str]:
    parts = (line.split("|", 2) for line in lines)
    return {(kind, name): text for kind, name, text in parts}


def _named(found: Mapping[tuple[str, str], str]) -> Iterator[str]:
    whole = {name for kind, name in found if kind not in _INSIDE}
    for (kind, name), text in sorted(found.items()):
        inside = kind in _INSIDE and (
            name in whole
            or any(name.startswith(f"{each}.") or name.endswith(f" {each}") or f" {each}." in name for each in whole)
            or (kind == "index" and any(f" ON {each} " in text or f" ON ONLY {each} " in text for each in whole))
        )
        if not inside:
            yield f"{kind} {name}"


def _with_way_back(
    revision: RevisionAccount, before: tuple[str, ...], after: tuple[str, ...], place: int, back: Performed | None
) -> RevisionAccount:
    if back is None or revision.rehearsed is None:
        return revision
    seen: Sequence[Seen] = back.looker.seen
    if place < len(seen):
        whole = tuple(_difference(before, seen[place].lines))
        # What the downgrade of a newer revision left is not this one's.
        newer = {*_difference(after, seen[place - 1].lines)} if place else set()
        left = tuple(line for line in whole if line not in newer)
        said = "does not restore the same schema" if left else "reverts its own changes" if whole else RESTORES
    elif place == len(seen):
        left, said = (), f"fails: {redact(back.failed)}"
    else:
        left, said = (), "not run: the downgrade of a newer revision fails"
    return replace(revision, rehearsed=replace(revision.rehearsed, way_back=said, left=left))


def _difference(before: Sequence[str], lines: Sequence[str]) -> Iterator[str]:
    old, new = set(before), set(lines)
    for line in sorted(old ^ new, key=lambda line: (line.split("|", 2)[:2], line in new)):
        kind, name, text = line.split("|", 2)
        yield f"{'+' if line in new else '-'} {kind} {name} {redact(' '.join(text.split()))}".rstrip()
