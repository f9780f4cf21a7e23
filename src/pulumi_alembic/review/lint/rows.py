"""Checks of statements about all rows of a table, and of statements that delete data. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from pulumi_alembic.review.lint.advice import allow, batched, written
from pulumi_alembic.review.lint.context import Draft, LintContext
from pulumi_alembic.sql.catalog import quoted
from pulumi_alembic.sql.effects.queries import CatalogAfter
from pulumi_alembic.sql.parser import nodes, printed

__all__ = ["delete", "destroyed", "endless", "truncate", "update"]

_TOLD = {"truncate", "unbatched-delete", "unbatched-update"}
_GONE = re.compile(r"(?P<kind>table|materialized view|column|values of|some values of|rows of) (?P<name>.+)")


def update(context: LintContext, node: Any) -> Iterator[Draft]:
    """Check UPDATE of every row."""
    if not _all_rows(node) or context.outside or node.fromClause:
        return
    table = CatalogAfter(context.catalog).name(node.relation)
    instead = batched(_name(node), _assignments(node))
    if node.relation.alias or node.withClause or node.returningClause or not node.relation.inh:
        advice = "write it for batched_update: its assignments without an alias, WITH, RETURNING and ONLY"
        instead = allow("unbatched-update", advice)
    yield Draft("unbatched-update", f"updates {_every_row(context, table)}", (table,), instead)


def delete(context: LintContext, node: Any) -> Iterator[Draft]:
    """Check DELETE of every row."""
    if _all_rows(node) and not node.usingClause:
        table = CatalogAfter(context.catalog).name(node.relation)
        advice = "say with WHERE which rows are meant; for all of them TRUNCATE is quicker"
        yield Draft(
            "unbatched-delete", f"deletes {_every_row(context, table)}", (table,), allow("unbatched-delete", advice)
        )


def truncate(context: LintContext, node: Any) -> Iterator[Draft]:
    """Check TRUNCATE."""
    tables = tuple(context.effects.rewrites)
    advice = "only a backup restores the rows"
    yield Draft("truncate", f"empties {', '.join(tables)}", tables, allow("truncate", advice))


def endless(context: LintContext, node: Any) -> Iterator[Draft]:
    """Check the statement of a backfill: whether nothing that it assigns can make its condition false.

    Only a condition of comparisons is judged. A trigger, a rule or a generated column can make one false too, and so
    can time.
    """
    table = CatalogAfter(context.catalog).name(node.relation)
    relation = context.catalog.relations.get(table)
    if relation is None or relation.assumed or any(nodes(node.whereClause, "SubLink", "FuncCall", "SQLValueFunction")):
        return
    parts = [relation, *(context.catalog.relations[part] for part in context.catalog.descendants(table))]
    if any(part.triggers or part.rules for part in parts):
        return
    mentioned = {str(reference.fields[-1].sval) for reference in nodes(node.whereClause, "ColumnRef")}
    assigned = [str(target.name) for target in node.targetList]
    # A generated column has a default in the catalog. A name that is no column can mean the whole row.
    plain = {name for name, column in relation.columns.items() if not column.default}
    if mentioned <= plain - {*assigned}:
        instead = f'backfill(…, where="{quoted(assigned[0])} IS NULL")'
        yield Draft(
            "endless-backfill", f"the condition of the backfill of {table} uses no column that it sets", (), instead
        )


def destroyed(context: LintContext, told: set[str]) -> Iterator[Draft]:
    """Return drafts for deleted rows and values, unless a rule in `told` already covers them."""
    if told & _TOLD:
        return
    for thing in context.effects.destroys:
        if match := _GONE.fullmatch(thing):
            whole = match["kind"] in {"table", "materialized view", "rows of"}
            table = match["name"] if whole else match["name"].rpartition(".")[0]
            advice = f"first save what is needed, for example with pg_dump --table='{table}'"
            yield Draft("destroys-data", f"deletes {thing}", (table,), allow("destroys-data", advice))


def _every_row(context: LintContext, table: str) -> str:
    relation = context.catalog.relations.get(table)
    if relation is not None and relation.forced:
        return (
            f"of {table} only the rows that its policies show to its owner, maybe none, as row-level security is "
            f"forced: ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY before it shows all"
        )
    return f"every row of {table}"


def _all_rows(node: Any) -> bool:
    where = node.whereClause
    return where is None or (where.tag == "A_Const" and where.val is not None and where.val.boolval is True)


def _assignments(node: Any) -> str:
    assignments = re.sub(r"^UPDATE .*? SET ", "", printed(node), count=1, flags=re.DOTALL)
    return re.sub(r" WHERE (?:true|TRUE)$", "", assignments)


def _name(node: Any) -> str:
    return written(node.relation)
