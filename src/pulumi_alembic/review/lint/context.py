"""The input and the output of a check. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from pulumi_alembic.sql.catalog import Catalog
from pulumi_alembic.sql.locks import Effects

__all__ = ["Draft", "LintContext"]


@dataclass(frozen=True)
class LintContext:
    """The context of a statement.

    Attributes:
        catalog: The catalog before the statement.
        effects: The static analysis of the statement.
        outside: Whether the statement runs outside of the revision's transaction.
        made: Returns the relations of a catalog that the statement's revision has created.

    """

    catalog: Catalog
    effects: Effects
    outside: bool = False
    made: Callable[[Catalog], frozenset[str]] = lambda catalog: frozenset()

    @cached_property
    def new(self) -> frozenset[str]:
        """The relations that the statement's revision has created. Computed once, because few checks need it."""
        return self.made(self.catalog)


@dataclass(frozen=True)
class Draft:
    """A finding without a severity: `what` happens on which `tables`, and what to write `instead`.

    `recipe` is the command that writes the change for code of both versions, if the check knows it.
    """

    rule: str
    what: str
    tables: tuple[str, ...] = ()
    instead: str = ""
    recipe: str = ""
