"""Tables and functions that queries and expressions use, and the catalog and effects collected so far."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

from pulumi_alembic.sql.catalog import Catalog, Column, Constraint, Relation, quoted
from pulumi_alembic.sql.locks import MODES, Effects, Lock
from pulumi_alembic.sql.parser import Node, children, nodes

__all__ = [
    "WRITERS",
    "CatalogAfter",
    "Hidden",
    "is_volatile",
    "look",
    "name_of",
    "read",
    "tables",
    "visit",
    "with_clause",
]

_LOCKED = "rpmfv"
_STORED = "rm"


def name_of(names: Iterable[Any]) -> tuple[str | None, str]:
    """Return the schema, or None, and the name from a list of String nodes."""
    parts = [name.sval for name in names]
    return (parts[-2] if len(parts) > 1 else None), parts[-1]


class CatalogAfter:
    """The catalog after the statements so far, and the union of their effects.

    An unknown relation is assumed to be a table.

    Attributes:
        runs: False if queries are only stored or planned, and not run.

    """

    def __init__(self, catalog: Catalog, *, runs: bool = True) -> None:
        self.catalog = catalog
        self.runs = runs
        self._locks: dict[str, str] = {}
        self._rewrites: dict[str, None] = {}
        self._scans: dict[str, None] = {}
        self._destroys: dict[str, None] = {}
        self._unknown: dict[str, None] = {}

    def effects(self) -> Effects:
        """Return the effects so far: each table's strongest lock, and everything else once, in order of appearance."""
        return Effects(
            tuple(Lock(table, mode) for table, mode in self._locks.items()),
            tuple(self._rewrites),
            tuple(scan for scan in self._scans if scan not in self._rewrites),
            tuple(self._destroys),
            tuple(self._unknown),
        )

    def name(self, node: Any) -> str:
        """Return the full name of the relation that a RangeVar names."""
        schema = "pg_temp" if node.relpersistence == "t" else node.schemaname
        return self.catalog.find(schema, node.relname)

    def new_name(self, node: Any) -> str:
        """Return the full name of a new relation from a RangeVar, in the first schema of the search_path by default."""
        if node.relpersistence == "t" or node.schemaname:
            return quoted("pg_temp" if node.relpersistence == "t" else node.schemaname, node.relname)
        return quoted(*self.catalog.search_path[:1], node.relname)

    def named(self, names: Iterable[Any]) -> str:
        """Return the full name of the relation that a list of String nodes names."""
        return self.catalog.find(*name_of(names))

    def relation(self, name: str) -> Relation:
        """Return the relation, or an assumed one if it is unknown."""
        return self.catalog.relations.get(name) or Relation(name, assumed=True)

    def tree(self, name: str) -> list[str]:
        """Return the table and all its descendants."""
        return [name, *self.catalog.descendants(name)]

    def lock(self, name: str, mode: str) -> None:
        """Note a lock on the relation, if it is of a kind whose lock affects readers."""
        if self.relation(name).kind in _LOCKED:
            current = self._locks.get(name, mode)
            self._locks[name] = max(current, mode, key=MODES.index)

    def lock_tree(self, name: str, mode: str) -> None:
        """Note a lock on the table and all its descendants."""
        for relation in self.tree(name):
            self.lock(relation, mode)

    def rewrite(self, name: str) -> None:
        """Note that the relation is rewritten, if it stores rows."""
        if self.relation(name).kind in _STORED:
            self._rewrites[name] = None

    def scan(self, name: str) -> None:
        """Note that the relation is scanned, if it stores rows."""
        if self.relation(name).kind in _STORED:
            self._scans[name] = None

    def destroy(self, thing: str) -> None:
        """Note a deleted object as its kind and name."""
        self._destroys[thing] = None

    def unknown(self, cause: str) -> None:
        """Note a cause of effects that the statement does not show."""
        self._unknown[cause] = None
        self.catalog = replace(self.catalog, complete=False)

    def put(self, relation: Relation) -> None:
        """Add or replace the relation."""
        self.catalog = replace(self.catalog, relations={**self.catalog.relations, relation.name: relation})

    def put_column(self, table: str, name: str, column: Column) -> None:
        """Add or replace a column of the table."""
        relation = self.relation(table)
        self.put(replace(relation, columns={**relation.columns, name: column}))

    def put_constraint(self, table: str, constraint: Constraint) -> None:
        """Add a constraint to the table, or replace the one of the same name."""
        relation = self.relation(table)
        others = [other for other in relation.constraints if other.name != constraint.name or not other.name]
        self.put(replace(relation, constraints=(*others, constraint)))

    def forget(self, name: str) -> None:
        """Remove the relation and those that belong to it, such as its indexes."""
        removed = {name} | {relation.name for relation in self.catalog.relations.values() if relation.table == name}
        remaining = {key: other for key, other in self.catalog.relations.items() if key not in removed}
        self.catalog = replace(self.catalog, relations=remaining)

    def rename(self, name: str, new: str) -> None:
        """Rename the relation, and all references to it."""
        renamed = {}
        for other in self.catalog.relations.values():
            relation = _renamed(other, name, new)
            renamed[relation.name] = relation
        self.catalog = replace(self.catalog, relations=renamed)

    def sibling(self, name: str, new: str) -> str:
        """Return the full name of `new` in the schema of the relation `name`."""
        schema, dot, _ = name.rpartition(".")
        return f"{schema}{dot}{quoted(new)}"


def _renamed(relation: Relation, name: str, new: str) -> Relation:
    def to(old: str) -> str:
        return new if old == name else old

    return replace(
        relation,
        name=to(relation.name),
        was=relation.was or relation.name if relation.name == name else relation.was,
        parents=tuple(to(parent) for parent in relation.parents),
        default_partition=to(relation.default_partition),
        table=to(relation.table),
        uses=tuple((to(used), column) for used, column in relation.uses),
        constraints=tuple(
            replace(constraint, target=to(constraint.target), index=to(constraint.index))
            for constraint in relation.constraints
        ),
    )


Hidden = frozenset[str]
"""Names of a WITH clause's queries, which hide tables of the same name."""

WRITERS: dict[str, Callable[[CatalogAfter, Any, Hidden], None]] = {}
"""Functions for statements that write rows, by node type. These can also be inside a WITH clause."""

# Volatile functions of PostgreSQL 15 to 18 and of the extensions pgcrypto and uuid-ossp that change no table.
_VOLATILE = frozenset(
    {
        *("random", "random_normal", "setseed", "array_shuffle", "array_sample", "gen_random_bytes", "gen_salt"),
        *("nextval", "currval", "lastval", "setval", "clock_timestamp", "timeofday", "set_config", "current_query"),
        *("gen_random_uuid", "uuidv4", "uuidv7", "uuid_generate_v1", "uuid_generate_v1mc", "uuid_generate_v4"),
        *("txid_status", "xpath_table"),
    }
)
# These functions change objects that a preview cannot see, or run SQL that they get as a value.
_ACTING = ("lo_", "query_to_xml", "cursor_to_xml", "ts_stat", "ts_rewrite", "dblink")
_QUIET = ("pg_get_", "pg_typeof", "pg_size", "pg_column", "pg_table_is", "pg_advisory", "pg_try_advisory", "pg_notify")
_ADMIN_SUFFIXES = ("_size", "_is_visible", "_sleep", "_backend_pid")


def visit(state: CatalogAfter, node: Any, hidden: Hidden = frozenset()) -> None:
    """Note every table that is read, every row lock, and every call of a function with unknown effects."""
    # Without recursion, because expressions, joins and UNIONs can nest a thousand levels deep.
    waiting: list[tuple[Any, Hidden]] = [(node, hidden)]
    while waiting:
        node, hidden = waiting.pop()
        if isinstance(node, list):
            waiting += [(item, hidden) for item in reversed(node)]
        elif isinstance(node, _RowLocks):
            node.note(state, hidden)
        elif not isinstance(node, Node):
            continue
        elif node.tag in WRITERS:
            WRITERS[node.tag](state, node, hidden)
        elif node.tag == "RangeVar":
            if node.schemaname or node.relname not in hidden:
                read(state, state.name(node), tree=node.inh)
        elif node.tag == "SelectStmt":
            inner = with_clause(state, node, hidden)
            read_first = [child for child in children(node) if not _is_apart(node, child)]
            waiting += [(child, inner) for child in reversed([*read_first, _RowLocks(node)])]
        else:
            if node.tag == "FuncCall":
                _call(state, node)
            waiting += [(child, hidden) for child in reversed(children(node))]


def look(state: CatalogAfter, node: Any) -> None:
    """Note the tables of a query or an expression that is stored and not run."""
    looked = CatalogAfter(state.catalog, runs=False)
    visit(looked, node)
    for lock in looked.effects().locks:
        state.lock(lock.table, lock.mode)


def read(state: CatalogAfter, name: str, mode: str = "ACCESS SHARE", *, tree: bool = True) -> None:
    """Note a lock on a relation of a query, its descendants, and the relations that a view reads.

    Args:
        state: the catalog and effects so far.
        name: the full name of the relation.
        mode: the mode of the lock.
        tree: whether its descendants are locked too. False for ONLY.

    """
    waiting, seen = [name], {name}
    while waiting:
        used = waiting.pop()
        relation = state.relation(used)
        for relation_name in state.tree(used) if tree else [used]:
            state.lock(relation_name, mode)
        if relation.kind == "v" and state.runs:
            waiting += [
                fromkey for fromkey in dict.fromkeys(source for source, _ in relation.uses) if fromkey not in seen
            ]
            seen |= set(waiting)


def with_clause(state: CatalogAfter, node: Any, hidden: Hidden) -> Hidden:
    """Visit the queries of a statement's WITH clause, and return the names that are hidden from the statement."""
    clause = node.withClause
    if clause is None:
        return hidden
    names = frozenset(cte.ctename for cte in clause.ctes)
    for used in clause.ctes:
        visit(state, used.ctequery, hidden | names if clause.recursive else hidden)
        hidden |= {used.ctename}
    return hidden


def tables(state: CatalogAfter, node: Any) -> list[str]:
    """Return the existing relations that a query mentions."""
    named = [state.name(reference) for reference in nodes(node, "RangeVar")]
    return [name for name in dict.fromkeys(named) if name in state.catalog.relations]


def is_volatile(state: CatalogAfter, expression: Any) -> bool:
    """Return whether the expression must be computed for each row, because it calls a volatile or unknown function.

    A name that is neither in the catalog nor in this module is a function of PostgreSQL itself that is not volatile.
    """
    for call in nodes(expression, "FuncCall"):
        name = name_of(call.funcname)[1]
        own = _own(state, call)
        if own and state.catalog.functions.get(own, True):
            return True
        if not own and (name in _VOLATILE or name.startswith(("pg_", *_ACTING))):
            return True
    return False


def _is_apart(select: Node, child: Any) -> bool:
    return child is select.withClause or child is select.intoClause or child is select.lockingClause


@dataclass(frozen=True)
class _RowLocks:
    """The rows that a SELECT locks. They are noted after what it reads."""

    select: Node

    def note(self, state: CatalogAfter, hidden: Hidden) -> None:
        for clause in self.select.lockingClause or ():
            only = {locked.relname for locked in clause.lockedRels or ()}
            for named in nodes(self.select.fromClause, "RangeVar"):
                shown = named.alias.aliasname if named.alias else named.relname
                if (not only or shown in only) and (named.schemaname or named.relname not in hidden):
                    read(state, state.name(named), "ROW SHARE", tree=named.inh)


def _call(state: CatalogAfter, node: Any) -> None:
    own = _own(state, node)
    name = name_of(node.funcname)[1]
    if not state.runs:
        return
    if own:
        state.unknown(f"function {own}")
    elif name.startswith(_ACTING) or (
        name.startswith("pg_") and not name.startswith(_QUIET) and not name.endswith(_ADMIN_SUFFIXES)
    ):
        state.unknown(f"function {name}")


def _own(state: CatalogAfter, call: Any) -> str:
    """Return the full name of a function that is not PostgreSQL's own. Empty otherwise."""
    schema, name = name_of(call.funcname)
    if schema == "pg_catalog" or (not schema and name in _VOLATILE):
        return ""
    if schema:
        return quoted(schema, name)
    function = state.catalog.find(None, name, state.catalog.functions)
    return function if function in state.catalog.functions else ""
