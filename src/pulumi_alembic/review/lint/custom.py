"""What a lint rule of another distribution is written with: the statement it is given, and the findings it returns."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pulumi_alembic.sql.catalog import Catalog
    from pulumi_alembic.sql.parser import Node

__all__ = ["LINT_API", "LintFinding", "LintRule", "LintStatement"]

LINT_API = 1
"""The version of this interface: of these classes, and of the grammar that names the types and fields of the nodes."""


@dataclass(frozen=True)
class LintStatement:
    """One statement of a pending revision.

    Args:
        sql: Its text.
        node: Its tree, whose types and fields have the names of PostgreSQL 18's grammar.
        catalog: The tables, indexes, views and sequences before the statement. Its `relations` are empty or not
            `complete` if they are not known.
        direction: `upgrade` or `downgrade`.
        in_transaction: Whether it runs in the transaction of its revision.
        created: The relations that its own revision has created.

    """

    sql: str
    node: Node
    catalog: Catalog
    direction: str
    in_transaction: bool
    created: frozenset[str]

    def nodes(self, *types: str) -> Iterator[Node]:
        """The nodes of these types at any depth of the tree, in the order of the text."""
        from pulumi_alembic.sql.parser import nodes

        return nodes(self.node, *types)

    def name(self, relation: Node) -> str:
        """The full name of the relation that a `RangeVar` means, as the catalog has it."""
        from pulumi_alembic.sql.effects.queries import CatalogAfter

        return CatalogAfter(self.catalog).name(relation)


@dataclass(frozen=True)
class LintFinding:
    """One finding of a rule.

    Args:
        message: What the statement does. The rule's `why` follows it.
        tables: Full names of the tables it is about.
        suggestion: What to write instead, as lines of a script.

    """

    message: str
    tables: tuple[str, ...] = ()
    suggestion: str = ""


@dataclass(frozen=True)
class LintRule:
    """A rule, which an entry point of the group `pulumi_alembic.lint` names.

    Args:
        check: Gives the findings in one statement.
        why: What it costs not to follow the rule.
        api: The LINT_API that the rule is written for.
        severity: `error`, `warning` or `info`; or three of them, for empty, small and large tables. A finding on
            several tables has the severity of the largest, and one on tables that its revision created is left out.

    """

    check: Callable[[LintStatement], Iterable[LintFinding]]
    why: str
    api: int
    severity: str | tuple[str, str, str] = "warning"
