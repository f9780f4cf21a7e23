"""What a check sees of a statement, and what it says. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from pulumi_alembic.sql.catalog import Catalog
from pulumi_alembic.sql.locks import Effects

__all__ = ["Draft", "Sight"]


@dataclass(frozen=True)
class Sight:
    """`catalog` is what is there before the statement, `new` what its own revision has made."""

    catalog: Catalog
    effects: Effects
    outside: bool = False
    new: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Draft:
    """A finding before its severity is known: `what` happens on which `tables`, and what to write `instead`."""

    rule: str
    what: str
    tables: tuple[str, ...] = ()
    instead: str = ""
