"""Add what a rehearsal measured to the plan's review. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from pulumi_alembic.output.redact import redact
from pulumi_alembic.review.plan_review import RESTORES, PlanReview, Rehearsed, RevisionReview, StatementReview
from pulumi_alembic.review.rehearsal.renames import Rename, called
from pulumi_alembic.sql.catalog import Catalog
from pulumi_alembic.sql.effects import after, effects
from pulumi_alembic.sql.locks import MODES, Effects, Lock

if TYPE_CHECKING:
    from pulumi_alembic.review.rehearsal.observer import Observation, Reading, Sent
    from pulumi_alembic.review.rehearsal.scratch_run import Performed

__all__ = ["with_rehearsal"]

_SAVEPOINT = re.compile(r"(?i)\s*SAVEPOINT\s+([^\s;]+)")
_ROLLBACK = re.compile(r"(?i)\s*ROLLBACK\s+(?:(?:WORK|TRANSACTION)\s+)?TO\s+(?:SAVEPOINT\s+)?([^\s;]+)")
_INSIDE = ("column", "constraint", "index", "trigger", "rule", "policy", "statistics", "comment", "owner", "privileges")


def with_rehearsal(
    review: PlanReview, there: Iterable[str], start: tuple[str, ...], forth: Performed, back: Performed | None
) -> PlanReview:
    """Return the review with the rehearsal's measurements. Its static analysis and its digest stay the same.

    Args:
        review: The review of the plan.
        there: The relations of the target.
        start: The lines of the fingerprint before the first revision.
        forth: The run of the plan.
        back: The run of the downgrades. None if the plan is a downgrade.

    """
    tables = frozenset(there)
    before, revisions = start, []
    for number, revision in enumerate(review.revisions):
        if number < len(forth.observer.seen):
            seen = forth.observer.seen[number]
            revision = _with(revision, seen.sent, seen.before, tables, _changes(before, seen.lines, seen.renames))
            revision = _with_downgrade(revision, before, seen.lines, len(forth.observer.seen) - 1 - number, back)
            before = seen.lines
        elif number == len(forth.observer.seen) and forth.failed:
            failed = Rehearsed(fails=redact(forth.failed), doubt=forth.doubt)
            revision = _with(revision, forth.observer.rest, None, tables, failed)
        revisions.append(revision)
    return replace(review, rehearsed=True, revisions=tuple(revisions))


def _with(
    revision: RevisionReview,
    sent: Sequence[Sent],
    before: Catalog | None,
    known: frozenset[str],
    rehearsed: Rehearsed,
) -> RevisionReview:
    shown = [statement.sql for statement in revision.statements]
    ran = [
        shown[number] if sent_statement.nothing and number < len(shown) else redact(sent_statement.sql)
        for number, sent_statement in enumerate(sent)
    ]
    measured = list(_measured(sent, [statement.effects for statement in _static(sent, before, known)], known))
    if not revision.runs_python and shown[: len(ran)] == ran:
        # A revision that failed sent only the first statements.
        by_text = [statement.effects for statement in revision.statements]
        measured = [*_measured(sent, by_text, known), *[None] * (len(shown) - len(ran))]
        pairs = zip(revision.statements, measured, strict=True)
        statements = tuple(replace(statement, measured=measurement) for statement, measurement in pairs)
        return replace(revision, statements=statements, rehearsed=rehearsed)
    pairs = zip(_static(sent, before, known), measured, strict=True)
    others = tuple(replace(statement, measured=measurement) for statement, measurement in pairs)
    return replace(revision, rehearsed=replace(rehearsed, sent=others))


def _static(sent: Iterable[Sent], before: Catalog | None, known: frozenset[str]) -> Iterator[StatementReview]:
    catalog, savepoints = before, dict[str, Catalog | None]()
    for statement in sent:
        if point := _SAVEPOINT.match(statement.sql):
            savepoints[point[1]] = catalog
        elif point := _ROLLBACK.match(statement.sql):
            catalog = savepoints.get(point[1], catalog)
        static = effects(statement.sql, catalog)
        locks = tuple(replace(lock, new=lock.table not in known) for lock in static.locks)
        yield StatementReview(redact(statement.sql), statement.outside, replace(static, locks=locks))
        catalog = after(statement.sql, catalog)


def _measured(sent: Sequence[Sent], static: Sequence[Effects], known: frozenset[str]) -> Iterator[Effects | None]:
    held: Mapping[str, frozenset[str]] = {}
    for statement, assumed in zip(sent, static, strict=False):
        if statement.read is None:
            held = {}
            yield None
            continue
        locks = _locks(assumed, statement.read, held)
        scans = tuple(table for table in assumed.scans if table not in statement.read.rewritten)
        yield replace(
            assumed,
            locks=tuple(Lock(table, mode, table not in known) for table, mode in locks.items()),
            rewrites=statement.read.rewritten,
            scans=scans,
        )
        held = statement.read.held


def _locks(static: Effects, read: Reading, held: Mapping[str, frozenset[str]]) -> dict[str, str]:
    """Return the strongest lock that the statement took on each table.

    The server does not show that a lock was taken again. Such a lock counts if the static analysis has it and it is
    held.
    """
    locks = {lock.table: lock.mode for lock in static.locks if lock.mode in read.held.get(lock.table, ())}
    for table, modes in read.held.items():
        for mode in modes - held.get(table, frozenset()):
            locks[table] = max(locks.get(table, mode), mode, key=MODES.index)
    return locks


def _changes(before: Sequence[str], lines: Iterable[str], renames: Sequence[Rename]) -> Rehearsed:
    """Return what was created, dropped, changed and renamed, without parts of an object that is listed itself."""
    by_name = _by_name(before)
    renames = [rename for rename in renames if (rename.kind, rename.was) in by_name]
    old, new = _by_name(called(before, renames)), _by_name(lines)
    new_objects = {key: text for key, text in new.items() if key not in old}
    dropped = {key: text for key, text in old.items() if key not in new}
    changed = {key: "" for key in new.keys() & old.keys() if new[key] != old[key]}
    return Rehearsed(
        made=tuple(_named(new_objects)),
        dropped=tuple(_named(dropped)),
        changed=tuple(_named(changed)),
        renamed=tuple(map(str, renames)),
    )


def _by_name(lines: Iterable[str]) -> dict[tuple[str, str], str]:
    parts = (line.split("|", 2) for line in lines)
    return {(kind, name): text for kind, name, text in parts}


def _named(objects: Mapping[tuple[str, str], str]) -> Iterator[str]:
    whole = {name for kind, name in objects if kind not in _INSIDE}
    for (kind, name), text in sorted(objects.items()):
        inside = kind in _INSIDE and (
            name in whole
            or any(
                name.startswith(f"{table}.") or name.endswith(f" {table}") or f" {table}." in name for table in whole
            )
            or (kind == "index" and any(f" ON {table} " in text or f" ON ONLY {table} " in text for table in whole))
        )
        if not inside:
            yield f"{kind} {name}"


def _with_downgrade(
    revision: RevisionReview, before: tuple[str, ...], after: tuple[str, ...], place: int, back: Performed | None
) -> RevisionReview:
    if back is None or revision.rehearsed is None:
        return revision
    seen: Sequence[Observation] = back.observer.seen
    if place >= len(seen) and not back.failed:
        # The script of a squash has no downgrade.
        return revision
    if place < len(seen):
        whole = tuple(_difference(before, seen[place].lines))
        # A difference that the downgrade of a newer revision left does not count for this one.
        newer = {*_difference(after, seen[place - 1].lines)} if place else set()
        left = tuple(line for line in whole if line not in newer)
        verdict = "does not restore the same schema" if left else "reverts its own changes" if whole else RESTORES
    elif place == len(seen):
        left, verdict = (), f"fails: {redact(back.failed)}"
    else:
        left, verdict = (), "not run: the downgrade of a newer revision fails"
    return replace(revision, rehearsed=replace(revision.rehearsed, way_back=verdict, left=left))


def _difference(before: Sequence[str], lines: Sequence[str]) -> Iterator[str]:
    old, new = set(before), set(lines)
    for line in sorted(old ^ new, key=lambda line: (line.split("|", 2)[:2], line in new)):
        kind, name, text = line.split("|", 2)
        yield f"{'+' if line in new else '-'} {kind} {name} {redact(' '.join(text.split()))}".rstrip()
