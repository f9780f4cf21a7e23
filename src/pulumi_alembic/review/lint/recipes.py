"""The recipe that writes a change so that running code survives it. Pure."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

from pulumi_alembic.sql.catalog import Catalog, Relation

if TYPE_CHECKING:
    from pulumi_alembic.sql.running_code import Breakage

__all__ = ["recipe"]

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
