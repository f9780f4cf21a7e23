"""Checks of ALTER TABLE on columns: adding a column, changing its type, NOT NULL. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from pulumi_alembic.review.lint.advice import allow, batched, block, execute, named, not_null, steps, written
from pulumi_alembic.review.lint.context import Draft, LintContext
from pulumi_alembic.sql.catalog import quoted
from pulumi_alembic.sql.effects.queries import CatalogAfter, is_volatile
from pulumi_alembic.sql.effects.types import SERIAL, type_text
from pulumi_alembic.sql.parser import Node, edited, printed

__all__ = ["add_column", "apart", "change_type", "deferred", "not_valid", "set_not_null"]

_APART = (
    "add the column with nothing that writes or tests rows; fill it in batches; then add what it shall have, one thing "
    "in a revision: a constraint NOT VALID and VALIDATE, or by an index built CONCURRENTLY (on each partition)"
)
_OF_ONE_TABLE = ("adding-foreign-key-constraint", "inline-foreign-key", "disallowed-unique-constraint")
"""Rules whose suggestion fails on a partitioned table, which accepts neither NOT VALID nor USING INDEX."""

_CHANGE_TYPE = ("pulumi-alembic", "new", "change-type")
_SERIAL = {"smallserial": "smallint", "serial2": "smallint", "bigserial": "bigint", "serial8": "bigint"}


def add_column(context: LintContext, node: Any, command: Any, table: str) -> Iterator[Draft]:
    """Check ADD COLUMN."""
    column = command.def_
    kinds = {constraint.contype: constraint for constraint in column.constraints or ()}
    drafts = list(_valued(context, node, column, kinds, table))
    if "CONSTR_NOTNULL" in kinds and not drafts and "CONSTR_DEFAULT" not in kinds:
        drafts.append(
            Draft(
                "adding-required-field",
                f"adds {column.colname} to {table}, NOT NULL and without a value",
                (table,),
                steps(_bare(node, column, "NOTNULL"), _fill(node, column), *_required(node, column)),
            )
        )
    drafts += _constrained(context, node, column, kinds, table)
    alone = len(drafts) == 1 and len(kinds) == len(column.constraints or ())
    plain = CatalogAfter(context.catalog).relation(table).kind != "p" or (
        drafts[:1] and drafts[0].rule not in _OF_ONE_TABLE
    )
    for finding in drafts:
        yield finding if alone and plain and finding.instead else replace(finding, instead=allow(finding.rule, _APART))


def change_type(context: LintContext, node: Any, command: Any, table: str) -> Iterator[Draft]:
    """Check ALTER COLUMN TYPE, if it rewrites or scans the table."""
    if table not in (*context.effects.rewrites, *context.effects.scans):
        return
    name, new = quoted(command.name), quoted(f"{command.name}_new")
    type_ = printed(command.def_.typeName)
    value = printed(command.def_.raw_default) if command.def_.raw_default is not None else f"{name}::{type_}"
    clause = command.def_.collClause
    collation = f" COLLATE {quoted(*(part.sval for part in clause.collname))}" if clause else ""
    verb = "rewrites the table" if table in context.effects.rewrites else "scans the whole table"
    yield Draft(
        "changing-column-type",
        f"changes the type of {name} of {table} to {type_}, which {verb}",
        (table,),
        steps(
            execute(f"ALTER TABLE {written(node.relation)} ADD COLUMN {new} {type_}{collation}"),
            batched(written(node.relation), f"{new} = {value}")
            + f"\n# give {new} the default, constraints and indexes of {name}; let the application write both and read "
            + f"{new}; drop {name} in a later revision",
        ),
        "" if command.def_.raw_default else shlex.join([*_CHANGE_TYPE, table, command.name, type_]),
    )


def set_not_null(context: LintContext, node: Any, command: Any, table: str) -> Iterator[Draft]:
    """Check SET NOT NULL, if no constraint proves it yet."""
    if table in context.effects.scans:
        parts = not_null(written(node.relation), command.name, node.relation.relname)
        text = f"sets {quoted(command.name)} of {table} NOT NULL, which scans the whole table"
        yield Draft("adding-not-nullable-field", text, (table,), steps(*parts))


def _valued(context: LintContext, node: Any, column: Any, kinds: Any, table: str) -> Iterator[Draft]:
    """Return drafts if each row gets its own value of the column, so that the table is rewritten."""
    default = kinds.get("CONSTR_DEFAULT")
    serial = column.typeName.names[-1].sval if column.typeName.names[-1].sval in SERIAL else ""
    if serial or "CONSTR_IDENTITY" in kinds:
        rule = "adding-serial-field" if serial else "adding-identity"
        type_ = _SERIAL.get(serial, "integer") if serial else printed(column.typeName)
        text = f"adds {column.colname} to {table} with a number in each row, which rewrites the table"
        yield Draft(rule, text, (table,), _numbered(node, column, type_) if serial else "")
        return
    if default is not None and is_volatile(CatalogAfter(context.catalog), default.raw_expr):
        value = printed(default.raw_expr)
        text = f"adds {column.colname} to {table} with another value in each row, which rewrites the table"
        yield Draft("adding-field-with-default", text, (table,), _defaulted(node, column, value, kinds))
        return
    generated = kinds.get("CONSTR_GENERATED")
    if generated is not None and generated.generated_kind != "v":
        text = f"adds {column.colname} to {table}, computed for each row, which rewrites the table"
        filled = batched(written(node.relation), f"{quoted(column.colname)} = {printed(generated.raw_expr)}")
        trigger = "\n# and a trigger BEFORE INSERT OR UPDATE that computes it from now on"
        yield Draft(
            "adding-field-with-default", text, (table,), steps(_bare(node, column, "GENERATED"), filled + trigger)
        )


def _constrained(context: LintContext, node: Any, column: Any, kinds: Any, table: str) -> Iterator[Draft]:
    at = written(node.relation)

    def name(label: str) -> str:
        return named(node.relation.relname, [column.colname], label)

    if key := kinds.get("CONSTR_FOREIGN"):
        target = CatalogAfter(context.catalog).name(key.pktable)
        foreign = key.conname or name("fkey")
        added = execute(f"ALTER TABLE {at} ADD {apart(key, foreign, column.colname, kinds)}")
        validated = execute(f"ALTER TABLE {at} VALIDATE CONSTRAINT {quoted(foreign)}")
        filled = "CONSTR_DEFAULT" in kinds
        yield Draft(
            "adding-foreign-key-constraint" if filled else "inline-foreign-key",
            f"adds {column.colname} to {table}, which references and locks {target}",
            (table, target) if filled else (target,),
            steps(_bare(node, column, "FOREIGN", *_DEFERRED), added, validated),
        )
    if check := kinds.get("CONSTR_CHECK"):
        called = quoted(check.conname or name("check"))
        inherited = " NO INHERIT" if check.is_no_inherit else ""
        tested = f"ALTER TABLE {at} ADD CONSTRAINT {called} CHECK ({printed(check.raw_expr)}){inherited} NOT VALID"
        text = f"adds {column.colname} to {table} with a check, which scans the whole table"
        validated = execute(f"ALTER TABLE {at} VALIDATE CONSTRAINT {called}")
        parts = (_bare(node, column, "CHECK"), execute(tested), validated)
        yield Draft("constraint-missing-not-valid", text, (table,), steps(*parts))
    for kind, word in (("CONSTR_UNIQUE", "UNIQUE"), ("CONSTR_PRIMARY", "PRIMARY KEY")):
        if kind in kinds:
            key = kinds[kind]
            called = quoted(key.conname or name("key"))
            nulls = " NULLS NOT DISTINCT" if key.nulls_not_distinct else ""
            index = f"CREATE UNIQUE INDEX CONCURRENTLY {called} ON {at} ({quoted(column.colname)}){nulls}"
            used = f"ALTER TABLE {at} ADD CONSTRAINT {called} {word} USING INDEX {called}{deferred(kinds)}"
            text = f"adds {column.colname} to {table}, {word}, which builds an index"
            parts = (_bare(node, column, "UNIQUE", *_DEFERRED), block(index), execute(used))
            sure = kind == "CONSTR_UNIQUE" and not (key.options or key.indexspace)
            yield Draft("disallowed-unique-constraint", text, (table,), steps(*parts) if sure else "")


_DEFERRED = ("ATTR_DEFERRABLE", "ATTR_NOT_DEFERRABLE", "ATTR_DEFERRED", "ATTR_IMMEDIATE")


def deferred(kinds: Any) -> str:
    """Return the DEFERRABLE clause of a column's constraints. Empty if there is none."""
    late = " INITIALLY DEFERRED" if "CONSTR_ATTR_DEFERRED" in kinds else ""
    return f" DEFERRABLE{late}" if "CONSTR_ATTR_DEFERRABLE" in kinds or late else ""


def apart(key: Any, name: str, column: str, kinds: Any) -> str:
    """Return a column's foreign key as a table constraint that is NOT VALID and otherwise the same."""
    late = "CONSTR_ATTR_DEFERRED" in kinds
    return printed(
        edited(
            not_valid(key, name),
            fk_attrs=[Node({"sval": column}, "String")],
            initdeferred=late,
            deferrable=late or "CONSTR_ATTR_DEFERRABLE" in kinds,
        )
    )


def not_valid(constraint: Any, name: str) -> Node:
    """Return the constraint with this name and NOT VALID."""
    return edited(constraint, conname=name, skip_validation=True, initially_valid=False)


def _bare(node: Any, column: Any, *without: str) -> str:
    """Return the line that adds the column without these kinds of constraints."""
    kept = [
        constraint
        for constraint in column.constraints or ()
        if constraint.contype.removeprefix("CONSTR_") not in without
    ]
    bare = edited(column, constraints=kept)
    return execute(f"ALTER TABLE {written(node.relation)} ADD COLUMN {printed(bare)}")


def _fill(node: Any, column: Any) -> str:
    value = "''" if "char" in type_text(column.typeName) or "text" in type_text(column.typeName) else "DEFAULT"
    name = quoted(column.colname)
    note = f"# fill {name} with what it is in each row: {value} stands for that here\n"
    return note + batched(written(node.relation), f"{name} = {value}", f"{name} IS NULL")


def _required(node: Any, column: Any) -> tuple[str, str, str]:
    return not_null(written(node.relation), column.colname, node.relation.relname)


def _defaulted(node: Any, column: Any, value: str, kinds: Any) -> str:
    at, name = written(node.relation), quoted(column.colname)
    set_default = execute(f"ALTER TABLE {at} ALTER COLUMN {name} SET DEFAULT {value}")
    filled = batched(at, f"{name} = {value}", f"{name} IS NULL")
    required = _required(node, column) if "CONSTR_NOTNULL" in kinds else ()
    return steps(f"{_bare(node, column, 'DEFAULT', 'NOTNULL')}\n{set_default}", filled, *required)


def _numbered(node: Any, column: Any, type_: str) -> str:
    at, name = written(node.relation), quoted(column.colname)
    sequence = quoted(node.relation.schemaname or "", f"{node.relation.relname}_{column.colname}_seq")
    value = "nextval('" + sequence.replace("'", "''") + "')"
    first = [
        f"CREATE SEQUENCE {sequence} AS {type_}",
        f"ALTER TABLE {at} ADD COLUMN {name} {type_}",
        f"ALTER TABLE {at} ALTER COLUMN {name} SET DEFAULT {value}",
        f"ALTER SEQUENCE {sequence} OWNED BY {at}.{name}",
    ]
    filled = batched(at, f"{name} = {value}", f"{name} IS NULL")
    return steps("\n".join(map(execute, first)), filled, *_required(node, column))
