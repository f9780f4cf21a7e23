"""Which kept rows go back later than the revision that they are of. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pulumi_alembic.keeping.entry import Entry

__all__ = ["waits"]


def waits(mine: Sequence[Entry], kept: Sequence[Entry], following: Sequence[str]) -> list[tuple[Entry, str]]:
    """Those of `mine` that a later revision of this run is to come first for, and that revision.

    It adds a column that no row can be without and that has no default: with rows in the table it would fail. Their
    values are among what is `kept` as well. What refers to rows that wait waits with them.
    """
    until: dict[str, int] = {}
    for place, revision in enumerate(following):
        for each in kept:
            if each.revision == revision and each.required:
                until[each.into] = place
    for _ in mine:
        for each in mine:
            for parent in each.refers:
                if (place := until.get(parent, -1)) > until.get(each.into, -1):
                    until[each.into] = place
    return [(each, following[until[each.into]]) for each in mine if each.into in until]
