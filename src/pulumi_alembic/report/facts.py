"""What a preview says here and there, gathered: findings, what is destroyed, the strongest lock on each table."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pulumi_alembic.account import MODES, Finding, RevisionAccount, Severity, StatementAccount
from pulumi_alembic.report.preview import MIGRATIONS, STACK, Planned, Preview

__all__ = [
    "Loss",
    "Placed",
    "TableFacts",
    "findings",
    "gone",
    "is_opaque",
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
