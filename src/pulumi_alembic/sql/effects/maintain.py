"""Effects of maintenance: VACUUM, CLUSTER, REINDEX, REFRESH, COMMENT, and constraints of domains."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from pulumi_alembic.sql.effects.queries import CatalogAfter, name_of, read
from pulumi_alembic.sql.effects.types import is_of

__all__ = ["alter_domain", "cluster", "comment", "refresh", "reindex", "vacuum"]


def vacuum(state: CatalogAfter, node: Any) -> None:
    """Apply VACUUM or ANALYZE. VACUUM FULL rewrites the table."""
    full = node.is_vacuumcmd and _has(node.options, "full")
    if not node.rels:
        state.unknown(
            "every table that the role may vacuum" if node.is_vacuumcmd else "every table that it may analyze"
        )
    for table in node.rels or ():
        name = state.name(table.relation)
        for part in state.tree(name) if state.relation(name).kind == "p" else [name]:
            state.lock(part, "ACCESS EXCLUSIVE" if full else "SHARE UPDATE EXCLUSIVE")
            if full:
                state.rewrite(part)


def cluster(state: CatalogAfter, node: Any) -> None:
    """Apply CLUSTER, which rewrites the table in the order of an index."""
    if node.relation is None:
        state.unknown("every table that was clustered before")
        return
    name = state.name(node.relation)
    for table_name in state.tree(name) if state.relation(name).kind == "p" else [name]:
        state.lock(table_name, "ACCESS EXCLUSIVE")
        state.rewrite(table_name)


def reindex(state: CatalogAfter, node: Any) -> None:
    """Apply REINDEX. It scans the tables and does not block readers, with CONCURRENTLY not even writers."""
    kind = node.kind.removeprefix("REINDEX_OBJECT_")
    mode = "SHARE UPDATE EXCLUSIVE" if _has(node.params, "concurrently") else "SHARE"
    if kind in {"SCHEMA", "SYSTEM", "DATABASE"}:
        state.unknown(f"every index of the {kind.lower()} {node.name or ''}".rstrip())
        return
    name = state.name(node.relation)
    table = state.relation(name).table if kind == "INDEX" else name
    if not table:
        state.unknown(f"the table of index {name}")
        return
    for table_name in state.tree(table) if state.relation(table).kind == "p" else [table]:
        state.lock(table_name, mode)
        state.scan(table_name)


def refresh(state: CatalogAfter, node: Any) -> None:
    """Apply REFRESH MATERIALIZED VIEW. CONCURRENTLY does not rewrite the view and does not block readers."""
    name = state.name(node.relation)
    state.lock(name, "EXCLUSIVE" if node.concurrent else "ACCESS EXCLUSIVE")
    for used in dict.fromkeys(used for used, _ in state.relation(name).uses):
        read(state, used)
    if not node.concurrent:
        state.rewrite(name)


def comment(state: CatalogAfter, node: Any) -> None:
    """Apply COMMENT or SECURITY LABEL. A table or column is locked as by an ALTER, a part of a table as by a reader."""
    kind = node.objtype.removeprefix("OBJECT_")
    if kind in {"TABLE", "VIEW", "MATVIEW", "FOREIGN_TABLE"}:
        state.lock(state.named(node.object), "SHARE UPDATE EXCLUSIVE")
    elif kind == "COLUMN":
        state.lock(state.named(node.object[:-1]), "SHARE UPDATE EXCLUSIVE")
    elif kind in {"TABCONSTRAINT", "TRIGGER", "POLICY", "RULE"}:
        state.lock(state.named(node.object[:-1]), "ACCESS SHARE")


def alter_domain(state: CatalogAfter, node: Any) -> None:
    """Apply ALTER DOMAIN. A new constraint scans the tables with columns of that type, and blocks their writers."""
    name = state.catalog.find(*name_of(node.typeName), state.catalog.types)
    adds = node.subtype in {"C", "O"}
    if adds:
        state.catalog = replace(state.catalog, constrained=state.catalog.constrained | {name})
    untested = node.def_ is not None and node.def_.skip_validation
    if not (adds or node.subtype == "V") or untested:
        return
    for relation in list(state.catalog.relations.values()):
        if any(is_of(state.catalog, column.type, name) for column in relation.columns.values()):
            state.lock(relation.name, "SHARE")
            state.scan(relation.name)


_OFF = {"false", "off", "0"}


def _has(options: Any, name: str) -> bool:
    for option in options or ():
        if option.defname == name:
            values = (option.arg.sval, option.arg.boolval, option.arg.ival) if option.arg else ()
            return not any(str(value).lower() in _OFF for value in values)
    return False
