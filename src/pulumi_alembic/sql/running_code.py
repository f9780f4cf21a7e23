"""What a revision breaks in code that was written for the schema before it, and that still runs during a deployment.

The analysis assumes the worst: the code reads and writes each column by name, and omits every value that it can omit.
It writes NULLs, duplicates and orphans as far as the schema allows them. Pure functions.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from pulumi_alembic.sql.catalog import FRESH, Catalog, Column, Relation, quoted
from pulumi_alembic.sql.check_values import ALWAYS, EITHER, NEVER, can_refuse, columns_of
from pulumi_alembic.sql.effects.alter import alter
from pulumi_alembic.sql.effects.create import unique_columns
from pulumi_alembic.sql.effects.queries import CatalogAfter, name_of
from pulumi_alembic.sql.effects.types import SERIAL, is_of, reads_alike, type_text
from pulumi_alembic.sql.parser import edited, printed

__all__ = ["Breakage", "RunningCode"]

_DROPPED = re.compile(r"(?P<kind>(?:materialized |foreign )?[a-z]+) (?P<name>.*)", re.DOTALL)
_RELATIONS = {"table", "view", "materialized view", "foreign table", "sequence"}
_COLUMN = re.compile(r'(?P<table>.*)\.(?P<column>"(?:[^"]|"")*"|[^".]+)', re.DOTALL)

Breakage = tuple[str, str, str]
"""A relation or function, its column (empty for the whole relation), and a text about what happens to it."""


class RunningCode:
    """Follows the statements of revisions, and notes which of them break code that was written for `schema`."""

    def __init__(self, schema: Catalog) -> None:
        self.schema = schema
        self._gone: set[tuple[str, str]] = set()
        self._noted: dict[Breakage, None] = {}
        self._types: set[str] = set()
        """The newer names of types that the code knows by others."""
        self._replaced: dict[str, _View] = {}
        """The views and functions that the revision creates."""

    def statement(self, node: Any, destroys: Iterable[str], catalog: Catalog) -> list[Breakage]:
        """Note and return what the statement breaks.

        Args:
            node: the tree of the statement.
            destroys: what it drops, from its effects.
            catalog: before the statement.

        """
        before = _Before(self, catalog)
        breaks = [*self._dropped(before, destroys)]
        if node.tag in _CHECKS:
            breaks += _CHECKS[node.tag](before, node)
        self._noted |= dict.fromkeys(breaks)
        self._gone |= {(relation, column) for relation, column, text in breaks if _is_missing_after(text)}
        if node.tag == "RenameStmt" and node.renameType in {"OBJECT_TYPE", "OBJECT_DOMAIN"}:
            schema, name = name_of(node.object)
            if self.knows_type(old := catalog.find(schema, name, catalog.types), catalog):
                self._types.add(f"{old.removesuffix(quoted(name))}{quoted(node.newname)}")
        if node.tag == "ViewStmt":
            self._replaced[CatalogAfter(catalog).new_name(node.view)] = _View.of(node)
        if node.tag == "CreateFunctionStmt":
            self._replaced[catalog.find(*name_of(node.funcname), catalog.functions)] = _View(None, None)
        return breaks

    def revision(self) -> tuple[Breakage, ...]:
        """Return what the statements since the last call break, except what the same revision replaces."""
        breaks = [breakage for breakage in self._noted if not self._is_replaced(*breakage[:2])]
        self._noted, self._replaced = {}, {}
        return tuple({breakage[-1]: breakage for breakage in breaks}.values())

    def knows(self, table: str, catalog: Catalog) -> bool:
        """Return whether the code can use the relation. It cannot use one that the plan creates."""
        if (table, "") in self._gone:
            return False
        if table in self.schema.relations:
            return True
        return table not in catalog.relations or catalog.relations[table].assumed

    def knows_column(self, table: str, column: str, catalog: Catalog) -> bool:
        """Return whether the code can use the column."""
        if not self.knows(table, catalog) or (table, column) in self._gone:
            return False
        relation = self.schema.relations.get(table, Relation(table, assumed=True))
        if column in relation.columns or (relation.columns and not relation.assumed):
            return column in relation.columns
        now = catalog.relations.get(table, Relation(table)).columns.get(column)
        return now is None or not now.new

    def knows_type(self, name: str, catalog: Catalog) -> bool:
        """Return whether the code can use the type."""
        return name in self.schema.types or name in self._types or name not in catalog.types

    def fills(self, table: str, catalog: Catalog) -> bool:
        """Return whether a trigger of the plan can fill columns that the code does not know."""
        before = self.schema.relations.get(table, Relation(table)).triggers
        return not catalog.relations.get(table, Relation(table)).triggers.keys() <= before.keys()

    def _is_replaced(self, relation: str, column: str) -> bool:
        if relation not in self._replaced:
            return False
        before, view = self.schema.relations.get(relation, Relation(relation)), self._replaced[relation]
        exposed = view.columns if before.kind in "vm" else view.written
        return exposed is None or ({column} if column else set(before.columns)) <= exposed

    def _dropped(self, before: _Before, destroys: Iterable[str]) -> Iterator[Breakage]:
        for thing in destroys:
            match = _DROPPED.fullmatch(thing)
            kind, name = (match["kind"], match["name"]) if match else ("", thing)
            if kind in _RELATIONS:
                if before.knows(name):
                    yield name, "", f"drops {name}"
            elif kind == "column" and (parts := _COLUMN.fullmatch(name)):
                if before.knows_column(parts["table"], column := _bare(parts["column"])):
                    yield parts["table"], column, f"drops {name}"
            elif kind in {"function", "procedure", "routine", "aggregate"}:
                called = before.catalog.find(None, name, before.catalog.functions) if "." not in name else name
                if self._is_callable(called):
                    yield called, "", f"drops {kind} {name}"
            elif kind == "role" or thing.startswith("everything that "):
                yield "", "", f"drops {thing}"

    def _is_callable(self, function: str) -> bool:
        """Return whether the code can call an existing function. It cannot call one of a trigger."""
        triggers = {name for relation in self.schema.relations.values() for name in relation.triggers.values()}
        return function in self.schema.functions and function not in triggers


class _Before:
    """The catalog before a statement, and which parts of it the running code knows."""

    def __init__(self, code: RunningCode, catalog: Catalog) -> None:
        self.code = code
        self.state = CatalogAfter(catalog)

    @property
    def catalog(self) -> Catalog:
        return self.state.catalog

    def relation(self, table: str) -> Relation:
        return self.state.relation(table)

    def column(self, table: str, column: str) -> Column:
        return self.relation(table).columns.get(column, Column())

    def knows(self, table: str) -> bool:
        return self.code.knows(table, self.catalog)

    def knows_column(self, table: str, column: str) -> bool:
        return self.code.knows_column(table, column, self.catalog)

    def leaves_null(self, table: str, column: str) -> bool:
        """Return whether the code leaves NULL in a column, because it does not know it and nothing else fills it."""
        new = not self.knows_column(table, column)
        return new and not self.column(table, column).default and not self.code.fills(table, self.catalog)

    def is_filled(self, table: str, column: str) -> bool:
        """Return whether the server fills a column that the code does not know."""
        return not self.knows_column(table, column) and not self.leaves_null(table, column)

    def nullness(self, table: str, column: str) -> frozenset[bool]:
        """Return whether the column is NULL in rows that the code writes."""
        if self.leaves_null(table, column):
            return ALWAYS
        required = self.column(table, column).not_null or column in self._proven(table)
        return NEVER if required or self.is_filled(table, column) else EITHER

    def _proven(self, table: str) -> set[str]:
        """Return columns for which a CHECK requires IS NOT NULL. It applies to new rows even if it is not validated."""
        return {column for constraint in self.relation(table).constraints for column in constraint.not_null}

    def refuses_nulls(self, table: str, column: str) -> Iterator[Breakage]:
        """Yield a breakage if the column rejects NULLs that the code can write."""
        if self.nullness(table, column) != NEVER:
            yield table, column, f"requires a value for {_full(table, column)}"

    def is_key(self, table: str, columns: set[str]) -> bool:
        """Return whether two rows cannot have the same values in these columns."""
        keys = [constraint.columns for constraint in self.relation(table).constraints if constraint.kind in "pu"]
        keys += [
            relation.key for relation in self.catalog.relations.values() if relation.table == table and relation.key
        ]
        return any(set(key) <= columns for key in keys)

    def refuses_duplicates(self, table: str, columns: Iterable[str], *, nulls: bool) -> bool:
        """Return whether the code can write rows that are equal in these columns. With `nulls`, NULLs are equal."""
        names = set(columns)
        if self.is_key(table, names) and not nulls:
            return False
        if not nulls and any(self.leaves_null(table, name) for name in names):
            return False
        fresh = [name for name in names if self.column(table, name).default == FRESH]
        return not any(self.is_filled(table, name) for name in fresh)


def _rename(before: _Before, node: Any) -> Iterator[Breakage]:
    kind = node.renameType.removeprefix("OBJECT_")
    if kind == "SCHEMA":
        old = quoted(node.subname)
        for name in before.code.schema.relations:
            if name.startswith(f"{old}.") and before.knows(name):
                yield name, "", f"renames {name} to {quoted(node.newname)}{name.removeprefix(old)}"
    if node.relation is None:
        return
    table = before.state.name(node.relation)
    if kind == "COLUMN" and before.knows_column(table, node.subname):
        yield table, node.subname, f"renames {_full(table, node.subname)} to {quoted(node.newname)}"
    relation = before.relation(table)
    whole = kind in {"TABLE", "VIEW", "MATVIEW", "FOREIGN_TABLE", "SEQUENCE"} and relation.kind not in "iI"
    if whole and not (kind == "SEQUENCE" and relation.table) and before.knows(table):
        yield table, "", f"renames {table} to {quoted(node.newname)}"


def _move(before: _Before, node: Any) -> Iterator[Breakage]:
    if node.relation is not None and before.knows(table := before.state.name(node.relation)):
        yield table, "", f"moves {table} to schema {quoted(node.newschema)}"


def _alter(before: _Before, node: Any) -> Iterator[Breakage]:
    if node.objtype not in {"OBJECT_TABLE", "OBJECT_FOREIGN_TABLE"}:
        return
    table = before.state.name(node.relation)
    if before.knows(table):
        for command in node.cmds:
            if check := _ACTIONS.get(command.subtype):
                yield from check(before, table, command)
            alter(before.state, edited(node, cmds=[command]))


def _add_column(before: _Before, table: str, command: Any) -> Iterator[Breakage]:
    column = command.def_
    if command.missing_ok and column.colname in before.relation(table).columns:
        return
    kinds = {constraint.contype: constraint for constraint in column.constraints or ()}
    serial = column.typeName.names[-1].sval in SERIAL
    valued = serial or kinds.keys() & {"CONSTR_DEFAULT", "CONSTR_GENERATED", "CONSTR_IDENTITY"}
    if valued or before.code.fills(table, before.catalog):
        shared = "CONSTR_DEFAULT" in kinds and not serial
        if shared and kinds.keys() & {"CONSTR_UNIQUE", "CONSTR_PRIMARY"} and _is_constant(kinds["CONSTR_DEFAULT"]):
            yield table, column.colname, f"gives each row of {table} the same unique value"
        return
    check = kinds.get("CONSTR_CHECK")
    required = kinds.keys() & {"CONSTR_NOTNULL", "CONSTR_PRIMARY"}
    if required or (check and can_refuse(check.raw_expr, {column.colname: ALWAYS})):
        yield table, column.colname, f"requires a value for {_full(table, column.colname)}"


def _is_constant(constraint: Any) -> bool:
    return bool(constraint.raw_expr.tag in {"A_Const", "TypeCast"})


def _change_type(before: _Before, table: str, command: Any) -> Iterator[Breakage]:
    column, using = command.name, command.def_.raw_default
    if not before.knows_column(table, column):
        return
    old, new = before.column(table, column).type, type_text(command.def_.typeName)
    while using is not None and using.tag == "TypeCast" and reads_alike(before.catalog, old, type_text(using.typeName)):
        using = using.arg
    itself = using is None or (using.tag == "ColumnRef" and using.fields[-1].sval == column)
    if not itself or not reads_alike(before.catalog, old, new):
        yield table, column, f"changes the type of {_full(table, column)} to {printed(command.def_.typeName)}"


def _set_not_null(before: _Before, table: str, command: Any) -> Iterator[Breakage]:
    yield from before.refuses_nulls(table, command.name)


def _change_default(before: _Before, table: str, command: Any) -> Iterator[Breakage]:
    column = before.column(table, command.name)
    if not before.knows_column(table, command.name) or (column.not_null and not column.default):
        return
    if command.subtype != "AT_ColumnDefault" or command.def_ is None:
        if column.default or not column.type:
            yield table, command.name, f"removes the default of {_full(table, command.name)}"
    else:
        yield table, command.name, f"changes the default of {_full(table, command.name)}"


def _generate_always(before: _Before, table: str, command: Any) -> Iterator[Breakage]:
    options = command.def_ if isinstance(command.def_, list) else [command.def_]
    kinds = [option.generated_when or (option.arg is not None and chr(option.arg.ival or 0)) for option in options]
    if "a" in kinds and before.knows_column(table, command.name):
        yield table, command.name, f"accepts no value for {_full(table, command.name)}"


def _change_expression(before: _Before, table: str, command: Any) -> Iterator[Breakage]:
    if before.knows_column(table, command.name):
        yield table, command.name, f"changes the values of {_full(table, command.name)}"


def _hide_rows(before: _Before, table: str, command: Any) -> Iterator[Breakage]:
    does = {
        "AT_EnableRowSecurity": f"hides rows of {table} by policies",
        "AT_DetachPartition": f"detaches a partition of {table}",
    }
    yield table, "", does[command.subtype]


def _no_inherit(before: _Before, table: str, command: Any) -> Iterator[Breakage]:
    parent = before.state.name(command.def_)
    if before.knows(parent):
        yield parent, "", f"detaches {table} from {parent}"


def _add_constraint(before: _Before, table: str, command: Any) -> Iterator[Breakage]:
    node = command.def_
    kind = node.contype.removeprefix("CONSTR_")
    if check := _CONSTRAINTS.get(kind):
        yield from check(before, table, node)


def _check(before: _Before, table: str, node: Any) -> Iterator[Breakage]:
    columns = columns_of(node.raw_expr)
    filled = columns and all(before.is_filled(table, column) for column in columns)
    null = {column: before.nullness(table, column) for column in columns}
    if node.is_enforced and not filled and can_refuse(node.raw_expr, null):
        yield table, "", f"adds CHECK ({printed(node.raw_expr)}) to {table}"


def _foreign_key(before: _Before, table: str, node: Any) -> Iterator[Breakage]:
    columns = [name.sval for name in node.fk_attrs or ()]
    target = before.state.name(node.pktable)
    same = [
        constraint
        for constraint in before.relation(table).constraints
        if constraint.target == target and constraint.columns == tuple(columns)
    ]
    are_known = [before.knows_column(table, column) for column in columns]
    if node.is_enforced is not False and not same and all(are_known):
        yield table, "", f"adds a foreign key ({_names(columns)}) to {table}"


def _unique(before: _Before, table: str, node: Any) -> Iterator[Breakage]:
    primary = node.contype == "CONSTR_PRIMARY"
    columns = [key.sval for key in node.keys or ()]
    if node.indexname:
        columns = list(before.relation(before.state.sibling(table, node.indexname)).key)
    elif before.refuses_duplicates(table, columns, nulls=bool(node.nulls_not_distinct)):
        yield table, "", f"adds {'PRIMARY KEY' if primary else 'UNIQUE'} ({_names(columns)}) to {table}"
    for column in columns if primary else ():
        yield from before.refuses_nulls(table, column)


def _not_null(before: _Before, table: str, node: Any) -> Iterator[Breakage]:
    for key in node.keys or ():
        yield from before.refuses_nulls(table, key.sval)


def _exclusion(before: _Before, table: str, node: Any) -> Iterator[Breakage]:
    columns = [
        exclusion[0].name for exclusion in node.exclusions or () if isinstance(exclusion, list) and exclusion[0].name
    ]
    if not any(before.leaves_null(table, column) for column in columns):
        yield table, "", f"adds an exclusion constraint to {table}"


def _index(before: _Before, node: Any) -> Iterator[Breakage]:
    table = before.state.name(node.relation)
    if not node.unique or not before.knows(table):
        return
    listed = [element.name for element in node.indexParams or () if element.name]
    inside = {column for element in node.indexParams or () for column in columns_of(element.expr)}
    new = any(before.leaves_null(table, column) for column in inside)
    plain = unique_columns(node) or listed
    if (plain or inside) and not new and before.refuses_duplicates(table, plain, nulls=bool(node.nulls_not_distinct)):
        yield (
            table,
            "",
            f"adds a unique index ({', '.join(_element(element) for element in node.indexParams)}) to {table}",
        )


def _element(node: Any) -> str:
    return quoted(node.name) if node.name else printed(node.expr)


def _domain(before: _Before, node: Any) -> Iterator[Breakage]:
    name = before.catalog.find(*name_of(node.typeName), before.catalog.types)
    if node.subtype not in {"C", "O"}:
        return
    for relation in before.catalog.relations.values():
        for column, definition in relation.columns.items():
            if is_of(before.catalog, definition.type, name) and before.knows_column(relation.name, column):
                yield relation.name, column, f"restricts the domain of {_full(relation.name, column)}"


def _enum(before: _Before, node: Any) -> Iterator[Breakage]:
    name = before.catalog.find(*name_of(node.typeName), before.catalog.types)
    if node.oldVal and before.code.knows_type(name, before.catalog):
        yield "", "", f"renames a value of the type {name}"


def _revoke(before: _Before, node: Any) -> Iterator[Breakage]:
    if node.is_grant or node.grant_option or node.targtype == "ACL_TARGET_DEFAULTS":
        return
    for item in node.objects or ():
        is_known = True
        if item.tag == "RangeVar":
            is_known = before.knows(before.state.name(item))
        elif item.tag == "ObjectWithArgs":
            called = before.catalog.find(*name_of(item.objname), before.catalog.functions)
            is_known = called in before.code.schema.functions
        if is_known:
            yield "", "", printed(node)
            return


def _revoke_role(before: _Before, node: Any) -> Iterator[Breakage]:
    if not node.is_grant and not node.opt:
        yield "", "", printed(node)


def _restrict(before: _Before, node: Any) -> Iterator[Breakage]:
    table = before.state.name(node.table)
    if not node.permissive and before.knows(table):
        yield table, "", f"hides rows of {table} by a policy"


def _rule(before: _Before, node: Any) -> Iterator[Breakage]:
    table = before.state.name(node.relation)
    if node.instead and before.knows(table) and before.relation(table).kind != "v":
        yield table, "", f"replaces what a statement does to {table} by a rule"


def _drop(before: _Before, node: Any) -> Iterator[Breakage]:
    if node.removeType == "OBJECT_POLICY":
        for item in node.objects:
            if before.knows(table := before.state.named(item[:-1])):
                yield table, "", f"removes a policy of {table}"


@dataclass(frozen=True)
class _View:
    """The columns of a view, and those through which its table can be written. None for all columns of the table."""

    columns: frozenset[str] | None
    written: frozenset[str] | None

    @classmethod
    def of(cls, node: Any) -> _View:
        query = node.query
        sources = list(query.fromClause or ())
        clauses = (query.groupClause, query.havingClause, query.distinctClause, query.limitCount, query.withClause)
        joined = len(sources) != 1 or sources[0].tag != "RangeVar" or query.larg is not None
        partial = joined or any(clauses) or query.whereClause is not None
        columns: dict[str, bool] = {}
        for number, target in enumerate(query.targetList or ()):
            column = target.val.tag == "ColumnRef"
            if column and target.val.fields[-1].tag == "A_Star":
                return cls(None, frozenset() if partial else None)
            names = [alias.sval for alias in node.aliases or ()][number : number + 1]
            name = names[0] if names else target.name or (target.val.fields[-1].sval if column else "")
            columns[name] = column
        written = frozenset() if partial else frozenset(name for name, column in columns.items() if column)
        return cls(frozenset(columns), written)


def _is_missing_after(text: str) -> bool:
    """Return whether the relation or column does not exist under its name after the breakage."""
    return text.startswith(("drops", "renames", "moves"))


def _full(table: str, column: str) -> str:
    return f"{table}.{quoted(column)}"


def _names(columns: Iterable[str]) -> str:
    return ", ".join(map(quoted, columns))


def _bare(name: str) -> str:
    return name[1:-1].replace('""', '"') if name.startswith('"') else name


_Action = Callable[[_Before, str, Any], Iterator[Breakage]]

_CONSTRAINTS: dict[str, _Action] = {
    "CHECK": _check,
    "EXCLUSION": _exclusion,
    "FOREIGN": _foreign_key,
    "NOTNULL": _not_null,
    "PRIMARY": _unique,
    "UNIQUE": _unique,
}

_ACTIONS: dict[str, _Action] = {
    "AT_AddColumn": _add_column,
    "AT_AddConstraint": _add_constraint,
    "AT_AddIdentity": _generate_always,
    "AT_AlterColumnType": _change_type,
    "AT_ColumnDefault": _change_default,
    "AT_DetachPartition": _hide_rows,
    "AT_DropExpression": _change_expression,
    "AT_DropIdentity": _change_default,
    "AT_DropInherit": _no_inherit,
    "AT_EnableRowSecurity": _hide_rows,
    "AT_SetExpression": _change_expression,
    "AT_SetIdentity": _generate_always,
    "AT_SetNotNull": _set_not_null,
}

_CHECKS: dict[str, Callable[[_Before, Any], Iterator[Breakage]]] = {
    "AlterDomainStmt": _domain,
    "AlterEnumStmt": _enum,
    "AlterObjectSchemaStmt": _move,
    "AlterTableStmt": _alter,
    "CreatePolicyStmt": _restrict,
    "DropStmt": _drop,
    "GrantRoleStmt": _revoke_role,
    "GrantStmt": _revoke,
    "IndexStmt": _index,
    "RenameStmt": _rename,
    "RuleStmt": _rule,
}
