"""What a statement can meet in a database: its relations, and what hangs on what. Pure: a value, and one query for it.

The query waits for no lock that a migration takes: it reads catalogs only, and calls no function that opens a relation.
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
"""The bytes of a table's own rows, 0 if there are none, and None where that cannot be told at once."""

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
"""Its one row has one value, which `Catalog.of` takes."""


def quoted(*parts: str) -> str:
    """The name as PostgreSQL prints it: a part is in quotes where it would be read as another word without them."""
    return ".".join(identifier(part) for part in parts if part)


@dataclass(frozen=True)
class Column:
    """`type` is as PostgreSQL writes it, empty where it is not known; `new` where the plan itself adds the column.

    `was` is its name before the plan renamed it, empty where it did not. `default` is what a row gets that does not
    name the column: empty for NULL, FIXED for a value that can be the same in two rows, FRESH for one that cannot.
    """

    type: str = ""
    not_null: bool = False
    new: bool = False
    was: str = field(default="", compare=False)
    default: str = field(default="", compare=False)


Models = Mapping[tuple[str, str], Mapping[str, Column]]
"""By schema, empty where a model names none, and table: the columns as an application's models have them."""


@dataclass(frozen=True)
class Constraint:
    """`kind` is pg_constraint.contype; `target` the table that a foreign key names, `index` what a unique one uses.

    `on_delete` and `on_update` are the letters of pg_constraint; `not_null` are the columns that a check says are so.
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
    """`kind` is pg_class.relkind; `table` is where an index lies, or what owns a sequence.

    `uses` is what a view reads: pairs of a relation and a column, which is empty where it is not known which.
    `triggers` gives the function of each. `rows` and `pages` are what the server's statistics say: 0 is empty, or never
    looked at. An index that is not `valid` is what an interrupted build left. `was` is its name before the plan renamed
    or moved it, empty where it did not. `assumed` is one that no catalog and no statement made, but a statement names.
    Row-level security is `forced` where it holds for the owner too. `key` are the columns of a unique index,
    empty if it has others than columns or is partial.
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
    """What is there before a statement, by name as `quoted` writes it, with its schema.

    `types` gives for a domain its base type, for any other type an empty text; `constrained` are the domains with
    constraints; `functions` gives whether any function of that name is volatile; `utc` whether that is the session's
    time zone. It is not `complete` behind what no text shows, such as a revision that runs Python: there may be more.
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
        """The catalog that QUERY's value describes."""
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
        """The full name of a relation, or of what is `among`: of what is there first, else of what would be made."""
        if schema:
            return quoted(schema, name)
        names = self.relations if among is None else among
        candidates = [quoted(place, name) for place in ("pg_temp", *self.search_path)]
        matches = [candidate for candidate in [*candidates, quoted(name)] if candidate in names]
        return (matches or candidates[1:] or [quoted(name)])[0]

    def descendants(self, name: str) -> list[str]:
        """The partitions and inheritance children below, at any depth."""
        return self._below(
            name, lambda above: [relation.name for relation in self.relations.values() if above in relation.parents]
        )

    def referencing(self, name: str) -> Iterator[tuple[Relation, Constraint]]:
        """The foreign keys of other tables, and of itself, that name this table."""
        for relation in self.relations.values():
            for constraint in relation.constraints:
                if constraint.target == name:
                    yield relation, constraint

    def views_of(self, name: str, column: str = "") -> list[str]:
        """The views that read the relation or, where one is given, this column of it, and the views of these."""

        def users(used: str) -> list[str]:
            columns = ("", column) if column and used == name else None
            return [
                view.name
                for view in self.relations.values()
                if any(relation == used and (columns is None or at in columns) for relation, at in view.uses)
            ]

        return self._below(name, users)

    def _below(self, name: str, step: Callable[[str], list[str]]) -> list[str]:
        """All that can be reached by steps, nearest first, each once."""
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
    """The numbers of the columns of which a stored expression says IS NOT NULL, alone or joined to others by AND.

    pg_get_constraintdef would give it as SQL, and waits for the table's lock to do so.
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
