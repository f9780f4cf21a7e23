"""Statements that tend what is there: vacuum, cluster, reindex, refresh, comment, and a domain's constraints."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from pulumi_alembic.sql.effects.queries import Scene, name_of, read
from pulumi_alembic.sql.effects.types import is_of

__all__ = ["alter_domain", "cluster", "comment", "refresh", "reindex", "vacuum"]


def vacuum(scene: Scene, node: Any) -> None:
    """VACUUM and ANALYZE; with FULL the table is written anew."""
    full = node.is_vacuumcmd and _has(node.options, "full")
    if not node.rels:
        scene.unknown(
            "every table that the role may vacuum" if node.is_vacuumcmd else "every table that it may analyze"
        )
    for each in node.rels or ():
        name = scene.name(each.relation)
        for part in scene.tree(name) if scene.relation(name).kind == "p" else [name]:
            scene.lock(part, "ACCESS EXCLUSIVE" if full else "SHARE UPDATE EXCLUSIVE")
            if full:
                scene.rewrite(part)


def cluster(scene: Scene, node: Any) -> None:
    """CLUSTER writes the table anew in the order of an index."""
    if node.relation is None:
        scene.unknown("every table that was clustered before")
        return
    name = scene.name(node.relation)
    for each in scene.tree(name) if scene.relation(name).kind == "p" else [name]:
        scene.lock(each, "ACCESS EXCLUSIVE")
        scene.rewrite(each)


def reindex(scene: Scene, node: Any) -> None:
    """REINDEX reads the tables whole and lets them be read; with CONCURRENTLY, written too."""
    kind = node.kind.removeprefix("REINDEX_OBJECT_")
    mode = "SHARE UPDATE EXCLUSIVE" if _has(node.params, "concurrently") else "SHARE"
    if kind in {"SCHEMA", "SYSTEM", "DATABASE"}:
        scene.unknown(f"every index of the {kind.lower()} {node.name or ''}".rstrip())
        return
    name = scene.name(node.relation)
    table = scene.relation(name).table if kind == "INDEX" else name
    if not table:
        scene.unknown(f"the table of index {name}")
        return
    for each in scene.tree(table) if scene.relation(table).kind == "p" else [table]:
        scene.lock(each, mode)
        scene.scan(each)


def refresh(scene: Scene, node: Any) -> None:
    """REFRESH MATERIALIZED VIEW: CONCURRENTLY keeps its file and lets it be read."""
    name = scene.name(node.relation)
    scene.lock(name, "EXCLUSIVE" if node.concurrent else "ACCESS EXCLUSIVE")
    for used in dict.fromkeys(used for used, _ in scene.relation(name).uses):
        read(scene, used)
    if not node.concurrent:
        scene.rewrite(name)


def comment(scene: Scene, node: Any) -> None:
    """COMMENT and SECURITY LABEL: on a table or a column as an ALTER without effect, on a part of it as a reader."""
    kind = node.objtype.removeprefix("OBJECT_")
    if kind in {"TABLE", "VIEW", "MATVIEW", "FOREIGN_TABLE"}:
        scene.lock(scene.named(node.object), "SHARE UPDATE EXCLUSIVE")
    elif kind == "COLUMN":
        scene.lock(scene.named(node.object[:-1]), "SHARE UPDATE EXCLUSIVE")
    elif kind in {"TABCONSTRAINT", "TRIGGER", "POLICY", "RULE"}:
        scene.lock(scene.named(node.object[:-1]), "ACCESS SHARE")


def alter_domain(scene: Scene, node: Any) -> None:
    """ALTER DOMAIN: a new constraint is tested on the columns of that type, whose tables take no writes meanwhile."""
    name = scene.catalog.find(*name_of(node.typeName), scene.catalog.types)
    adds = node.subtype in {"C", "O"}
    if adds:
        scene.catalog = replace(scene.catalog, constrained=scene.catalog.constrained | {name})
    untested = node.def_ is not None and node.def_.skip_validation
    if not (adds or node.subtype == "V") or untested:
        return
    for relation in list(scene.catalog.relations.values()):
        if any(is_of(scene.catalog, each.type, name) for each in relation.columns.values()):
            scene.lock(relation.name, "SHARE")
            scene.scan(relation.name)


_OFF = {"false", "off", "0"}


def _has(options: Any, name: str) -> bool:
    for option in options or ():
        if option.defname == name:
            values = (option.arg.sval, option.arg.boolval, option.arg.ival) if option.arg else ()
            return not any(str(each).lower() in _OFF for each in values)
    return False
