"""Effects of CREATE: the new objects, and the locks on existing ones."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from pulumi_alembic.sql.catalog import Constraint, Relation, quoted
from pulumi_alembic.sql.effects.columns import define_column
from pulumi_alembic.sql.effects.constraints import add_constraint
from pulumi_alembic.sql.effects.queries import CatalogAfter, look, name_of, read, tables, visit
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


def create_table(state: CatalogAfter, node: Any) -> None:
    """Apply CREATE TABLE. Other sessions cannot see the table yet. Referenced tables and parents are locked."""
    name = state.new_name(node.relation)
    if node.if_not_exists and name in state.catalog.relations:
        return
    state.put(Relation(name, "p" if node.partspec else "r"))
    state.lock(name, "ACCESS EXCLUSIVE")
    for parent in [state.name(base) for base in node.inhRelations or ()]:
        _inherit(state, name, parent, node.partbound)
    elements = [*(node.tableElts or ()), *(node.constraints or ())]
    for element in elements:
        kind = element.tag
        if kind == "ColumnDef":
            define_column(state, name, element)
        elif kind == "TableLikeClause":
            _copy_columns(state, name, state.name(element.relation))
    for element in elements:
        if element.tag == "Constraint":
            add_constraint(state, name, element, filled=False)


def create_as(state: CatalogAfter, node: Any) -> None:
    """Apply CREATE TABLE AS, CREATE MATERIALIZED VIEW or SELECT INTO."""
    visit(state, node.query)
    name = state.new_name(node.into.rel)
    if node.if_not_exists and name in state.catalog.relations:
        return
    materialized = node.objtype == "OBJECT_MATVIEW"
    uses = tuple((table, "") for table in tables(state, node.query)) if materialized else ()
    state.put(Relation(name, "m" if materialized else "r", uses=uses))
    state.lock(name, "ACCESS EXCLUSIVE")


def create_view(state: CatalogAfter, node: Any) -> None:
    """Apply CREATE VIEW. It reads the tables of its query. Replacing an existing view blocks readers of the view."""
    look(state, node.query)
    name = state.new_name(node.view)
    uses = tuple((table, "") for table in tables(state, node.query))
    state.put(Relation(name, "v", uses=uses))
    state.lock(name, "ACCESS EXCLUSIVE")


def create_index(state: CatalogAfter, node: Any) -> None:
    """Apply CREATE INDEX. It does not block readers, with CONCURRENTLY not even writers, and scans each table."""
    table = state.name(node.relation)
    name = state.sibling(table, node.idxname) if node.idxname else ""
    mode = "SHARE UPDATE EXCLUSIVE" if node.concurrent else "SHARE"
    parts = state.tree(table) if node.relation.inh and state.relation(table).kind == "p" else [table]
    if node.if_not_exists and name in state.catalog.relations:
        state.lock(table, mode)
        return
    for part in parts:
        state.lock(part, mode)
        state.scan(part)
    if name:
        kind = "I" if state.relation(table).kind == "p" else "i"
        state.put(Relation(name, kind, table=table, key=unique_columns(node)))


def unique_columns(node: Any) -> tuple[str, ...]:
    """Return the columns of a unique index. Empty if it is not unique, is partial or has expressions."""
    names = [element.name for element in node.indexParams or ()]
    whole = node.unique and node.whereClause is None and not node.indexIncludingParams
    return tuple(names) if whole and all(names) else ()


def create_trigger(state: CatalogAfter, node: Any) -> None:
    """Apply CREATE TRIGGER. It blocks writers. The table that a constraint trigger refers to is read."""
    name = state.name(node.relation)
    parts = state.tree(name) if node.row and state.relation(name).kind == "p" else [name]
    for part in parts:
        state.lock(part, "SHARE ROW EXCLUSIVE")
        relation = state.relation(part)
        function = state.catalog.find(*name_of(node.funcname), state.catalog.functions)
        state.put(replace(relation, triggers={**relation.triggers, node.trigname: function}))
    if node.constrrel is not None:
        state.lock(state.name(node.constrrel), "ACCESS SHARE")


def create_rule(state: CatalogAfter, node: Any) -> None:
    """Apply CREATE RULE, including the tables of its actions."""
    name = state.name(node.relation)
    state.lock(name, "ACCESS EXCLUSIVE")
    state.put(replace(state.relation(name), rules=(*state.relation(name).rules, node.rulename)))
    look(state, node.actions)


def create_policy(state: CatalogAfter, node: Any) -> None:
    """Apply CREATE or ALTER POLICY. Its expressions can read other tables."""
    state.lock(state.name(node.table), "ACCESS EXCLUSIVE")
    look(state, node.qual)
    look(state, node.with_check)


def create_sequence(state: CatalogAfter, node: Any) -> None:
    """Apply CREATE or ALTER SEQUENCE. OWNED BY reads the table."""
    name = state.name(node.sequence)
    if name not in state.catalog.relations:
        state.put(Relation(name, "S"))
    for option in node.options or ():
        if option.defname == "owned_by" and len(option.arg) > 1:
            table = state.named(option.arg[:-1])
            state.lock(table, "ACCESS SHARE")
            state.put(replace(state.relation(name), kind="S", table=table))


def create_statistics(state: CatalogAfter, node: Any) -> None:
    """Apply CREATE STATISTICS."""
    for table in nodes(node.relations, "RangeVar"):
        state.lock(state.name(table), "SHARE UPDATE EXCLUSIVE")


def create_type(state: CatalogAfter, node: Any) -> None:
    """Apply CREATE TYPE of any kind but a domain."""
    named = node.typevar
    schema, name = (named.schemaname, named.relname) if named else name_of(node.typeName or node.defnames)
    full = state.catalog.find(schema, name, state.catalog.types)
    state.catalog = replace(state.catalog, types={**state.catalog.types, full: ""})


def create_domain(state: CatalogAfter, node: Any) -> None:
    """Apply CREATE DOMAIN."""
    name = state.catalog.find(*name_of(node.domainname), state.catalog.types)
    constrained = any(constraint.contype in {"CONSTR_CHECK", "CONSTR_NOTNULL"} for constraint in node.constraints or ())
    types = {**state.catalog.types, name: type_text(node.typeName)}
    domains = state.catalog.constrained | ({name} if constrained else set())
    state.catalog = replace(state.catalog, types=types, constrained=domains)


def create_function(state: CatalogAfter, node: Any) -> None:
    """Apply CREATE FUNCTION. The body is not run, but one in SQL is analysed for the tables that it mentions."""
    name = state.catalog.find(*name_of(node.funcname), state.catalog.functions)
    options = {option.defname: option.arg for option in node.options or ()}
    volatile = getattr(options.get("volatility"), "sval", "volatile") == "volatile"
    functions = {**state.catalog.functions, name: state.catalog.functions.get(name, False) or volatile}
    state.catalog = replace(state.catalog, functions=functions)
    body = node.sql_body
    if body is None and getattr(options.get("language"), "sval", "") == "sql" and "as" in options:
        body = _parsed(options["as"][0].sval)
    look(state, body)


def _copy_columns(state: CatalogAfter, name: str, source: str) -> None:
    """Apply LIKE."""
    read(state, source, tree=False)
    like = {key: replace(column, new=True) for key, column in state.relation(source).columns.items()}
    state.put(replace(state.relation(name), columns={**state.relation(name).columns, **like}))


def _parsed(body: str) -> Any:
    try:
        return parse(body)
    except ParseError:
        return []


def _inherit(state: CatalogAfter, name: str, parent: str, bound: Any) -> None:
    above = state.relation(parent)
    state.lock(parent, "SHARE UPDATE EXCLUSIVE" if bound is None else "ACCESS EXCLUSIVE")
    columns = {key: replace(column, new=True) for key, column in above.columns.items()}
    kept = [constraint for constraint in above.constraints if constraint.kind in ("c" if bound is None else "cfpu")]
    created = state.relation(name)
    constraints = (*created.constraints, *(_copied(name, constraint) for constraint in kept))
    state.put(replace(created, columns=columns, constraints=constraints, parents=(*created.parents, parent)))
    if bound is None:
        return
    if above.default_partition:
        state.lock_tree(above.default_partition, "ACCESS EXCLUSIVE")
        for relation in state.tree(above.default_partition):
            state.scan(relation)
    if bound.is_default:
        state.put(replace(above, default_partition=name))
    for key in above.constraints:
        if key.target:
            state.lock_tree(key.target, "SHARE ROW EXCLUSIVE")


def _copied(name: str, constraint: Constraint) -> Constraint:
    return replace(constraint, index=f"{name}_{quoted(constraint.name)}" if constraint.index else "")
