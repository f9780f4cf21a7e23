"""Checks of added constraints, with the two steps that hold weaker locks. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from pulumi_alembic.review.lint.advice import allow, block, execute, named, not_null, only, steps, written
from pulumi_alembic.review.lint.columns import apart, not_valid
from pulumi_alembic.review.lint.context import Draft, LintContext
from pulumi_alembic.sql.catalog import Relation, quoted
from pulumi_alembic.sql.effects.queries import CatalogAfter
from pulumi_alembic.sql.parser import edited, nodes, printed

__all__ = ["add_constraint", "inline_keys"]


def add_constraint(context: LintContext, node: Any, command: Any, table: str) -> Iterator[Draft]:
    """Check ALTER TABLE ADD CONSTRAINT."""
    constraint = command.def_
    kind = constraint.contype.removeprefix("CONSTR_")
    partitioned = CatalogAfter(context.catalog).relation(table).kind == "p"
    if kind in {"FOREIGN", "CHECK"} and not constraint.skip_validation:
        target = (CatalogAfter(context.catalog).name(constraint.pktable),) if kind == "FOREIGN" else ()
        rule = "adding-foreign-key-constraint" if target else "constraint-missing-not-valid"
        text = f"tests every row of {table}" + (f" against {target[0]}" if target else "")
        instead = _in_two(node, command, _name(node, constraint, kind))
        if target and partitioned:
            instead = allow(rule, "add it to each partition, NOT VALID, validate it there, and then to the whole")
        yield Draft(rule, text, (table, *target), instead)
    elif kind in {"UNIQUE", "PRIMARY"} and not constraint.indexname:
        text = f"builds an index on {table} for {'a key' if kind == 'PRIMARY' else 'a unique constraint'}"
        instead = _by_index(node, constraint, _name(node, constraint, kind), primary=kind == "PRIMARY")
        if partitioned or constraint.options or constraint.indexspace or constraint.without_overlaps:
            advice = "build such a unique index CONCURRENTLY (on each partition) first, and then add it by that"
            instead = allow("disallowed-unique-constraint", advice)
        yield Draft("disallowed-unique-constraint", text, (table,), instead)
    elif kind == "EXCLUSION":
        advice = "no index for an exclusion can be built beforehand: choose a quiet hour"
        instead = allow("disallowed-unique-constraint", advice)
        yield Draft("disallowed-unique-constraint", f"builds an index on {table} for an exclusion", (table,), instead)


def inline_keys(context: LintContext, node: Any) -> Iterator[Draft]:
    """Check the foreign keys of CREATE TABLE. They lock the referenced tables until the revision ends."""
    state = CatalogAfter(context.catalog)
    itself = state.new_name(node.relation)
    # Once the table exists, an unqualified reference to its name means the table itself.
    new = CatalogAfter(replace(state.catalog, relations={**state.catalog.relations, itself: Relation(itself)}))
    for element, key in list(_keys(node)):
        target = new.name(key.pktable)
        if target == itself:
            continue
        columns = [element.colname] if key is not element else [name.sval for name in key.fk_attrs]
        yield Draft(
            "inline-foreign-key",
            f"creates {written(node.relation)}, which references and locks {target}",
            (target,),
            _apart(node, key, columns),
        )


def _keys(node: Any) -> Iterator[tuple[Any, Any]]:
    for element in [*(node.tableElts or ()), *(node.constraints or ())]:
        own = element.constraints or (element,)
        for constraint in own:
            if constraint.tag == "Constraint" and constraint.contype == "CONSTR_FOREIGN":
                yield element, constraint


def _apart(node: Any, key: Any, columns: list[str]) -> str:
    """Return lines that create the table without this key, and add the key in a revision of its own."""
    if (key.fk_attrs is None and _is_deferred(node)) or node.partspec:
        return allow("inline-foreign-key", "create the table without it, and add it NOT VALID in a revision of its own")
    at, name = written(node.relation), key.conname or named(node.relation.relname, columns, "fkey")
    added = f"ALTER TABLE {at} ADD {_not_valid(key, name, columns)}"
    validated = f"ALTER TABLE {at} VALIDATE CONSTRAINT {quoted(name)}"
    return steps(execute(_without(node, key)), execute(added), execute(validated))


def _not_valid(key: Any, name: str, columns: list[str]) -> str:
    return apart(key, name, columns[0], {}) if key.fk_attrs is None else printed(not_valid(key, name))


def _is_deferred(node: Any) -> bool:
    return any(part.contype.startswith("CONSTR_ATTR_") for part in nodes(node, "Constraint"))


def _without(node: Any, key: Any) -> str:
    elements = [
        edited(element, constraints=[constraint for constraint in element.constraints if constraint is not key])
        if element.constraints
        else element
        for element in node.tableElts
        if element is not key
    ]
    return printed(edited(node, tableElts=elements))


def _name(node: Any, constraint: Any, kind: str) -> str:
    if constraint.conname:
        return str(constraint.conname)
    listed = constraint.fk_attrs if kind == "FOREIGN" else constraint.keys
    columns = [name.sval for name in (*(listed or ()), *(constraint.including or ()))]
    if kind == "CHECK":
        used = {reference.fields[-1].sval for reference in nodes(constraint.raw_expr, "ColumnRef")}
        columns = sorted(used) if len(used) == 1 else []
    suffix = {"FOREIGN": "fkey", "CHECK": "check", "UNIQUE": "key", "PRIMARY": "pkey"}[kind]
    return named(node.relation.relname, [] if kind == "PRIMARY" else columns, suffix)


def _in_two(node: Any, command: Any, name: str) -> str:
    added = only(node, edited(command, def_=not_valid(command.def_, name)))
    validated = f"ALTER TABLE {written(node.relation)} VALIDATE CONSTRAINT {quoted(name)}"
    return steps(execute(added), execute(validated))


def _by_index(node: Any, constraint: Any, name: str, *, primary: bool) -> str:
    at, columns = written(node.relation), [key.sval for key in constraint.keys or ()]
    listed = ", ".join(quoted(column) for column in columns)
    included = ", ".join(quoted(included_name.sval) for included_name in constraint.including or ())
    included = f" INCLUDE ({included})" if included else ""
    late = " INITIALLY DEFERRED" if constraint.initdeferred else ""
    late = f" DEFERRABLE{late}" if constraint.deferrable else ""
    nulls = " NULLS NOT DISTINCT" if constraint.nulls_not_distinct else ""
    index = block(f"CREATE UNIQUE INDEX CONCURRENTLY {quoted(name)} ON {at} ({listed}){included}{nulls}")
    word = "PRIMARY KEY" if primary else "UNIQUE"
    used = execute(f"ALTER TABLE {at} ADD CONSTRAINT {quoted(name)} {word} USING INDEX {quoted(name)}{late}")
    required = [step for column in columns for step in not_null(at, column, node.relation.relname)] if primary else []
    return steps(index, *required, used)
