"""What our own checks find in one statement: each goes to what knows its kind; what is left goes by its effects."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from pulumi_alembic.review.lint import columns, constraints, indexes, rights, rows
from pulumi_alembic.review.lint.advice import excuse, written
from pulumi_alembic.review.lint.context import Draft, Sight
from pulumi_alembic.review.lint.rules import RULES, Scale
from pulumi_alembic.review.lint.types import json_columns
from pulumi_alembic.sql.effects.queries import Scene
from pulumi_alembic.sql.locks import MODES

__all__ = ["check"]

_BLOCKING = MODES[MODES.index("SHARE") :]
_KEEPS = ("destroys-data", "inline-foreign-key", "lock-table")
"""Rules that do not say that the table is rewritten or scanned."""


def check(sight: Sight, node: Any) -> list[Draft]:
    """What the statement, as a tree, does that others would feel, and what it makes that will be regretted."""
    kind = node.tag
    found = list(_CHECKS[kind](sight, node)) if kind in _CHECKS else []
    found += json_columns(node)
    told = {table for each in found if each.rule not in _KEEPS and _is_sized(each) for table in each.tables}
    found += _by_effects(sight, told | {part for each in told for part in sight.catalog.descendants(each)})
    return [*found, *rows.destroyed(sight, {each.rule for each in found})]


def _is_sized(draft: Draft) -> bool:
    return RULES[draft.rule].scale is Scale.SIZE


def _by_effects(sight: Sight, told: set[str]) -> Iterator[Draft]:
    """What no other check has said yet of a table."""
    advice = "no way without it is known here: choose a quiet hour"
    for table in sight.effects.rewrites:
        if table not in told:
            yield Draft("table-rewrite", f"rewrites {table}", (table,), excuse("table-rewrite", advice))
    modes = {lock.table: lock.mode for lock in sight.effects.locks}
    for table in sight.effects.scans:
        if table not in told and modes.get(table) in _BLOCKING:
            what = f"scans all of {table} under {modes[table]}"
            yield Draft("blocking-scan", what, (table,), excuse("blocking-scan", advice))


def _alter(sight: Sight, node: Any) -> Iterator[Draft]:
    if node.objtype not in {"OBJECT_TABLE", "OBJECT_FOREIGN_TABLE"}:
        return
    table = Scene(sight.catalog).name(node.relation)
    for command in node.cmds:
        if check := _ACTIONS.get(command.subtype):
            yield from check(sight, node, command, table)


def _maintain(sight: Sight, node: Any) -> Iterator[Draft]:
    rule = "cluster" if node.tag == "ClusterStmt" else "vacuum-full"
    for table in sight.effects.rewrites:
        instead = f'with op.get_context().autocommit_block():\n    op.execute("VACUUM (ANALYZE) {table}")'
        yield Draft(rule, f"rewrites {table}", (table,), instead)


def _lock(sight: Sight, node: Any) -> Iterator[Draft]:
    mode = MODES[node.mode - 1]
    if mode in _BLOCKING:
        tables = tuple(Scene(sight.catalog).name(each) for each in node.relations)
        names = ", ".join(written(each) for each in node.relations)
        advice = "each statement takes the locks that it needs, and no more: leave this one out"
        yield Draft("lock-table", f"locks {names}: {mode}", tables, excuse("lock-table", advice))


_ACTIONS: dict[str, Callable[[Sight, Any, Any, str], Iterator[Draft]]] = {
    "AT_AddColumn": columns.add_column,
    "AT_AlterColumnType": columns.change_type,
    "AT_SetNotNull": columns.set_not_null,
    "AT_AddConstraint": constraints.add_constraint,
}

_CHECKS: dict[str, Callable[[Sight, Any], Iterator[Draft]]] = {
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
