"""The review of a plan: what its revisions would do, as values that are read from and written to JSON. Pure.

The JSON has one key for each field, with the same name. A field at its default is omitted.
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
"""The parts of a plan's digest, in the order of their checksums."""

DIGEST_FORMULA = "v2:"
"""The prefix of a plan's digest. A change of the computation needs a new prefix."""

RESTORES = "restores the same schema"
"""The result of a rehearsed downgrade that restores the schema before the upgrade."""

_FIRST_RESTORES = "leads back to the same fingerprint"
"""The same result in previews that the first release saved."""

_NO_EFFECTS = Effects()
_UPGRADE, _BASE = "upgrade", "base"
_BREAKS_SHOWN = 3


class Severity(StrEnum):
    """The severity of a finding. An ERROR stops an update, a WARNING is for the reviewer, INFO needs no action."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


@dataclass(frozen=True)
class Finding:
    """A finding of lint about a statement or a revision.

    Attributes:
        message: What happens, and why it is harmful.
        suggestion: What to write instead. Empty if there is none.
        excused: The reason in the script's exception. A finding with a reason stops nothing.
        tables: The tables that it is about.

    """

    rule: str
    severity: Severity
    message: str
    suggestion: str = ""
    excused: str = ""
    tables: tuple[str, ...] = ()


@dataclass(frozen=True)
class StatementReview:
    """One statement as the server receives it.

    Attributes:
        outside: Whether it runs outside of its revision's transaction, in an autocommit block.
        effects: The static analysis.
        measured: The effects in the rehearsal. None if it was not rehearsed.

    """

    sql: str
    outside: bool = False
    effects: Effects = _NO_EFFECTS
    findings: tuple[Finding, ...] = ()
    measured: Effects | None = None

    @property
    def does(self) -> Effects:
        """The measured effects with the locks that only rows cause, or the static analysis if nothing was measured."""
        if self.measured is None:
            return self.effects
        return replace(self.measured, locks=(*self.measured.locks, *self.unseen))

    @property
    def unseen(self) -> tuple[Lock, ...]:
        """Locks that an empty table does not show, such as those of the tables that a foreign key cascades to."""
        if self.measured is None:
            return ()
        seen = {lock.table: MODES.index(lock.mode) for lock in self.measured.locks}
        of_rows = [lock for lock in self.effects.locks if lock.mode in OF_ROWS]
        return tuple(lock for lock in of_rows if MODES.index(lock.mode) > seen.get(lock.table, -1))


@dataclass(frozen=True)
class Rehearsed:
    """The result of a revision in a scratch database, whose tables have no rows.

    Attributes:
        sent: The statements that it sent, if it runs Python or sent others than the static analysis found.
        made: The created objects.
        dropped: The dropped objects.
        changed: The objects with another definition.
        fails: The error that ended it. Empty if it succeeded.
        way_back: RESTORES if the downgrade restores the schema, otherwise the reason why not.
        left: The lines of the catalog that differ after the downgrade.
        renamed: Renamed objects: `table app.cogs to app.gears`.
        doubt: Why a failed revision can succeed on the target. Empty if it cannot.
        findings: The findings of lint about the rehearsal.

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
        """Whether the server rejected the revision for a reason that does not depend on rows."""
        return bool(self.fails and not self.doubt)


@dataclass(frozen=True)
class RevisionReview:
    """One revision of a plan.

    `losses`, `keeps`, `puts_back` and `unmet` change with every row, and are not part of the plan's digest.

    Attributes:
        runs_python: Why the statements cannot be known. Empty if they are known.
        losses: How many rows and values it would delete.
        rehearsed: The result of the rehearsal. None without one.
        from_ledger: Whether the script comes from the ledger, because the directory lacks it.
        proven_by: The upstream stack that ran it before. Empty if none must.
        keeps: The rows and values that it preserves instead of deleting them.
        puts_back: The preserved rows that it restores.
        phase: Empty for an expand revision.
        breaks: What code of the previous version cannot do afterwards, as far as the statements show.
        unmet: The messages of its assertions that are false already.
        waited: How long the upstream stack waited with the contract after the expand before it. Empty if not known.

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
    waited: str = ""

    @property
    def sends(self) -> tuple[StatementReview, ...]:
        """The known statements, from the static analysis or from the rehearsal."""
        return self.statements or (self.rehearsed.sent if self.rehearsed else ())


@dataclass(frozen=True)
class BaselineReview:
    """The baseline of a `revision`. Its statements run instead of those of the revisions that it `covers`."""

    revision: str
    checksum: str
    covers: tuple[str, ...]


@dataclass(frozen=True)
class PlanReview:
    """The review of a whole plan.

    The digest does not cover the rehearsal, `tables`, `as_of`, `held` and `phased`. So an update, which does not
    rehearse, computes the same digest, and the target in the digest determines what runs.

    Attributes:
        origin: The revision before the plan, as `plan.revision_text` writes it.
        target: The revision after the plan.
        database: `HOST:PORT/NAME`. Empty if it does not exist yet.
        rehearsed: Whether the plan was rehearsed.
        tables: The tables that the revisions change, with their neighbours, as far as the SQL is known.
        not_rehearsed: Why a requested rehearsal was not possible.
        copied: How many tables the rehearsal copied, if not all: `14 of 10,000 tables`.
        as_of: When the database was read, if that was before this review.
        held: A line for each pending revision that waits.
        phased: Whether the stack sets when contracts run.
        baseline: The baseline that an empty database starts from. Revisions that it covers are reviewed as if they ran.

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
        """The revisions whose statements run, without those that a baseline covers."""
        covered = frozenset(self.baseline.covers if self.baseline else ())
        return tuple(revision for revision in self.revisions if revision.id not in covered)

    @cached_property
    def digest(self) -> str:
        """The digest that an approval names.

        It is DIGEST_FORMULA, a digest of all PARTS, and for each of PARTS `-` with four hexadecimal digits. It covers
        structure only. Texts for people, such as the message of a finding, can change without a new approval.
        """
        parts = self._parts()
        return "-".join([f"{DIGEST_FORMULA}{_digest(parts, 32)}", *(_digest(parts[name], 4) for name in PARTS)])

    @property
    def running_code(self) -> str:
        """Whether code of the previous version runs on the schema after the plan: `yes`, or `no` with the reason.

        Empty for a plan without phases, for a downgrade, and for the first upgrade of a database.
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
        """Return the review as JSON values, which `from_json` reads."""
        document: dict[str, Any] = _written(self)
        return document

    @classmethod
    def from_json(cls, document: object) -> Self:
        """Read a review that `to_json` returned.

        Raises:
            MigrationError: The document has another form. The text names the place.

        """
        review: Self = _read(cls, document, "plan")
        return review


def differences(approved: str, digest: str) -> list[str]:
    """Return the names of PARTS in which two digests differ. All of them if one is not a digest."""
    pairs = zip(approved.split("-")[1:], digest.split("-")[1:], strict=False)
    same = [one == another for one, another in pairs]
    return [name for number, name in enumerate(PARTS) if number >= len(same) or not same[number]]


def _findings(revision: RevisionReview) -> list[Any]:
    """Return the rule, severity, tables and exception of each finding, those of the revision first."""
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
    """Return the SQL, and each effect as its kind and its object."""
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
    """Read a dataclass of this module from JSON values, with the types that its annotations name."""
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
