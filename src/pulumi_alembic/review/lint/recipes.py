"""The recipe that writes a change so that running code survives it. Pure."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable
from typing import TYPE_CHECKING

from pulumi_alembic.sql.catalog import Catalog, Relation

if TYPE_CHECKING:
    from pulumi_alembic.review.lint.context import Draft
    from pulumi_alembic.sql.running_code import Breakage

__all__ = ["avoiding", "recipe"]

_COLUMN = {
    "drops ": "drop-column {table} {column}",
    "renames ": "rename-column {table} {column} {new}",
    "changes the type of ": "change-type {table} {column} {new}",
}
_TABLE = {"drops ": "drop-table {table}", "renames ": "rename-table {table} {new}"}
_ADDED = {
    r"adds CHECK \((.*)\) to ": "add-check {table} NAME {added}",
    r"adds a foreign key \(([\w$]+)\) to ": "add-foreign-key {table} {added} OTHER KEY",
    r"adds (?:UNIQUE|a unique index) \(([\w$]+(?:, [\w$]+)*)\) to ": "add-unique {table} {added}",
}

_AVOID = {
    "adding-foreign-key-constraint": {"add-foreign-key"},
    "adding-not-nullable-field": {"set-not-null"},
    "adding-required-field": {"add-not-null-column"},
    "constraint-missing-not-valid": {"add-check"},
    "destroys-data": {"drop-column", "drop-table"},
    "disallowed-unique-constraint": {"add-unique"},
    "renaming-column": {"rename-column"},
    "renaming-table": {"rename-table"},
    "require-concurrent-index-creation": {"add-unique"},
}
"""By lint rule, the recipes whose revisions it accepts."""


def avoiding(draft: Draft, commands: Iterable[str]) -> list[str]:
    """Return a line for each of these commands whose recipe writes the change without such a finding."""
    named = [command for command in commands if command.split()[2] in _AVOID.get(draft.rule, ())]
    return [
        f"# a recipe writes it for code of both versions: {command}" for command in (*named, draft.recipe) if command
    ]


def recipe(breakage: Breakage, schema: Catalog) -> str:
    """Return the command of a recipe for what a revision breaks. Empty if there is none.

    Args:
        breakage: what the revision breaks.
        schema: the catalog for which the code was written.

    """
    table, column, text = breakage
    relation = schema.relations.get(table, Relation(table))
    if not table or relation.kind != "r":
        return ""
    words = {"table": table, "column": column, "new": _bare(text.rpartition(" to ")[2])}
    form = next((form for start, form in (_COLUMN if column else _TABLE).items() if text.startswith(start)), "")
    if text.startswith("requires a value for "):
        form = "set-not-null {table} {column}"
        if relation.columns and column not in relation.columns:
            form = "add-not-null-column {table} {column} TYPE DEFAULT"
    for pattern, added in _ADDED.items():
        if match := re.match(pattern, text, re.DOTALL):
            form, words["added"] = added, match[1] if "CHECK" in pattern else match[1].replace(", ", ",")
    return shlex.join(["pulumi-alembic", "new", *(word.format(**words) for word in form.split())]) if form else ""


def _bare(name: str) -> str:
    return name[1:-1].replace('""', '"') if name.startswith('"') else name
