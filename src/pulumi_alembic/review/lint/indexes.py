"""Checks of indexes: CREATE and DROP without CONCURRENTLY, and IF NOT EXISTS, which accepts an invalid index. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pulumi_alembic.review.lint.advice import allow, block, execute, named, steps, written
from pulumi_alembic.review.lint.context import Draft, LintContext
from pulumi_alembic.sql.catalog import quoted
from pulumi_alembic.sql.effects.queries import CatalogAfter
from pulumi_alembic.sql.parser import edited, printed

__all__ = ["create", "drop"]


def create(context: LintContext, node: Any) -> Iterator[Draft]:
    """Check CREATE INDEX."""
    after = CatalogAfter(context.catalog)
    table = after.name(node.relation)
    name = node.idxname or _default_name(node)
    # Before a concurrent build in an autocommit block, the runner drops an index that an interrupted build left.
    if node.if_not_exists and node.idxname and not (node.concurrent and context.outside):
        existing = context.catalog.relations.get(after.sibling(table, name))
        left = existing is not None and not existing.valid
        state = "is there, invalid, from an interrupted build" if left else "may be there, left invalid"
        yield Draft("index-if-not-exists", f"skips index {quoted(name)} on {table}, which {state}", (), _strictly(node))
    if node.concurrent or table not in (
        *context.effects.scans,
        *context.effects.rewrites,
        *_scanned_parts(context, table),
    ):
        return
    node = edited(node, idxname=name, if_not_exists=False)
    parts = context.catalog.descendants(table) if after.relation(table).kind == "p" and node.relation.inh else []
    instead = _by_parts(node, parts) if parts else _concurrently(node)
    if any(after.relation(part).kind != "r" for part in parts):
        advice = "build it CONCURRENTLY on each partition, the lowest first, and attach it to the index above"
        instead = allow("require-concurrent-index-creation", advice)
    yield Draft("require-concurrent-index-creation", f"builds index {quoted(name)} on {table}", (table,), instead)


def drop(context: LintContext, node: Any) -> Iterator[Draft]:
    """Check DROP INDEX."""
    if node.removeType != "OBJECT_INDEX" or node.concurrent:
        return
    tables = tuple(lock.table for lock in context.effects.locks)
    names = [quoted(*(part.sval for part in item)) for item in node.objects]
    exists = "IF EXISTS " if node.missing_ok else ""
    instead = "\n".join(block(f"DROP INDEX CONCURRENTLY {exists}{name}") for name in names)
    if any(
        CatalogAfter(context.catalog).relation(CatalogAfter(context.catalog).named(item)).kind == "I"
        for item in node.objects
    ):
        advice = "an index of a partitioned table cannot be dropped CONCURRENTLY: choose a quiet hour"
        instead = allow("require-concurrent-index-deletion", advice)
    if tables:
        text = f"drops index {', '.join(names)} under a lock on {', '.join(tables)}"
        yield Draft("require-concurrent-index-deletion", text, tables, instead)


def _scanned_parts(context: LintContext, table: str) -> list[str]:
    """Return the table if one of its partitions is scanned: a partitioned table has no rows itself."""
    return [table] if set(context.catalog.descendants(table)) & set(context.effects.scans) else []


def _strictly(node: Any) -> str:
    statement = printed(edited(node, if_not_exists=False))
    return block(statement) if node.concurrent else execute(statement)


def _concurrently(node: Any) -> str:
    return block(printed(edited(node, concurrent=True)))


def _by_parts(node: Any, parts: list[str]) -> str:
    """Return the lines that build an index partition by partition (PostgreSQL 15 manual, CREATE INDEX)."""
    index, above = node.idxname, written(node.relation)
    schema = f"{quoted(node.relation.schemaname)}." if node.relation.schemaname else ""
    whole = execute(printed(edited(node, relation=edited(node.relation, inh=False))))
    builds, attachments = [], []
    for part in parts:
        bare = part.rpartition(".")[2].strip('"')
        name = quoted(f"{bare}_{index}")
        build = edited(node, idxname=f"{bare}_{index}", concurrent=True)
        builds.append(block(printed(build).replace(f" ON {above} ", f" ON {part} ", 1)))
        attachments.append(execute(f"ALTER INDEX {schema}{quoted(index)} ATTACH PARTITION {schema}{name}"))
    return steps(whole, "\n".join(builds), "\n".join(attachments))


def _default_name(node: Any) -> str:
    """Return the name that PostgreSQL generates (15: ChooseIndexColumnNames) if it is not taken."""
    columns: list[str] = []
    for element in [*node.indexParams, *(node.indexIncludingParams or ())]:
        name = plain = element.name or _figured(element.expr) or "expr"
        number = 0
        while name in columns:
            number += 1
            name = f"{plain}{number}"
        columns.append(name)
    return named(node.relation.relname, columns, "idx")


def _figured(node: Any) -> str:
    """Return PostgreSQL's name of an expression (15: FigureIndexColname). Empty if it has none."""
    name = ""
    while node.tag in {"TypeCast", "CollateClause"}:
        name = str(node.typeName.names[-1].sval) if node.tag == "TypeCast" else name
        node = node.arg
    if node.tag == "FuncCall":
        return str(node.funcname[-1].sval)
    if node.tag == "ColumnRef":
        return str(node.fields[-1].sval or "") or name
    return "coalesce" if node.tag == "CoalesceExpr" else name
