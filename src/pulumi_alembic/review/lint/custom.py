"""The interface for lint rules of other distributions. Import these classes to write a rule."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pulumi_alembic.sql.catalog import Catalog
    from pulumi_alembic.sql.parser import Node

__all__ = ["LINT_API", "LintFinding", "LintRule", "LintStatement"]

LINT_API = 1
"""The version of these classes and of the grammar that names the types and fields of the nodes."""


@dataclass(frozen=True)
class LintStatement:
    """One statement of a pending revision.

    Attributes:
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
        """Return the nodes of these types at any depth of the tree, in the order of the text."""
        from pulumi_alembic.sql.parser import nodes

        return nodes(self.node, *types)

    def name(self, relation: Node) -> str:
        """Return the full name of the relation of a `RangeVar`, as the catalog spells it."""
        from pulumi_alembic.sql.effects.queries import CatalogAfter

        return CatalogAfter(self.catalog).name(relation)


@dataclass(frozen=True)
class LintFinding:
    """One finding of a rule.

    Attributes:
        message: What the statement does. The rule's `why` follows it.
        tables: Full names of the tables that the finding is about.
        suggestion: What to write instead, as lines of a script.

    """

    message: str
    tables: tuple[str, ...] = ()
    suggestion: str = ""


@dataclass(frozen=True)
class LintRule:
    """A rule, which an entry point of the group `pulumi_alembic.lint` names.

    Attributes:
        check: Returns the findings in one statement.
        why: The harm that the rule prevents.
        api: The LINT_API that the rule is written for.
        severity: `error`, `warning` or `info`, or three of them, for empty, small and large tables. A finding on
            several tables has the severity of the largest. Tables that its revision created do not count.

    """

    check: Callable[[LintStatement], Iterable[LintFinding]]
    why: str
    api: int
    severity: str | tuple[str, str, str] = "warning"
