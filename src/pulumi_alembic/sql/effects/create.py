"""CREATE: what is there afterwards, and what it locks of what was there before."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from pulumi_alembic.sql.catalog import Constraint, Relation, quoted
from pulumi_alembic.sql.effects.columns import define_column
from pulumi_alembic.sql.effects.constraints import add_constraint
from pulumi_alembic.sql.effects.queries import Scene, look, name_of, read, tables, visit
from pulumi_alembic.sql.effects.types import type_text
from pulumi_alembic.sql.parser import ParseError, nodes, parse

__all__ = [
    "create_as",
    "create_domain",
    "create_function",
    "create_index",
    "create_policy",
    "create_rule",
    "create_sequence",
    "create_statistics",
    "create_table",
    "create_trigger",
    "create_type",
    "create_view",
    "unique_columns",
]


def create_table(scene: Scene, node: Any) -> None:
    """CREATE TABLE: a table that others cannot see yet; what it refers to is locked, a partition's parent the most."""
    name = scene.new_name(node.relation)
    if node.if_not_exists and name in scene.catalog.relations:
        return
    scene.put(Relation(name, "p" if node.partspec else "r"))
    scene.lock(name, "ACCESS EXCLUSIVE")
    for parent in [scene.name(each) for each in node.inhRelations or ()]:
        _inherit(scene, name, parent, node.partbound)
    elements = [*(node.tableElts or ()), *(node.constraints or ())]
    for element in elements:
        kind = element.tag
        if kind == "ColumnDef":
            define_column(scene, name, element)
        elif kind == "TableLikeClause":
            _copy_columns(scene, name, scene.name(element.relation))
    for element in elements:
        if element.tag == "Constraint":
            add_constraint(scene, name, element, filled=False)


def create_as(scene: Scene, node: Any) -> None:
    """CREATE TABLE AS, CREATE MATERIALIZED VIEW and SELECT INTO."""
    visit(scene, node.query)
    name = scene.new_name(node.into.rel)
    if node.if_not_exists and name in scene.catalog.relations:
        return
    materialized = node.objtype == "OBJECT_MATVIEW"
    uses = tuple((each, "") for each in tables(scene, node.query)) if materialized else ()
    scene.put(Relation(name, "m" if materialized else "r", uses=uses))
    scene.lock(name, "ACCESS EXCLUSIVE")


def create_view(scene: Scene, node: Any) -> None:
    """CREATE VIEW reads what its query names; over a view that is there it locks out the view's readers."""
    look(scene, node.query)
    name = scene.new_name(node.view)
    uses = tuple((each, "") for each in tables(scene, node.query))
    scene.put(Relation(name, "v", uses=uses))
    scene.lock(name, "ACCESS EXCLUSIVE")


def create_index(scene: Scene, node: Any) -> None:
    """CREATE INDEX lets readers go on, with CONCURRENTLY writers too; each table is read whole."""
    table = scene.name(node.relation)
    name = scene.sibling(table, node.idxname) if node.idxname else ""
    mode = "SHARE UPDATE EXCLUSIVE" if node.concurrent else "SHARE"
    parts = scene.tree(table) if node.relation.inh and scene.relation(table).kind == "p" else [table]
    if node.if_not_exists and name in scene.catalog.relations:
        scene.lock(table, mode)
        return
    for each in parts:
        scene.lock(each, mode)
        scene.scan(each)
    if name:
        kind = "I" if scene.relation(table).kind == "p" else "i"
        scene.put(Relation(name, kind, table=table, key=unique_columns(node)))


def unique_columns(node: Any) -> tuple[str, ...]:
    """The columns of a unique index; empty if it is not unique, partial, or has others than columns."""
    names = [each.name for each in node.indexParams or ()]
    whole = node.unique and node.whereClause is None and not node.indexIncludingParams
    return tuple(names) if whole and all(names) else ()


def create_trigger(scene: Scene, node: Any) -> None:
    """CREATE TRIGGER keeps writers out; the table that a constraint trigger names is read."""
    name = scene.name(node.relation)
    parts = scene.tree(name) if node.row and scene.relation(name).kind == "p" else [name]
    for each in parts:
        scene.lock(each, "SHARE ROW EXCLUSIVE")
        relation = scene.relation(each)
        function = scene.catalog.find(*name_of(node.funcname), scene.catalog.functions)
        scene.put(replace(relation, triggers={**relation.triggers, node.trigname: function}))
    if node.constrrel is not None:
        scene.lock(scene.name(node.constrrel), "ACCESS SHARE")


def create_rule(scene: Scene, node: Any) -> None:
    """CREATE RULE; what it does instead, or also, is looked at."""
    name = scene.name(node.relation)
    scene.lock(name, "ACCESS EXCLUSIVE")
    scene.put(replace(scene.relation(name), rules=(*scene.relation(name).rules, node.rulename)))
    look(scene, node.actions)


def create_policy(scene: Scene, node: Any) -> None:
    """CREATE or ALTER POLICY; its expressions may read other tables."""
    scene.lock(scene.name(node.table), "ACCESS EXCLUSIVE")
    look(scene, node.qual)
    look(scene, node.with_check)


def create_sequence(scene: Scene, node: Any) -> None:
    """CREATE or ALTER SEQUENCE; OWNED BY looks at the table."""
    name = scene.name(node.sequence)
    if name not in scene.catalog.relations:
        scene.put(Relation(name, "S"))
    for option in node.options or ():
        if option.defname == "owned_by" and len(option.arg) > 1:
            table = scene.named(option.arg[:-1])
            scene.lock(table, "ACCESS SHARE")
            scene.put(replace(scene.relation(name), kind="S", table=table))


def create_statistics(scene: Scene, node: Any) -> None:
    """CREATE STATISTICS."""
    for each in nodes(node.relations, "RangeVar"):
        scene.lock(scene.name(each), "SHARE UPDATE EXCLUSIVE")


def create_type(scene: Scene, node: Any) -> None:
    """CREATE TYPE, of any kind but a domain."""
    named = node.typevar
    schema, name = (named.schemaname, named.relname) if named else name_of(node.typeName or node.defnames)
    full = scene.catalog.find(schema, name, scene.catalog.types)
    scene.catalog = replace(scene.catalog, types={**scene.catalog.types, full: ""})


def create_domain(scene: Scene, node: Any) -> None:
    """CREATE DOMAIN."""
    name = scene.catalog.find(*name_of(node.domainname), scene.catalog.types)
    constrained = any(each.contype in {"CONSTR_CHECK", "CONSTR_NOTNULL"} for each in node.constraints or ())
    types = {**scene.catalog.types, name: type_text(node.typeName)}
    domains = scene.catalog.constrained | ({name} if constrained else set())
    scene.catalog = replace(scene.catalog, types=types, constrained=domains)


def create_function(scene: Scene, node: Any) -> None:
    """CREATE FUNCTION runs nothing of it; the body of one in SQL is looked at, and so are the tables that it names."""
    name = scene.catalog.find(*name_of(node.funcname), scene.catalog.functions)
    options = {each.defname: each.arg for each in node.options or ()}
    volatile = getattr(options.get("volatility"), "sval", "volatile") == "volatile"
    functions = {**scene.catalog.functions, name: scene.catalog.functions.get(name, False) or volatile}
    scene.catalog = replace(scene.catalog, functions=functions)
    body = node.sql_body
    if body is None and getattr(options.get("language"), "sval", "") == "sql" and "as" in options:
        body = _parsed(options["as"][0].sval)
    look(scene, body)


def _copy_columns(scene: Scene, name: str, source: str) -> None:
    """LIKE."""
    read(scene, source, tree=False)
    like = {key: replace(each, new=True) for key, each in scene.relation(source).columns.items()}
    scene.put(replace(scene.relation(name), columns={**scene.relation(name).columns, **like}))


def _parsed(body: str) -> Any:
    try:
        return parse(body)
    except ParseError:
        return []


def _inherit(scene: Scene, name: str, parent: str, bound: Any) -> None:
    above = scene.relation(parent)
    scene.lock(parent, "SHARE UPDATE EXCLUSIVE" if bound is None else "ACCESS EXCLUSIVE")
    columns = {key: replace(each, new=True) for key, each in above.columns.items()}
    kept = [each for each in above.constraints if each.kind in ("c" if bound is None else "cfpu")]
    made = scene.relation(name)
    constraints = (*made.constraints, *(_copied(name, each) for each in kept))
    scene.put(replace(made, columns=columns, constraints=constraints, parents=(*made.parents, parent)))
    if bound is None:
        return
    if above.default_partition:
        scene.lock_tree(above.default_partition, "ACCESS EXCLUSIVE")
        for each in scene.tree(above.default_partition):
            scene.scan(each)
    if bound.is_default:
        scene.put(replace(above, default_partition=name))
    for key in above.constraints:
        if key.target:
            scene.lock_tree(key.target, "SHARE ROW EXCLUSIVE")


def _copied(name: str, constraint: Constraint) -> Constraint:
    return replace(constraint, index=f"{name}_{quoted(constraint.name)}" if constraint.index else "")
