"""ALTER TABLE of columns: what adding one, or changing its type, costs, and the steps that cost less. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pulumi_alembic.catalog import quoted
from pulumi_alembic.effects.queries import is_volatile
from pulumi_alembic.effects.scene import Scene
from pulumi_alembic.effects.types import SERIAL, type_text
from pulumi_alembic.lint.advice import batched, block, execute, not_null, steps, text, written
from pulumi_alembic.lint.sight import Draft, Sight

__all__ = ["add_column", "change_type", "references", "set_not_null"]

_SERIAL = {"smallserial": "smallint", "serial2": "smallint", "bigserial": "bigint", "serial8": "bigint"}


def add_column(sight: Sight, node: Any, command: Any, table: str) -> Iterator[Draft]:
    """ADD COLUMN."""
    column = command.def_
    kinds = {each.contype.name: each for each in column.constraints or ()}
    valued = list(_valued(sight, node, column, kinds, table))
    yield from valued
    if "CONSTR_NOTNULL" in kinds and not valued and "CONSTR_DEFAULT" not in kinds:
        yield Draft(
            "adding-required-field",
            f"adds {column.colname} to {table}, NOT NULL and without a value",
            (table,),
            steps(_bare(node, column), _fill(node, column), *_required(node, column)),
        )
    yield from _constrained(sight, node, column, kinds, table)


def change_type(sight: Sight, node: Any, command: Any, table: str) -> Iterator[Draft]:
    """ALTER COLUMN TYPE, where it is more than a change of the catalog."""
    if table not in (*sight.effects.rewrites, *sight.effects.scans):
        return
    name, new = quoted(command.name), quoted(f"{command.name}_new")
    type_ = text(command.def_.typeName)
    value = text(command.def_.raw_default) if command.def_.raw_default is not None else f"{name}::{type_}"
    verb = "writes it anew" if table in sight.effects.rewrites else "reads it whole"
    yield Draft(
        "changing-column-type",
        f"changes the type of {name} of {table} to {type_}, which {verb}",
        (table,),
        steps(
            execute(f"ALTER TABLE {written(node.relation)} ADD COLUMN {new} {type_}"),
            batched(written(node.relation), f"{new} = {value}")
            + f"\n# let the application write both and read {new}; drop {name} in a later revision",
        ),
    )


def set_not_null(sight: Sight, node: Any, command: Any, table: str) -> Iterator[Draft]:
    """SET NOT NULL, where nothing proves it yet."""
    if table in sight.effects.scans:
        parts = not_null(written(node.relation), command.name, node.relation.relname)
        what = f"makes {quoted(command.name)} of {table} NOT NULL, which reads it whole"
        yield Draft("adding-not-nullable-field", what, (table,), steps(*parts))


def _valued(sight: Sight, node: Any, column: Any, kinds: Any, table: str) -> Iterator[Draft]:
    """The column gets another value in each row."""
    default = kinds.get("CONSTR_DEFAULT")
    serial = column.typeName.names[-1].sval if column.typeName.names[-1].sval in SERIAL else ""
    if serial or "CONSTR_IDENTITY" in kinds:
        rule = "adding-serial-field" if serial else "adding-identity"
        type_ = _SERIAL.get(serial, "integer") if serial else text(column.typeName)
        what = f"adds {column.colname} to {table} with a number in each row, which writes it anew"
        yield Draft(rule, what, (table,), _numbered(node, column, type_))
        return
    if default is not None and is_volatile(Scene(sight.catalog), default.raw_expr):
        value = text(default.raw_expr)
        what = f"adds {column.colname} to {table} with another value in each row, which writes it anew"
        yield Draft("adding-field-with-default", what, (table,), _defaulted(node, column, value, kinds))
        return
    generated = kinds.get("CONSTR_GENERATED")
    if generated is not None and generated.generated_kind != "v":
        what = f"adds {column.colname} to {table}, computed for each row, which writes it anew"
        filled = batched(written(node.relation), f"{quoted(column.colname)} = {text(generated.raw_expr)}")
        trigger = "\n# and a trigger BEFORE INSERT OR UPDATE that computes it from now on"
        yield Draft("adding-field-with-default", what, (table,), steps(_bare(node, column), filled + trigger))


def _constrained(sight: Sight, node: Any, column: Any, kinds: Any, table: str) -> Iterator[Draft]:
    name, at = f"{node.relation.relname}_{column.colname}", written(node.relation)
    if key := kinds.get("CONSTR_FOREIGN"):
        target = Scene(sight.catalog).name(key.pktable)
        foreign = f"ALTER TABLE {at} ADD CONSTRAINT {quoted(f'{name}_fkey')} FOREIGN KEY ({quoted(column.colname)})"
        added = execute(f"{foreign} {references(key)} NOT VALID")
        validated = execute(f"ALTER TABLE {at} VALIDATE CONSTRAINT {quoted(f'{name}_fkey')}")
        filled = "CONSTR_DEFAULT" in kinds
        yield Draft(
            "adding-foreign-key-constraint" if filled else "inline-foreign-key",
            f"adds {column.colname} to {table}, which names {target} and locks it",
            (table, target) if filled else (target,),
            steps(_bare(node, column), added, validated),
        )
    if check := kinds.get("CONSTR_CHECK"):
        named = quoted(check.conname or f"{name}_check")
        tested = f"ALTER TABLE {at} ADD CONSTRAINT {named} CHECK ({text(check.raw_expr)}) NOT VALID"
        what = f"adds {column.colname} to {table} with a check, which reads it whole"
        parts = (_bare(node, column), execute(tested), execute(f"ALTER TABLE {at} VALIDATE CONSTRAINT {named}"))
        yield Draft("constraint-missing-not-valid", what, (table,), steps(*parts))
    for kind, word in (("CONSTR_UNIQUE", "UNIQUE"), ("CONSTR_PRIMARY", "PRIMARY KEY")):
        if kind in kinds:
            named = quoted(f"{name}_key")
            index = f"CREATE UNIQUE INDEX CONCURRENTLY {named} ON {at} ({quoted(column.colname)})"
            used = f"ALTER TABLE {at} ADD CONSTRAINT {named} {word} USING INDEX {named}"
            what = f"adds {column.colname} to {table}, {word}, which builds an index"
            parts = (_bare(node, column), block(index), execute(used))
            yield Draft("disallowed-unique-constraint", what, (table,), steps(*parts))


def references(key: Any) -> str:
    """The REFERENCES clause of a foreign key."""
    columns = f" ({', '.join(quoted(each.sval) for each in key.pk_attrs)})" if key.pk_attrs else ""
    actions = {"c": "CASCADE", "n": "SET NULL", "d": "SET DEFAULT", "r": "RESTRICT"}
    deleted, updated = actions.get(key.fk_del_action or ""), actions.get(key.fk_upd_action or "")
    does = (f" ON DELETE {deleted}" if deleted else "") + (f" ON UPDATE {updated}" if updated else "")
    return f"REFERENCES {written(key.pktable)}{columns}{does}"


def _bare(node: Any, column: Any) -> str:
    """The column with its type, and nothing that concerns the rows that are there."""
    return execute(f"ALTER TABLE {written(node.relation)} ADD COLUMN {quoted(column.colname)} {text(column.typeName)}")


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
    return steps(f"{_bare(node, column)}\n{set_default}", filled, *required)


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
