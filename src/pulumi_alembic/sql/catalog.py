"""The catalog that a statement meets: relations, columns, constraints, dependencies, as a value and one query for it.

The query waits for no lock that a migration takes. It reads only catalogs, and calls no function that opens a relation.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Self

from pulumi_alembic.sql.garbage import uncollected
from pulumi_alembic.sql.parser import identifier

__all__ = ["FIXED", "FRESH", "QUERY", "Catalog", "Column", "Constraint", "Measure", "Models", "Relation", "quoted"]

FIXED, FRESH = "fixed", "fresh"
"""Kinds of a column's default."""

Measure = Callable[[str], int | None]
"""A function that returns the bytes of a table's own rows: 0 without rows, None if that is not known immediately."""

QUERY = r"""
WITH relation AS (
    SELECT c.oid, nspname, relname, relkind, reltuples, relpages, relrowsecurity AND relforcerowsecurity AS forced,
        relhastriggers, relhasrules, coalesce(indisvalid, true) AS valid, indrelid,
        CASE WHEN indisunique AND indisvalid AND indpred IS NULL AND indexprs IS NULL AND indnatts = indnkeyatts
            THEN indkey::int2[] END AS key
    FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace LEFT JOIN pg_index ON indexrelid = c.oid
    WHERE nspname <> 'information_schema' AND nspname NOT LIKE 'pg\_%' AND relkind <> 'c'
)
SELECT json_build_object(
    'search_path', to_json(current_schemas(false)),
    'utc', current_setting('TimeZone') IN ('UTC', 'Etc/UTC', 'GMT'),
    -- Most relations are indexes. What they cannot have is not looked for.
    'relations', (SELECT json_agg(json_build_object(
        'oid', oid::bigint, 'schema', nspname, 'name', relname, 'kind', relkind,
        -- Statistics wait for no lock, as pg_relation_size would; before the first ANALYZE reltuples is not known.
        'rows', greatest(reltuples, pg_stat_get_live_tuples(oid), 0)::bigint, 'pages', relpages,
        'valid', valid,
        'columns', CASE WHEN relkind IN ('r', 'p', 'v', 'm', 'f') THEN (
            SELECT json_agg(json_build_array(attnum, attname, format_type(atttypid, atttypmod), attnotnull,
                                             atthasdef OR attidentity <> '') ORDER BY attnum)
            FROM pg_attribute WHERE attrelid = relation.oid AND attnum > 0 AND NOT attisdropped) END,
        'key', to_json(key),
        'parents', CASE WHEN relkind NOT IN ('S', 'v', 'm') THEN (
            SELECT json_agg(inhparent::bigint ORDER BY inhseqno) FROM pg_inherits WHERE inhrelid = relation.oid) END,
        'forced', forced,
        'default_partition', CASE WHEN relkind = 'p' THEN (
            SELECT partdefid::bigint FROM pg_partitioned_table WHERE partrelid = relation.oid) END,
        'table', CASE WHEN relkind = 'S' THEN (
            SELECT refobjid::bigint FROM pg_depend WHERE classid = 'pg_class'::regclass AND objid = relation.oid
                AND refclassid = 'pg_class'::regclass AND refobjsubid > 0 AND deptype IN ('a', 'i') LIMIT 1)
            ELSE indrelid::bigint END,
        'uses', CASE WHEN relkind IN ('v', 'm') THEN (
            SELECT json_agg(DISTINCT jsonb_build_array(refobjid::bigint, refobjsubid))
            FROM pg_rewrite w JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = w.oid
            WHERE w.ev_class = relation.oid AND refclassid = 'pg_class'::regclass AND refobjid <> relation.oid) END,
        'triggers', CASE WHEN relhastriggers THEN (
            SELECT json_agg(json_build_array(tgname, nspname, proname) ORDER BY tgname)
            FROM pg_trigger JOIN pg_proc p ON p.oid = tgfoid JOIN pg_namespace n ON n.oid = pronamespace
            WHERE tgrelid = relation.oid AND NOT tgisinternal) END,
        'rules', CASE WHEN relhasrules THEN (
            SELECT json_agg(rulename ORDER BY rulename) FROM pg_rewrite
            WHERE ev_class = relation.oid AND rulename <> '_RETURN') END
    ) ORDER BY nspname, relname) FROM relation),
    'constraints', (SELECT json_agg(json_build_object(
        'table', conrelid::bigint, 'name', conname, 'kind', contype, 'columns', conkey, 'index', conindid::bigint,
        'target', confrelid::bigint, 'on_delete', confdeltype, 'on_update', confupdtype, 'validated', convalidated,
        'expression', CASE WHEN contype = 'c' AND conbin::text LIKE '%NULLTEST%' THEN conbin::text END
    ) ORDER BY conname) FROM pg_constraint
        WHERE conrelid IN (SELECT oid FROM relation WHERE relkind NOT IN ('i', 'I', 'S')) AND contype <> 't'),
    'types', (SELECT json_agg(json_build_array(nspname, typname, typtype, format_type(typbasetype, typtypmod),
            typnotnull OR EXISTS (SELECT FROM pg_constraint WHERE contypid = t.oid AND contype = 'c'))
            ORDER BY nspname, typname)
        FROM pg_type t JOIN pg_namespace n ON n.oid = typnamespace
        WHERE typtype IN ('d', 'e', 'r') AND nspname <> 'information_schema' AND nspname NOT LIKE 'pg\_%'),
    'functions', (SELECT json_agg(json_build_array(nspname, proname, provolatile = 'v') ORDER BY nspname, proname)
        FROM pg_proc p JOIN pg_namespace n ON n.oid = pronamespace
        WHERE nspname <> 'information_schema' AND nspname NOT LIKE 'pg\_%')
)
"""
"""Returns one row with one value, which `Catalog.of` takes."""


def quoted(*parts: str) -> str:
    """Return the qualified name as PostgreSQL prints it, with quotes where they are needed."""
    return ".".join(identifier(part) for part in parts if part)


@dataclass(frozen=True)
class Column:
    """A column.

    Attributes:
        type: as PostgreSQL writes it. Empty if unknown.
        new: the plan adds the column.
        was: the name before the plan renamed it. Empty if it did not.
        default: what a row gets without a value: empty for NULL, FIXED for a value that can repeat, FRESH for a unique
            one.

    """

    type: str = ""
    not_null: bool = False
    new: bool = False
    was: str = field(default="", compare=False)
    default: str = field(default="", compare=False)


Models = Mapping[tuple[str, str], Mapping[str, Column]]
"""By schema, empty if a model has none, and table: the columns as an application's models declare them."""


@dataclass(frozen=True)
class Constraint:
    """A constraint of a table.

    Attributes:
        kind: as in pg_constraint.contype.
        target: the table that a foreign key refers to.
        index: the index of a unique constraint.
        on_delete: the letter of pg_constraint, like `on_update`.
        not_null: columns for which a CHECK requires IS NOT NULL.

    """

    name: str
    kind: str
    columns: tuple[str, ...] = ()
    target: str = ""
    index: str = ""
    on_delete: str = "a"
    on_update: str = "a"
    validated: bool = True
    not_null: tuple[str, ...] = ()


@dataclass(frozen=True)
class Relation:
    """A table, view, index, sequence or other relation.

    Attributes:
        kind: as in pg_class.relkind.
        table: the table of an index, or the owner of a sequence.
        uses: of a view, pairs of relation and column that it reads. The column is empty if unknown.
        triggers: the function of each trigger.
        rows: from the server's statistics, like `pages`. 0 if empty or not analyzed yet.
        valid: False for an index left by an interrupted build.
        forced: row-level security applies to the owner too.
        key: the columns of a unique index. Empty if it is partial or has expressions.
        was: the name before the plan renamed or moved it. Empty if it did not.
        assumed: only a statement mentions it. No catalog has it, and no statement created it.

    """

    name: str
    kind: str = "r"
    columns: Mapping[str, Column] = field(default_factory=dict)
    constraints: tuple[Constraint, ...] = ()
    parents: tuple[str, ...] = ()
    default_partition: str = ""
    table: str = ""
    uses: tuple[tuple[str, str], ...] = ()
    triggers: Mapping[str, str] = field(default_factory=dict)
    rules: tuple[str, ...] = ()
    rows: int = 0
    pages: int = 0
    valid: bool = True
    forced: bool = field(default=False, compare=False)
    key: tuple[str, ...] = field(default=(), compare=False)
    was: str = field(default="", compare=False)
    assumed: bool = field(default=False, compare=False)


@dataclass(frozen=True)
class Catalog:
    """The catalog before a statement. Names are qualified, as `quoted` writes them.

    Attributes:
        types: the base type of each domain, empty for any other type.
        constrained: the domains with constraints.
        functions: whether any function of that name is volatile.
        utc: whether the session's time zone is UTC.
        complete: False after a statement whose effects are unknown. Then there can be further objects.

    """

    relations: Mapping[str, Relation] = field(default_factory=dict)
    types: Mapping[str, str] = field(default_factory=dict)
    constrained: frozenset[str] = frozenset()
    functions: Mapping[str, bool] = field(default_factory=dict)
    search_path: tuple[str, ...] = ()
    utc: bool = False
    complete: bool = True

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Self:
        """Return the catalog that the value of QUERY describes."""
        with uncollected():
            return cls._of(document)

    @classmethod
    def _of(cls, document: Mapping[str, Any]) -> Self:
        rows = document["relations"] or []
        names = {row["oid"]: quoted(row["schema"], row["name"]) for row in rows}
        numbered = {row["oid"]: {number: name for number, name, *_ in row["columns"] or []} for row in rows}
        held: dict[str, list[Constraint]] = {}
        for row in document["constraints"] or []:
            held.setdefault(names[row["table"]], []).append(_constraint(row, names, numbered[row["table"]]))
        types = [(quoted(schema, name), *rest) for schema, name, *rest in document["types"] or []]
        functions: dict[str, bool] = {}
        for schema, name, volatile in document["functions"] or []:
            functions[quoted(schema, name)] = functions.get(quoted(schema, name), False) or volatile
        return cls(
            {names[row["oid"]]: _relation(row, names, numbered, held.get(names[row["oid"]], ())) for row in rows},
            {name: base if kind == "d" else "" for name, kind, base, _ in types},
            frozenset(name for name, kind, _, constrained in types if kind == "d" and constrained),
            functions,
            tuple(document["search_path"]),
            document["utc"],
        )

    def find(self, schema: str | None, name: str, among: Iterable[str] | None = None) -> str:
        """Return the full name of an existing relation, or of one of the names `among`.

        If none exists, return the name that a new one would get.
        """
        if schema:
            return quoted(schema, name)
        names = self.relations if among is None else among
        candidates = [quoted(place, name) for place in ("pg_temp", *self.search_path)]
        matches = [candidate for candidate in [*candidates, quoted(name)] if candidate in names]
        return (matches or candidates[1:] or [quoted(name)])[0]

    def descendants(self, name: str) -> list[str]:
        """Return its partitions and inheritance children at any depth."""
        return self._below(
            name, lambda above: [relation.name for relation in self.relations.values() if above in relation.parents]
        )

    def referencing(self, name: str) -> Iterator[tuple[Relation, Constraint]]:
        """Yield the foreign keys that refer to this table, including its own, with their tables."""
        for relation in self.relations.values():
            for constraint in relation.constraints:
                if constraint.target == name:
                    yield relation, constraint

    def views_of(self, name: str, column: str = "") -> list[str]:
        """Return the views that read the relation, or this column of it, directly or through other views."""

        def users(used: str) -> list[str]:
            columns = ("", column) if column and used == name else None
            return [
                view.name
                for view in self.relations.values()
                if any(relation == used and (columns is None or at in columns) for relation, at in view.uses)
            ]

        return self._below(name, users)

    def _below(self, name: str, step: Callable[[str], list[str]]) -> list[str]:
        """Return everything that can be reached by `step`, nearest first, each once."""
        below = {name: None}
        waiting = [name]
        while waiting:
            new = [candidate for candidate in step(waiting.pop(0)) if candidate not in below]
            below |= dict.fromkeys(new)
            waiting += new
        return list(below)[1:]


@lru_cache(maxsize=1 << 10)
def _column(type_: str, not_null: bool, has_default: bool) -> Column:
    return Column(type_, not_null, default=FIXED if has_default else "")


def _constraint(row: Mapping[str, Any], names: Mapping[int, str], columns: Mapping[int, str]) -> Constraint:
    return Constraint(
        row["name"],
        row["kind"],
        tuple(columns[number] for number in row["columns"] or [] if number in columns),
        names.get(row["target"], ""),
        names.get(row["index"], "") if row["kind"] in "pux" else "",
        row["on_delete"].strip() or "a",
        row["on_update"].strip() or "a",
        row["validated"],
        tuple(columns[number] for number in _tested(row["expression"] or "") if number in columns),
    )


def _tested(tree: str) -> Iterator[int]:
    """Yield numbers of columns for which the stored expression requires IS NOT NULL, by itself or joined by AND.

    pg_get_constraintdef would return SQL, but waits for the table's lock.
    """
    if match := _TEST.match(tree):
        yield int(match[1])
    elif tree.startswith(_AND):
        depth = start = 0
        for brace in _BRACE.finditer(tree[len(_AND) :]):
            start = brace.start() if depth == 0 else start
            depth += 1 if brace[0] == "{" else -1
            if depth == 0:
                yield from _tested(tree[len(_AND) :][start : brace.end()])
            if depth < 0:
                return


_TEST = re.compile(r"\{NULLTEST :arg \{VAR :varno 1 :varattno (\d+) [^{}]*\} :nulltesttype 1 ")
_BRACE = re.compile(r"(?<!\\)[{}]")
_AND = "{BOOLEXPR :boolop and :args ("


def _relation(
    row: Mapping[str, Any],
    names: Mapping[int, str],
    numbered: Mapping[int, Mapping[int, str]],
    constraints: Iterable[Constraint],
) -> Relation:
    uses = [(oid, number) for oid, number in row["uses"] or [] if oid in names]
    return Relation(
        names[row["oid"]],
        row["kind"],
        {name: _column(type_, not_null, any(default)) for _, name, type_, not_null, *default in row["columns"] or []},
        tuple(constraints),
        tuple(names[oid] for oid in row["parents"] or [] if oid in names),
        names.get(row["default_partition"], ""),
        names.get(row["table"], ""),
        tuple((names[oid], numbered[oid].get(number, "")) for oid, number in uses),
        {name: quoted(schema, function) for name, schema, function in row["triggers"] or []},
        tuple(row["rules"] or ()),
        row["rows"],
        row["pages"],
        row["valid"],
        row.get("forced", False),
        tuple(numbered[row["table"]].get(number, "") for number in row.get("key") or ()),
    )
