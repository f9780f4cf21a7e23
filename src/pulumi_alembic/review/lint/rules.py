"""The table of built-in lint rules: name, default severities and reason. Come here to add a rule. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from pulumi_alembic.review.plan_review import Severity
from pulumi_alembic.scripts.phases import BEHIND, BREAKS, NEEDLESS
from pulumi_alembic.scripts.promotion import UNPROVEN

__all__ = ["BROKEN", "OF_PLAN", "RULES", "SQUAWK", "Rule", "Scale"]

BROKEN = "broken-rule"
"""The name of the rule for a rule of another distribution that raised an error."""


class Scale(StrEnum):
    """What a rule's severity depends on: the rows of the table, or whether the stack is a production stack."""

    SIZE = "empty / small / large table"
    STACK = "any stack / production"
    PHASED = "any stack / production with taskdb:contract"
    FIXED = "always"


@dataclass(frozen=True)
class Rule:
    """A rule of lint.

    Attributes:
        scale: What the severity depends on.
        levels: The severities, for the mildest situation of `scale` first.
        why: The harm that the rule prevents.
        by_squawk: Whether squawk finds it.

    """

    name: str
    scale: Scale
    levels: tuple[Severity, ...]
    why: str
    by_squawk: bool = False


_E, _W, _I = Severity.ERROR, Severity.WARNING, Severity.INFO


def _sized(name: str, why: str, levels: tuple[Severity, ...] = (_I, _W, _E)) -> Rule:
    return Rule(name, Scale.SIZE, levels, why)


def _squawk(name: str, level: Severity, why: str) -> Rule:
    return Rule(name, Scale.FIXED, (level,), why, by_squawk=True)


def _always(name: str, level: Severity, why: str) -> Rule:
    return Rule(name, Scale.FIXED, (level,), why)


def _practice(name: str, why: str, levels: tuple[Severity, ...] = (_W, _E)) -> Rule:
    return Rule(name, Scale.STACK, levels, why)


_ALL = (
    _sized("require-concurrent-index-creation", "writers wait while the index is built"),
    _sized("require-concurrent-index-deletion", "readers and writers queue behind the lock", (_I, _W, _W)),
    Rule("require-concurrent-reindex", Scale.SIZE, (_I, _W, _E), "writers wait while the index is built", True),
    Rule("require-concurrent-partition-detach", Scale.SIZE, (_I, _W, _W), "readers and writers queue behind it", True),
    _sized("adding-foreign-key-constraint", "writers of both tables wait while every row is looked up"),
    _sized("constraint-missing-not-valid", "readers and writers wait while every row is tested"),
    _sized("disallowed-unique-constraint", "readers and writers wait while the constraint's index is built"),
    _sized("adding-not-nullable-field", "readers and writers wait while every row is tested"),
    _sized("adding-required-field", "it fails if the table has rows: they have no value for it", (_I, _E, _E)),
    _sized("adding-field-with-default", "readers and writers wait while the table is rewritten"),
    _sized("adding-serial-field", "readers and writers wait while the table is rewritten"),
    _sized("adding-identity", "readers and writers wait while the table is rewritten or scanned"),
    _sized("changing-column-type", "readers and writers wait while the table is rewritten or scanned"),
    _sized("inline-foreign-key", "writers of that table wait until the revision ends", (_I, _W, _W)),
    _sized("unbatched-update", "each row stays locked until the revision ends, and each leaves a dead tuple"),
    _sized("unbatched-delete", "each row stays locked until the revision ends"),
    _sized("truncate", "every row is deleted, and readers and writers wait", (_I, _W, _E)),
    _sized("vacuum-full", "readers and writers wait while the table is rewritten"),
    _sized("cluster", "readers and writers wait while the table is rewritten"),
    _sized("lock-table", "others wait until the revision ends", (_I, _W, _W)),
    _sized("table-rewrite", "readers and writers wait while the table is rewritten"),
    _sized("blocking-scan", "others wait while the whole table is scanned"),
    _sized("destroys-data", "only a backup restores what is not preserved", (_I, _W, _W)),
    _always("index-if-not-exists", _W, "an index that an interrupted build left invalid is taken for the one wanted"),
    _always("prefer-jsonb", _W, "json has no equality, no index, and is parsed again at each use"),
    _always("grant-to-public", _W, "every role of the server gets it, also future ones"),
    _always("endless-backfill", _E, "a row that is set still matches, so the backfill would not end"),
    _always("syntax-error", _E, "the server will refuse it, and the revision with it"),
    _always("security-definer-search-path", _E, "its caller's search_path decides which objects it finds"),
    _squawk("ban-char-field", _W, "char(n) pads with spaces that comparisons ignore"),
    _squawk("prefer-timestamp-tz", _W, "timestamp without time zone drops the offset"),
    _squawk("prefer-identity", _I, "a serial's sequence has owner and grants of its own"),
    _squawk("renaming-column", _W, "clients that still run use the old name"),
    _squawk("renaming-table", _W, "clients that still run use the old name"),
    _squawk("ban-drop-database", _E, "a revision belongs to one database and cannot drop it"),
    _squawk("ban-truncate-cascade", _E, "tables that the statement does not name are emptied too"),
    _squawk("ban-create-domain-with-constraint", _W, "a domain's constraint cannot be changed without a long lock"),
    _squawk("ban-alter-domain-with-add-constraint", _W, "every table with a column of it is tested under lock"),
    _squawk("identifier-too-long", _W, "PostgreSQL cuts it at 63 bytes, and code looks for the whole"),
    _squawk("require-enum-value-ordering", _I, "without BEFORE or AFTER the value sorts last"),
    _practice("irreversible-downgrade", "a rollback is impossible: make each revision reversible"),
    _practice("undocumented-revision", "a later reader does not learn why", (_W, _W)),
    _practice("unreviewed-revision", "autogenerate guesses: a rename is a drop and an add to it"),
    _practice("models-differ", "the application relies on what its models say"),
    Rule(BREAKS, Scale.PHASED, (_W, _E), "code of the previous version, which runs during a deployment, can fail"),
    _always(NEEDLESS, _W, "a contract can be held back, and with it what builds on it"),
    _always(BEHIND, _W, "as long as a stack holds the contract, it rejects this revision"),
    _always(UNPROVEN, _E, "it would fail here first"),
    _always("production-without-backup", _E, "a mistake on production cannot be rolled back"),
    _always("other-tools", _W, "another version can run its downgrade differently"),
    _always("runs-python", _I, "its SQL is known only when it runs, as in a rehearsal"),
    _always(BROKEN, _E, "it is not known what the rule would have found"),
    _always("bad-excuse", _E, "an exception needs a reason and the name of a rule"),
    _always("unused-excuse", _W, "the finding that it allows does not exist, and it would hide the next one"),
)

RULES = {rule.name: rule for rule in _ALL}
"""The rules by name. A rule with the same meaning as squawk's has squawk's name."""

OF_PLAN = frozenset({UNPROVEN, "production-without-backup", BROKEN})
"""Rules that no comment in a script can satisfy."""

SQUAWK = frozenset(rule.name for rule in _ALL if rule.by_squawk)
"""The rules that squawk finds. Its other rules are off, for these reasons.

Rules about locks, rewrites and scans are found here, under the same names, from the effects on the existing tables.
`prefer-robust-stmts`, `transaction-nesting`, `ban-uncommitted-transaction`, the timeouts and
`ban-concurrent-index-creation-in-transaction`: a revision is one transaction with a `lock_timeout`, and other
statements are rejected. `prefer-text-field`: a longer varchar is no rewrite since PostgreSQL 9.2.
`ban-drop-…`: destroys-data. `prefer-bigint-over-int`: most columns count less than two thousand million.
Its opt-in rules forbid ordinary statements.
"""
