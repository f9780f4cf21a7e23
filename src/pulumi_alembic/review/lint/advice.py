"""Suggestions as lines of a script, with the names of the statement. Pure."""

from __future__ import annotations

import re
from typing import Any

from pulumi_alembic.sql.catalog import quoted
from pulumi_alembic.sql.parser import edited, printed

__all__ = ["NEXT", "allow", "batched", "block", "execute", "named", "not_null", "only", "steps", "written"]

LONGEST = 63
"""The longest name in bytes."""

NEXT = "# in the next revision:"


def execute(sql: str) -> str:
    """Return the line that runs SQL in the revision's transaction."""
    # SQLAlchemy reads :name as a parameter, but not the two colons of a cast.
    escaped = re.sub(r"(?<!:):(?=[A-Za-z_])", r"\\:", sql)
    return f"op.execute({_literal(escaped)})"


def block(sql: str) -> str:
    """Return the lines that run SQL outside of the transaction."""
    return f"with op.get_context().autocommit_block():\n    {execute(sql)}"


def batched(table: str, assignments: str, where: str = "") -> str:
    """Return the line that updates a table in short transactions."""
    condition = f", where={_literal(where)}" if where else ""
    return f"batched_update({_literal(table)}, {_literal(assignments)}{condition})"


def steps(*revisions: str) -> str:
    """Join lines that belong into separate revisions."""
    return f"\n{NEXT}\n".join(revisions)


def allow(rule: str, advice: str) -> str:
    """Return advice with the comment that allows the finding, for a statement without a harmless form."""
    return f"# {advice}\n# if it is meant, above the statement: # lint: allow {rule}: REASON"


def not_null(table: str, column: str, name: str) -> tuple[str, str, str]:
    """Return the lines of three revisions that make a column NOT NULL without a scan under ACCESS EXCLUSIVE."""
    check = quoted(named(name, [column], "not_null"))
    column = quoted(column)
    return (
        execute(f"ALTER TABLE {table} ADD CONSTRAINT {check} CHECK ({column} IS NOT NULL) NOT VALID"),
        execute(f"ALTER TABLE {table} VALIDATE CONSTRAINT {check}"),
        "\n".join(
            [
                execute(f"ALTER TABLE {table} ALTER COLUMN {column} SET NOT NULL"),
                execute(f"ALTER TABLE {table} DROP CONSTRAINT {check}"),
            ]
        ),
    )


def named(table: str, columns: list[str], label: str) -> str:
    """Return the name that PostgreSQL generates (15: makeObjectName) if it is not taken."""
    parts = [table.encode(), "_".join(columns).encode()]
    while sum(map(len, parts)) + len(label) + 1 + bool(columns) > LONGEST:
        longer = 0 if len(parts[0]) > len(parts[1]) else 1
        parts[longer] = parts[longer][:-1]
    return "_".join([*(part.decode(errors="ignore") for part in parts if part), label])


def written(relation: Any) -> str:
    """Return the relation's name as the statement spells it."""
    return quoted(relation.schemaname or "", relation.relname)


def only(node: Any, command: Any) -> str:
    """Return the ALTER TABLE statement with only this action."""
    return printed(edited(node, cmds=[command]))


def _literal(text: str) -> str:
    """Return the text as a Python literal, in double quotes if possible, as formatters write it."""
    escaped = text.replace("\\", "\\\\").replace("\n", "\\n")
    return f'"{escaped}"' if '"' not in text else repr(text)
