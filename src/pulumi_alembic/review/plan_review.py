"""What the revisions of a plan would do, as a preview shows it and a report reads it again. Pure: values and JSON.

The JSON has one key per field, of the same name; a field that has its default is left out.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from enum import StrEnum
from functools import cached_property
from typing import Any, Self

from pulumi_alembic.errors import MigrationError
from pulumi_alembic.output.wording import few
from pulumi_alembic.scripts import phases
from pulumi_alembic.sql.locks import MODES, OF_ROWS, Effects, Lock
from pulumi_alembic.sql.tables import ColumnChange, ForeignKey, TableChange, TableState

__all__ = [
    "DIGEST_FORMULA",
    "PARTS",
    "RESTORES",
    "BaselineReview",
    "Finding",
    "PlanReview",
    "Rehearsed",
    "RevisionReview",
    "Severity",
    "StatementReview",
    "differences",
]

PARTS = ("database", "heads", "target", "scripts", "statements", "findings")
"""What a plan's digest is over, in the order in which it tells of each."""

DIGEST_FORMULA = "v2:"
"""How the digest of a plan begins; another way to compute it needs another one."""

RESTORES = "restores the same schema"
"""What a rehearsal reports of a downgrade that leads to the schema before the upgrade."""

_FIRST_RESTORES = "leads back to the same fingerprint"
"""The same in previews that the first release saved."""

_NO_EFFECTS = Effects()
_UPGRADE, _BASE = "upgrade", "base"
_BREAKS_SHOWN = 3


class Severity(StrEnum):
    """How bad a finding is: an ERROR stops an update, a WARNING is for the reviewer, INFO is good to know."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


@dataclass(frozen=True)
class Finding:
    """What lint says of a statement or a revision: what happens, why that hurts, and what to write instead.

    `excused` is the reason that the script gives for it; such a finding stops nothing. `tables` are those it is about.
    """

    rule: str
    severity: Severity
    message: str
    suggestion: str = ""
    excused: str = ""
    tables: tuple[str, ...] = ()


@dataclass(frozen=True)
class StatementReview:
    """One statement as the server gets it; `outside` its revision's transaction, in an autocommit block."""

    sql: str
    outside: bool = False
    effects: Effects = _NO_EFFECTS
    findings: tuple[Finding, ...] = ()
    measured: Effects | None = None

    @property
    def does(self) -> Effects:
        """What it did if it was rehearsed, and what it does with rows; otherwise what static analysis says of it."""
        if self.measured is None:
            return self.effects
        return replace(self.measured, locks=(*self.measured.locks, *self.unseen))

    @property
    def unseen(self) -> tuple[Lock, ...]:
        """Locks that only a table with rows shows, and a rehearsal did not, as on what a foreign key cascades to."""
        if self.measured is None:
            return ()
        seen = {lock.table: MODES.index(lock.mode) for lock in self.measured.locks}
        of_rows = [lock for lock in self.effects.locks if lock.mode in OF_ROWS]
        return tuple(lock for lock in of_rows if MODES.index(lock.mode) > seen.get(lock.table, -1))


@dataclass(frozen=True)
class Rehearsed:
    """What was seen of a revision that ran in a scratch database, where no table has rows.

    `sent` are the statements of one that runs Python, or that sent others than static analysis found, as the
    server got them.
    `made`, `dropped` and `changed` name what the catalog has, had, and has in another form afterwards, `renamed` what
    has another name: `table app.cogs to app.gears`. `fails` is what ended it, empty where it ran, and `doubt` why it
    can succeed on the target all the same. `way_back` is RESTORES if the downgrade restores the
    schema, otherwise why it does not, and `left` are the lines of the catalog that are then others. `findings` are
    what that shows of the script.
    """

    sent: tuple[StatementReview, ...] = ()
    made: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    fails: str = ""
    way_back: str = ""
    left: tuple[str, ...] = ()
    renamed: tuple[str, ...] = ()
    doubt: str = ""
    findings: tuple[Finding, ...] = ()

    @property
    def refused(self) -> bool:
        """Whether the server refused it in a way that no row of the target changes."""
        return bool(self.fails and not self.doubt)


@dataclass(frozen=True)
class RevisionReview:
    """One revision of a plan. Where `runs_python` says why, its statements cannot be known, and there are none.

    `losses` say how many rows and values of what is there now it would delete, `keeps` those that it preserves
    instead, and `puts_back` what is kept and goes back. They change with every row, and are no part of a plan's digest.
    One `from_ledger` is not among the scripts: the database keeps it, as it was applied. `proven_by` is the stack that
    ran it before, where one has to. `phase` is empty for an expand, and `breaks` is what code of the previous version
    cannot do any longer, as far as statements show. `unmet` are the messages of assertions that are false already; they
    change with every row too.
    """

    id: str
    message: str
    file: str
    checksum: str
    direction: str
    runs_python: str = ""
    statements: tuple[StatementReview, ...] = ()
    findings: tuple[Finding, ...] = ()
    losses: tuple[str, ...] = ()
    rehearsed: Rehearsed | None = None
    from_ledger: bool = False
    proven_by: str = ""
    keeps: tuple[str, ...] = ()
    puts_back: tuple[str, ...] = ()
    phase: str = ""
    breaks: tuple[str, ...] = ()
    unmet: tuple[str, ...] = ()

    @property
    def sends(self) -> tuple[StatementReview, ...]:
        """Its statements as far as they are known: from static analysis, or sent in the rehearsal."""
        return self.statements or (self.rehearsed.sent if self.rehearsed else ())


@dataclass(frozen=True)
class BaselineReview:
    """The baseline of a `revision`, whose statements run in place of those of the revisions that it `covers`."""

    revision: str
    checksum: str
    covers: tuple[str, ...]


@dataclass(frozen=True)
class PlanReview:
    """A whole plan. `origin` and `target` are revisions as `plan.revision_text` writes them.

    `database` is `HOST:PORT/NAME`, empty if there is none yet. `rehearsed` if it was measured and not only analysed;
    where that was wanted and could not be, `not_rehearsed` says why. `copied` counts the tables of a rehearsal that did
    not have all of them: `14 of 10,000 tables`. What was measured is no part of the digest: an update, which does not
    rehearse, has the same. Nor are `tables`: what the revisions with known SQL change, and what is around it. Nor is
    `as_of`: when the database was read, if that was before this report. Nor is `held`, a line for each pending revision
    that waits, nor whether the stack is `phased`: the plan's target tells what runs. What the `baseline`
    covers is judged as if it ran.
    """

    origin: str
    target: str
    direction: str
    database: str = ""
    rehearsed: bool = False
    revisions: tuple[RevisionReview, ...] = ()
    tables: tuple[TableChange, ...] = ()
    not_rehearsed: str = ""
    copied: str = ""
    as_of: str = ""
    held: tuple[str, ...] = ()
    phased: bool = False
    baseline: BaselineReview | None = None

    @property
    def runs(self) -> tuple[RevisionReview, ...]:
        """The revisions whose statements run: those that no baseline covers."""
        covered = frozenset(self.baseline.covers if self.baseline else ())
        return tuple(revision for revision in self.revisions if revision.id not in covered)

    @cached_property
    def digest(self) -> str:
        """What an approval names: DIGEST_FORMULA, a digest of it all, and behind each `-` four digits of one of PARTS.

        It covers structure. Words for people, such as the message of a finding, are no part of it: an approval holds
        when they are worded better.
        """
        parts = self._parts()
        return "-".join([f"{DIGEST_FORMULA}{_digest(parts, 32)}", *(_digest(parts[name], 4) for name in PARTS)])

    @property
    def running_code(self) -> str:
        """Whether code of the previous version runs on the schema that the plan leaves: `yes`, or `no` and why not.

        Empty for a plan that has nothing to do with phases, for a downgrade, and where no such code runs.
        """
        phased = self.phased or any(revision.phase or revision.breaks for revision in self.revisions)
        if self.direction != _UPGRADE or self.origin == _BASE or not self.revisions or not phased:
            return ""
        broken = [f"{revision.id} {text}" for revision in self.revisions for text in revision.breaks]
        if broken:
            return f"no: {few(broken, _BREAKS_SHOWN)}"
        python = [f"{revision.id} runs Python" for revision in self.revisions if revision.runs_python]
        return f"not known: {few(python, _BREAKS_SHOWN)}" if python else "yes"

    def _parts(self) -> dict[str, Any]:
        return {
            "database": self.database,
            "heads": self.origin,
            "target": [self.target, self.direction],
            "scripts": [
                *([revision.id, revision.checksum] for revision in self.revisions),
                *([["baseline", self.baseline.revision, self.baseline.checksum]] if self.baseline else ()),
            ],
            "statements": [
                [bool(revision.runs_python), *map(_statement, revision.statements)] for revision in self.revisions
            ],
            "findings": [[revision.id, *findings] for revision in self.revisions if (findings := _findings(revision))],
        }

    def to_json(self) -> dict[str, Any]:
        """The plan as JSON values, which `from_json` reads."""
        document: dict[str, Any] = _written(self)
        return document

    @classmethod
    def from_json(cls, document: object) -> Self:
        """The plan that `to_json` wrote. Raises MigrationError, naming the place, for anything else."""
        review: Self = _read(cls, document, "plan")
        return review


def differences(approved: str, digest: str) -> list[str]:
    """Which of PARTS two digests differ in; all of them where one is no digest."""
    pairs = zip(approved.split("-")[1:], digest.split("-")[1:], strict=False)
    same = [one == another for one, another in pairs]
    return [name for number, name in enumerate(PARTS) if number >= len(same) or not same[number]]


def _findings(revision: RevisionReview) -> list[Any]:
    """Of each finding its rule, its severity, its tables and whether it is allowed: first those of the revision."""
    findings = [revision.findings, *(statement.findings for statement in revision.statements)]
    rows = [
        sorted(
            [finding.rule, finding.severity, sorted(finding.tables), bool(finding.excused)]
            for finding in several
            if finding.rule not in phases.RULES
        )
        for several in findings
    ]
    return rows if any(rows) else []


def _statement(statement: StatementReview) -> list[Any]:
    """The SQL as it is sent, and each effect as its kind and its object."""
    does = statement.effects
    effects = [
        *([f"lock {lock.mode}", lock.table] for lock in does.locks),
        *(["rewrite", table] for table in does.rewrites),
        *(["scan", table] for table in does.scans),
        *(["destroy", destroyed] for destroyed in does.destroys),
        *(["unknown", ""] for _ in does.unknown),
    ]
    return [statement.sql, statement.outside, sorted(effects)]


def _digest(value: Any, digits: int) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:digits]


def _written(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_written(item) for item in value]
    if not is_dataclass(value):
        return value
    pairs = ((field, getattr(value, field.name)) for field in fields(value))
    return {field.name: _written(item) for field, item in pairs if item != field.default}


_PARTS: dict[str, type] = {
    "BaselineReview": BaselineReview,
    "Lock": Lock,
    "Effects": Effects,
    "Finding": Finding,
    "StatementReview": StatementReview,
    "Rehearsed": Rehearsed,
    "RevisionReview": RevisionReview,
    "Severity": Severity,
    "TableChange": TableChange,
    "TableState": TableState,
    "ColumnChange": ColumnChange,
    "ForeignKey": ForeignKey,
    "str": str,
    "bool": bool,
}


def _read(kind: Any, document: object, place: str) -> Any:
    """A dataclass of this module from JSON values; its annotations, which are strings, say what each field is."""
    if kind in (str, bool):
        if not isinstance(document, kind):
            raise MigrationError(f"{place} is not a {'text' if kind is str else 'truth value'}: {document!r}")
        return RESTORES if document == _FIRST_RESTORES else document
    if kind is Severity:
        if document not in set(Severity):
            raise MigrationError(f"{place} is none of {', '.join(Severity)}: {document!r}")
        return Severity(str(document))
    if not isinstance(document, Mapping):
        raise MigrationError(f"{place} is not an object: {str(document)[:80]!r}")
    fields_by_name = {field.name: field for field in fields(kind)}
    values: dict[str, Any] = {}
    for name, value in document.items():
        if name not in fields_by_name:
            # A newer version wrote it.
            continue
        type_name = str(fields_by_name[name].type)
        if type_name.startswith("tuple["):
            if not isinstance(value, list):
                raise MigrationError(f"{place}.{name} is not a list: {str(value)[:80]!r}")
            part = _PARTS[type_name.removeprefix("tuple[").removesuffix(", ...]")]
            values[name] = tuple(_read(part, item, f"{place}.{name}[{number}]") for number, item in enumerate(value))
        else:
            values[name] = _read(_PARTS[type_name.removesuffix(" | None")], value, f"{place}.{name}")
    try:
        return kind(**values)
    except TypeError:
        missing = ", ".join(name for name in fields_by_name if name not in values)
        raise MigrationError(f"{place} lacks one of {missing}") from None
