"""The lock plan: the strong locks of a revision, which block readers or writers of existing tables. Pure functions."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pulumi_alembic.output.redact import redact
from pulumi_alembic.sql.catalog import Catalog
from pulumi_alembic.sql.effects import play
from pulumi_alembic.sql.locks import MODES, STRONG, Effects

__all__ = ["LockPlan", "Sent", "lock_plan"]

Sent = tuple[str, bool, Effects | None]
"""A statement, whether it runs outside the revision's transaction, and its effects as a rehearsal measured them."""

_LOCKABLE = "rp"
"""Kinds of relations that LOCK TABLE can lock by themselves. For a view it would lock the tables too."""


@dataclass(frozen=True)
class LockPlan:
    """The locks to take together right before the revision's first statement that needs one of them.

    Attributes:
        statement: that statement.
        groups: pairs of a mode and its sorted tables, the weakest mode first.
        unknown: why the revision can need further locks. Empty if it cannot.
        destroys: for each statement that deletes something, what it is, as `Effects.destroys` names it.

    """

    statement: str = ""
    groups: tuple[tuple[str, tuple[str, ...]], ...] = ()
    unknown: str = ""
    destroys: tuple[tuple[str, ...], ...] = ()

    @property
    def tables(self) -> tuple[str, ...]:
        """All of the tables, sorted by name."""
        return tuple(sorted(table for _, tables in self.groups for table in tables))


def lock_plan(statements: Iterable[Sent], catalog: Catalog) -> tuple[LockPlan, Catalog]:
    """Return the lock plan of a revision that sends these statements, and the catalog after it.

    Tables that the revision itself creates need no lock. Measured effects replace the static analysis.

    Args:
        statements: in order.
        catalog: before the revision.

    """
    start = catalog
    first, unknown = "", ""
    modes: dict[str, str] = {}
    destroys: list[tuple[str, ...]] = []
    for sql, outside, measured in statements:
        static, following = play(sql, catalog)
        for lock in () if outside else (measured or static).locks:
            if lock.mode in STRONG and _is_there(lock.table, start, catalog, following):
                first = first or redact(sql)
                modes[lock.table] = max(modes.get(lock.table, lock.mode), lock.mode, key=MODES.index)
        if static.destroys and not outside:
            destroys.append(tuple(static.destroys))
        if not (outside or measured):
            unknown = unknown or next(iter(static.unknown), "")
        catalog = following
    groups = ((mode, tuple(sorted(table for table in modes if modes[table] == mode))) for mode in STRONG)
    return LockPlan(first, tuple(group for group in groups if group[1]), unknown, tuple(destroys)), catalog


def _is_there(table: str, start: Catalog, before: Catalog, after: Catalog) -> bool:
    """Return whether it is a table from before the revision, by its current name."""
    if table in start.relations:
        return start.relations[table].kind in _LOCKABLE
    relations = [catalog.relations[table] for catalog in (before, after) if table in catalog.relations]
    return not start.complete and all(relation.assumed for relation in relations)
