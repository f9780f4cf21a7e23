"""Names that statements mention, and whether they can affect relations that they do not mention. Pure functions."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from pulumi_alembic.sql.parser import Node, ParseError, nodes, parse

__all__ = ["mentioned", "new_prefixes", "words"]

_WORD = re.compile(r"[^\W\d][\w$]*")

_LOCAL = {
    "AlterEnumStmt", "AlterPolicyStmt", "AlterSeqStmt", "AlterStatsStmt", "ClusterStmt", "CommentStmt",
    "CompositeTypeStmt", "CopyStmt", "CreateDomainStmt", "CreateEnumStmt", "CreateFunctionStmt", "CreatePolicyStmt",
    "CreateRangeStmt", "CreateSchemaStmt", "CreateSeqStmt", "CreateStatsStmt", "CreateStmt", "CreateTableAsStmt",
    "CreateTrigStmt", "DeleteStmt", "IndexStmt", "InsertStmt", "LockStmt", "MergeStmt", "RefreshMatViewStmt",
    "ReindexStmt", "RuleStmt", "SelectStmt", "TransactionStmt", "TruncateStmt", "UpdateStmt", "VacuumStmt",
    "VariableSetStmt", "ViewStmt",
}  # fmt: skip
"""Kinds of statements that affect only what they mention and its neighbours, if their effects are known."""

_BY_OBJECT = {
    "AlterObjectSchemaStmt": "objectType",
    "AlterTableStmt": "objtype",
    "DropStmt": "removeType",
    "RenameStmt": "renameType",
}
"""Statements for which that depends on the type of the object, and the field with that type."""

_RELATIONS = {
    f"OBJECT_{kind}"
    for kind in (
        "COLUMN", "FOREIGN_TABLE", "INDEX", "MATVIEW", "POLICY", "RULE", "SEQUENCE", "STATISTIC_EXT", "TABCONSTRAINT",
        "TABLE", "TRIGGER", "VIEW",
    )
}  # fmt: skip

# makeObjectName() keeps at least so many bytes of the table's part in a generated name of 63 bytes.
_PREFIX = 28


def mentioned(sql: str) -> frozenset[str] | None:
    """Return every name that the text can mean, also within literals.

    None if it can affect objects that it does not mention.
    """
    try:
        statements = parse(sql, shared=True)
    except ParseError:
        return None
    if not all(_is_local(statement) for statement in statements):
        return None
    return frozenset(word for text in _strings(statements) for word in words(text))


def new_prefixes(sql: str) -> frozenset[str]:
    """Return prefixes of the names that PostgreSQL generates for indexes and sequences of the text's tables."""
    named = (reference.relname for reference in nodes(parse(sql, shared=True), "RangeVar"))
    return frozenset(f"{name}_" if len(name) <= _PREFIX else name[:_PREFIX] for name in named)


def words(text: str) -> Iterator[str]:
    """Yield the text itself and the names in it, with or without quotes."""
    yield text
    yield from text.split('"')
    for word in _WORD.findall(text):
        yield word
        yield word.lower()


def _is_local(node: Node) -> bool:
    if node.tag == "GrantStmt":
        return bool(node.targtype == "ACL_TARGET_OBJECT")
    if field := _BY_OBJECT.get(node.tag):
        return getattr(node, field) in _RELATIONS
    return node.tag in _LOCAL


def _strings(tree: Any) -> Iterator[str]:
    waiting = [tree]
    while waiting:
        value = waiting.pop()
        if isinstance(value, str):
            yield value
        elif isinstance(value, list):
            waiting += value
        elif isinstance(value, Node):
            waiting += value.__dict__.values()
