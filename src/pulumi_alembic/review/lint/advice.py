"""What to write instead, as a script's lines, with the names of the statement itself. Pure."""

from __future__ import annotations

import re
from typing import Any

from pulumi_alembic.sql.catalog import quoted
from pulumi_alembic.sql.parser import edited, printed

__all__ = ["NEXT", "allow", "batched", "block", "execute", "named", "not_null", "only", "steps", "written"]

LONGEST = 63
"""Bytes of a name."""

NEXT = "# in the next revision:"


def execute(sql: str) -> str:
    """The statement in the revision's transaction."""
    # SQLAlchemy takes :name for a parameter; a cast's two colons it leaves.
    escaped = re.sub(r"(?<!:):(?=[A-Za-z_])", r"\\:", sql)
    return f"op.execute({_literal(escaped)})"


def block(sql: str) -> str:
    """The statement outside of the transaction."""
    return f"with op.get_context().autocommit_block():\n    {execute(sql)}"


def batched(table: str, assignments: str, where: str = "") -> str:
    """An update in short transactions."""
    condition = f", where={_literal(where)}" if where else ""
    return f"batched_update({_literal(table)}, {_literal(assignments)}{condition})"


def steps(*revisions: str) -> str:
    """Parts of which each is a revision of its own."""
    return f"\n{NEXT}\n".join(revisions)


def allow(rule: str, advice: str) -> str:
    """The suggestion if no statement does the same without the harm: advice, and the comment that allows it."""
    return f"# {advice}\n# if it is meant, above the statement: # lint: allow {rule}: REASON"


def not_null(table: str, column: str, name: str) -> tuple[str, str, str]:
    """Three revisions that make a column NOT NULL without a scan under ACCESS EXCLUSIVE."""
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
    """The name that PostgreSQL gives (15: makeObjectName), unless another thing has it."""
    parts = [table.encode(), "_".join(columns).encode()]
    while sum(map(len, parts)) + len(label) + 1 + bool(columns) > LONGEST:
        longer = 0 if len(parts[0]) > len(parts[1]) else 1
        parts[longer] = parts[longer][:-1]
    return "_".join([*(part.decode(errors="ignore") for part in parts if part), label])


def written(relation: Any) -> str:
    """The name as the statement has it."""
    return quoted(relation.schemaname or "", relation.relname)


def only(node: Any, command: Any) -> str:
    """ALTER TABLE with this one of its actions."""
    return printed(edited(node, cmds=[command]))


def _literal(text: str) -> str:
    """The text as Python; in double quotes where it can be, as formatters have it."""
    escaped = text.replace("\\", "\\\\").replace("\n", "\\n")
    return f'"{escaped}"' if '"' not in text else repr(text)
