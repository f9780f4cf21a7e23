"""The strong locks of a revision: those that stop readers or writers of a table that is there before it. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pulumi_alembic.output.redact import redact
from pulumi_alembic.sql.catalog import Catalog
from pulumi_alembic.sql.effects import play
from pulumi_alembic.sql.locks import MODES, STRONG, Effects

__all__ = ["LockPlan", "Sent", "lock_plan"]

Sent = tuple[str, bool, Effects | None]
"""A statement, whether it is outside the revision's transaction, and what a rehearsal measured of it."""

_LOCKABLE = "rp"
"""The kinds of relations that LOCK TABLE takes and locks alone: of a view it would lock the tables too."""


@dataclass(frozen=True)
class LockPlan:
    """Which locks to take together right before `statement`, the first of the revision that needs one of them.

    `groups` are pairs of a mode and its tables, the weakest mode first, the tables by name. `unknown` says why the
    revision can need others too, and is empty if it cannot.
    """

    statement: str = ""
    groups: tuple[tuple[str, tuple[str, ...]], ...] = ()
    unknown: str = ""

    @property
    def tables(self) -> tuple[str, ...]:
        """All of the tables, by name."""
        return tuple(sorted(table for _, tables in self.groups for table in tables))


def lock_plan(statements: Iterable[Sent], catalog: Catalog) -> tuple[LockPlan, Catalog]:
    """The plan of a revision that sends these statements, and what is there behind it.

    `catalog` is what is there before it. A table that the revision itself creates needs no lock. What was measured
    counts instead of the static analysis.
    """
    start = catalog
    first, unknown = "", ""
    modes: dict[str, str] = {}
    for sql, outside, measured in statements:
        static, following = play(sql, catalog)
        for lock in () if outside else (measured or static).locks:
            if lock.mode in STRONG and _is_there(lock.table, start, catalog, following):
                first = first or redact(sql)
                modes[lock.table] = max(modes.get(lock.table, lock.mode), lock.mode, key=MODES.index)
        if not (outside or measured):
            unknown = unknown or next(iter(static.unknown), "")
        catalog = following
    groups = ((mode, tuple(sorted(table for table in modes if modes[table] == mode))) for mode in STRONG)
    return LockPlan(first, tuple(group for group in groups if group[1]), unknown), catalog


def _is_there(table: str, start: Catalog, before: Catalog, after: Catalog) -> bool:
    """Whether it is a table from before the revision, by the name that it has then."""
    if table in start.relations:
        return start.relations[table].kind in _LOCKABLE
    relations = [catalog.relations[table] for catalog in (before, after) if table in catalog.relations]
    return not start.complete and all(relation.assumed for relation in relations)
