"""What a check sees of a statement, and what it says. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from pulumi_alembic.sql.catalog import Catalog
from pulumi_alembic.sql.locks import Effects

__all__ = ["Draft", "LintContext"]


@dataclass(frozen=True)
class LintContext:
    """`catalog` is what is there before the statement, and `made` gives what its own revision has made of that."""

    catalog: Catalog
    effects: Effects
    outside: bool = False
    made: Callable[[Catalog], frozenset[str]] = lambda catalog: frozenset()

    @cached_property
    def new(self) -> frozenset[str]:
        """What its own revision has made: of a thousand tables, which few checks ask for."""
        return self.made(self.catalog)


@dataclass(frozen=True)
class Draft:
    """A finding before its severity is known: `what` happens on which `tables`, and what to write `instead`."""

    rule: str
    what: str
    tables: tuple[str, ...] = ()
    instead: str = ""
