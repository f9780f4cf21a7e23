"""Run our own checks on one statement: first the check of its kind, then checks of its remaining effects."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from pulumi_alembic.review.lint import columns, constraints, indexes, rights, rows
from pulumi_alembic.review.lint.advice import allow, written
from pulumi_alembic.review.lint.context import Draft, LintContext
from pulumi_alembic.review.lint.rules import RULES, Scale
from pulumi_alembic.review.lint.types import json_columns
from pulumi_alembic.sql.effects.queries import CatalogAfter
from pulumi_alembic.sql.locks import MODES

__all__ = ["check"]

_BLOCKING = MODES[MODES.index("SHARE") :]
_KEEPS = ("destroys-data", "inline-foreign-key", "lock-table")
"""Rules that do not imply that a table is rewritten or scanned."""


def check(context: LintContext, node: Any) -> list[Draft]:
    """Return the findings in one parsed statement."""
    kind = node.tag
    drafts = list(_CHECKS[kind](context, node)) if kind in _CHECKS else []
    drafts += json_columns(node)
    tables = {table for draft in drafts if draft.rule not in _KEEPS and _is_sized(draft) for table in draft.tables}
    drafts += _by_effects(context, tables | {part for table in tables for part in context.catalog.descendants(table)})
    return [*drafts, *rows.destroyed(context, {draft.rule for draft in drafts})]


def _is_sized(draft: Draft) -> bool:
    return RULES[draft.rule].scale is Scale.SIZE


def _by_effects(context: LintContext, told: set[str]) -> Iterator[Draft]:
    """Return drafts for rewrites and scans of tables that no other check covers."""
    advice = "no way without it is known here: choose a quiet hour"
    for table in context.effects.rewrites:
        if table not in told:
            yield Draft("table-rewrite", f"rewrites {table}", (table,), allow("table-rewrite", advice))
    modes = {lock.table: lock.mode for lock in context.effects.locks}
    for table in context.effects.scans:
        if table not in told and modes.get(table) in _BLOCKING:
            what = f"scans all of {table} under {modes[table]}"
            yield Draft("blocking-scan", what, (table,), allow("blocking-scan", advice))


def _alter(context: LintContext, node: Any) -> Iterator[Draft]:
    if node.objtype not in {"OBJECT_TABLE", "OBJECT_FOREIGN_TABLE"}:
        return
    table = CatalogAfter(context.catalog).name(node.relation)
    for command in node.cmds:
        if check := _ACTIONS.get(command.subtype):
            yield from check(context, node, command, table)


def _maintain(context: LintContext, node: Any) -> Iterator[Draft]:
    rule = "cluster" if node.tag == "ClusterStmt" else "vacuum-full"
    for table in context.effects.rewrites:
        instead = f'with op.get_context().autocommit_block():\n    op.execute("VACUUM (ANALYZE) {table}")'
        yield Draft(rule, f"rewrites {table}", (table,), instead)


def _lock(context: LintContext, node: Any) -> Iterator[Draft]:
    mode = MODES[node.mode - 1]
    if mode in _BLOCKING:
        tables = tuple(CatalogAfter(context.catalog).name(relation) for relation in node.relations)
        names = ", ".join(written(relation) for relation in node.relations)
        advice = "each statement takes the locks that it needs, and no more: leave this one out"
        yield Draft("lock-table", f"locks {names}: {mode}", tables, allow("lock-table", advice))


_ACTIONS: dict[str, Callable[[LintContext, Any, Any, str], Iterator[Draft]]] = {
    "AT_AddColumn": columns.add_column,
    "AT_AlterColumnType": columns.change_type,
    "AT_SetNotNull": columns.set_not_null,
    "AT_AddConstraint": constraints.add_constraint,
}

_CHECKS: dict[str, Callable[[LintContext, Any], Iterator[Draft]]] = {
    "AlterTableStmt": _alter,
    "ClusterStmt": _maintain,
    "CreateFunctionStmt": rights.create_function,
    "CreateStmt": constraints.inline_keys,
    "DeleteStmt": rows.delete,
    "DropStmt": indexes.drop,
    "GrantStmt": rights.grant,
    "IndexStmt": indexes.create,
    "LockStmt": _lock,
    "TruncateStmt": rows.truncate,
    "UpdateStmt": rows.update,
    "VacuumStmt": _maintain,
}
