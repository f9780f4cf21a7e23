"""Choose the tables of a large schema that a plan can touch. A rehearsal copies only these.

Objects that are not relations, such as types and functions, are all copied, with the tables that they need.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from pulumi_alembic.database.connection import VERSION_SCHEMA, Connection
from pulumi_alembic.review.rehearsal.pattern import literal, matching
from pulumi_alembic.scripts.plan import Direction, Plan
from pulumi_alembic.sql.catalog import Catalog
from pulumi_alembic.sql.effects import play
from pulumi_alembic.sql.mentions import mentioned, new_prefixes, words

if TYPE_CHECKING:
    from pulumi_alembic.migrate.planner import PlanContext

__all__ = ["LARGE", "Mentions", "Subset", "mentions", "mentions_of", "read_subset", "relations_to_copy", "tables_of"]

LARGE = 1000
"""Up to this number of tables, a rehearsal copies all."""

_MOST = 500
"""The largest number of relations in a subset. The patterns for pg_dump must name each of them."""

_LONGEST = 100_000
"""The largest size of a pattern, in bytes. Linux accepts arguments of 128 KiB."""

_KINDS = "('r', 'p', 'f', 'v', 'm', 'S')"
"""The kinds of relations that pg_dump can exclude."""

# The relation that an object of the catalog belongs to, or NULL.
_OWNER = """CASE {classid}
    WHEN 'pg_class'::regclass THEN coalesce((SELECT indrelid FROM pg_index WHERE indexrelid = {objid}), {objid})
    WHEN 'pg_type'::regclass THEN (SELECT coalesce(nullif(t.typrelid, 0), element.typrelid)
        FROM pg_type t LEFT JOIN pg_type element ON element.oid = t.typelem AND element.typarray = t.oid
        WHERE t.oid = {objid})
    WHEN 'pg_constraint'::regclass THEN (SELECT conrelid FROM pg_constraint WHERE oid = {objid})
    WHEN 'pg_attrdef'::regclass THEN (SELECT adrelid FROM pg_attrdef WHERE oid = {objid})
    WHEN 'pg_trigger'::regclass THEN (SELECT tgrelid FROM pg_trigger WHERE oid = {objid})
    WHEN 'pg_rewrite'::regclass THEN (SELECT ev_class FROM pg_rewrite WHERE oid = {objid})
    WHEN 'pg_policy'::regclass THEN (SELECT polrelid FROM pg_policy WHERE oid = {objid})
    WHEN 'pg_statistic_ext'::regclass THEN (SELECT stxrelid FROM pg_statistic_ext WHERE oid = {objid})
END"""

# The relations and their parts. The internal triggers of a foreign key are excluded: they need the referenced table.
_PART = """part (classid, objid) AS (
    SELECT 'pg_class'::regclass::oid, oid FROM unnest(%(relations)s::oid[]) oid
    UNION SELECT 'pg_class'::regclass, indexrelid FROM pg_index WHERE indrelid = ANY (%(relations)s)
    UNION SELECT 'pg_type'::regclass, unnest(ARRAY[t.oid, t.typarray])
        FROM pg_class c JOIN pg_type t ON t.oid = reltype WHERE c.oid = ANY (%(relations)s)
    UNION SELECT 'pg_constraint'::regclass, oid FROM pg_constraint WHERE conrelid = ANY (%(relations)s)
    UNION SELECT 'pg_attrdef'::regclass, oid FROM pg_attrdef WHERE adrelid = ANY (%(relations)s)
    UNION SELECT 'pg_trigger'::regclass, oid FROM pg_trigger WHERE tgrelid = ANY (%(relations)s) AND NOT tgisinternal
    UNION SELECT 'pg_rewrite'::regclass, oid FROM pg_rewrite WHERE ev_class = ANY (%(relations)s)
    UNION SELECT 'pg_policy'::regclass, oid FROM pg_policy WHERE polrelid = ANY (%(relations)s)
    UNION SELECT 'pg_statistic_ext'::regclass, oid FROM pg_statistic_ext WHERE stxrelid = ANY (%(relations)s)
)"""

_MENTIONED = """
SELECT coalesce(indrelid, c.oid) FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
    LEFT JOIN pg_index ON indexrelid = c.oid
WHERE nspname !~ '^pg_' AND nspname <> 'information_schema' AND relkind NOT IN ('c', 't')
    AND (nspname = ANY (%(names)s::text[]) OR nspname = ANY (%(search_path)s::text[]))
    AND (relname = ANY (%(names)s::text[]) OR relkind IN ('i', 'I', 'S')
        AND EXISTS (SELECT FROM unnest(%(prefixes)s::text[]) prefix WHERE starts_with(relname, prefix)))
"""

_VIEWS = """
SELECT ev_class FROM pg_depend d JOIN pg_rewrite w ON w.oid = objid JOIN pg_class c ON c.oid = ev_class
WHERE d.classid = 'pg_rewrite'::regclass AND refclassid = 'pg_class'::regclass AND refobjid = ANY (%(relations)s)
    AND relkind IN ('v', 'm')
"""

_REFERENCED = "SELECT confrelid FROM pg_constraint WHERE contype = 'f' AND conrelid = ANY (%(relations)s)"

_FAMILY = """
WITH RECURSIVE family (oid) AS (
    SELECT unnest(%(relations)s::oid[])
    UNION SELECT next.oid FROM family, LATERAL (
        SELECT inhrelid FROM pg_inherits WHERE inhparent = family.oid
        UNION ALL SELECT inhparent FROM pg_inherits WHERE inhrelid = family.oid
    ) next (oid)
)
TABLE family
"""

_NEEDS = f"""
WITH {_PART}
SELECT DISTINCT {_OWNER.format(classid="refclassid", objid="refobjid")} FROM part JOIN pg_depend USING (classid, objid)
"""  # noqa: S608 - no value is put into it

# An object without a relation, such as a function or a type of the table's rows, is passed to its own dependents.
_DEPENDENTS = f"""
WITH RECURSIVE {_PART}, dependent (classid, objid, owner) AS (
    SELECT classid, objid, NULL::oid FROM part
    UNION SELECT
        CASE WHEN composite.oid IS NULL THEN d.classid ELSE 'pg_type'::regclass END, coalesce(reltype, d.objid), (
            SELECT oid FROM pg_class
            WHERE relkind IN {_KINDS} AND oid = {_OWNER.format(classid="d.classid", objid="d.objid")}
        )
    FROM dependent p JOIN pg_depend d ON d.refclassid = p.classid AND d.refobjid = p.objid
        LEFT JOIN pg_class composite
            ON d.classid = 'pg_class'::regclass AND composite.oid = d.objid AND composite.relkind = 'c'
    WHERE p.owner IS NULL
)
SELECT DISTINCT owner FROM dependent
"""  # noqa: S608 - no value is put into it

_NAMES = f"""
SELECT nspname, relname, c.oid = ANY (%(relations)s), relkind IN ('r', 'p', 'f') AND nspname <> '{VERSION_SCHEMA}'
FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
WHERE relkind IN {_KINDS} AND nspname !~ '^pg_' AND nspname <> 'information_schema'
"""  # noqa: S608 - no value is put into it

# Tables of the migration itself, and those that objects without a relation need, which are all copied.
_NEEDED_ANYWAY = f"""
SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace WHERE nspname = '{VERSION_SCHEMA}'
UNION SELECT {_OWNER.format(classid="refclassid", objid="refobjid")} FROM pg_depend
WHERE deptype = 'n' AND refobjid >= 16384
    AND refclassid IN ('pg_class'::regclass, 'pg_type'::regclass, 'pg_constraint'::regclass)
    AND classid NOT IN ('pg_constraint'::regclass, 'pg_attrdef'::regclass, 'pg_trigger'::regclass,
        'pg_rewrite'::regclass, 'pg_policy'::regclass, 'pg_statistic_ext'::regclass)
    AND (classid <> 'pg_class'::regclass OR objid IN (SELECT oid FROM pg_class WHERE relkind = 'c'))
"""  # noqa: S608 - no value is put into it


@dataclass(frozen=True)
class Mentions:
    """What the statements of a plan can refer to.

    Attributes:
        names: Names of relations and schemas.
        prefixes: Prefixes of names that the server generates.
        search_path: The schemas of unqualified names.

    """

    names: list[str]
    prefixes: list[str]
    search_path: list[str]


@dataclass(frozen=True)
class Subset:
    """The tables that are copied: `tables` of the database's `of`.

    `left_out` are pg_dump's patterns of the relations that are not copied.
    """

    tables: int
    of: int
    left_out: tuple[str, ...]

    def __str__(self) -> str:
        """Return the count as a preview shows it: `14 of 10,000 tables`."""
        return f"{self.tables:,} of {self.of:,} tables"


def tables_of(catalog: Catalog) -> list[str]:
    """Return the catalog's tables, without those of the migration itself."""
    tables = (relation.name for relation in catalog.relations.values() if relation.kind in "rpf")
    return [name for name in tables if not name.startswith(f"{VERSION_SCHEMA}.")]


def mentions(context: PlanContext) -> Mentions | None:
    """Return what the plan and, for an upgrade, its downgrades mention.

    Returns:
        None if the plan can touch what it does not mention: a script runs Python, or a statement is not understood.

    """
    from pulumi_alembic.review.rendering import render

    assert context.catalog is not None  # noqa: S101 - it is large
    rendered = [script for steps in (context.plan, *_back(context.plan)) for script in render(steps, context.history)]
    if any(script.runs_python for script in rendered):
        return None
    return mentions_of((sql for script in rendered for sql, _ in script.statements), context.catalog)


def mentions_of(statements: Iterable[str], catalog: Catalog) -> Mentions | None:
    """Return what these statements mention, in the order in which they run. None if one is not understood."""
    names, prefixes = set[str](), set[str]()
    search_path = [*catalog.search_path]
    for sql in statements:
        effects, catalog = play(sql, catalog)
        meant = mentioned(sql)
        if effects.unknown or meant is None:
            return None
        touched = (*(lock.table for lock in effects.locks), *effects.rewrites, *effects.scans, *effects.destroys)
        names |= meant.union(*map(words, touched))
        prefixes |= new_prefixes(sql)
    return Mentions(sorted(names), sorted(prefixes), search_path)


def _back(steps: Plan) -> Iterable[Plan]:
    if steps.direction is Direction.UPGRADE:
        yield Plan((), "", Direction.DOWNGRADE, steps.steps[::-1])


def read_subset(connection: Connection, of_plan: Mentions) -> Subset | None:
    """Return the tables that the plan can touch. None if they are too many."""
    copied = relations_to_copy(connection, of_plan)
    if len(copied) > _MOST:
        return None
    rows = connection.execute(_NAMES.encode(), {"relations": [*copied]}).fetchall()
    tables = [is_copied for *_, is_copied, is_table in rows if is_table]
    left_out = tuple(_left_out((schema, name, is_copied) for schema, name, is_copied, _ in rows))
    if any(len(pattern.encode()) > _LONGEST for pattern in left_out):
        return None
    return Subset(sum(tables), len(tables), left_out)


def relations_to_copy(connection: Connection, of_plan: Mentions) -> set[int]:
    """Return the oids of the relations to copy. If they are too many, the set is incomplete.

    A plan can touch a relation that it mentions, the rest of its inheritance tree, and the views that read it.
    Relations that depend on these or that their foreign keys reference can be locked too, or can make a statement fail.
    The set also contains the relations that all of these need to be created.
    """
    named = _ids(connection, _MENTIONED, asdict(of_plan))
    near = _closure(connection, (_FAMILY, _VIEWS), named)
    near |= _closure(connection, (_FAMILY,), _related(connection, (_DEPENDENTS, _REFERENCED), near))
    return _closure(connection, (_NEEDS,), near | _ids(connection, _NEEDED_ANYWAY))


def _left_out(relations: Iterable[tuple[str, str, bool]]) -> Iterator[str]:
    """Return patterns of the relations that are not copied.

    `relations` lists all relations: schema, name and whether the relation is copied.
    """
    schemas = defaultdict[str, dict[bool, list[str]]](lambda: {True: [], False: []})
    for schema, name, is_copied in relations:
        schemas[schema][is_copied].append(name)
    mixed = {schema: names for schema, names in schemas.items() if names[True]}
    if whole := schemas.keys() - mixed.keys():
        yield f"{matching(whole, mixed)}.*"
    for schema, names in mixed.items():
        if names[False]:
            yield f"{literal(schema)}.{matching(names[False], names[True])}"


def _closure(connection: Connection, queries: Iterable[str], ids: set[int]) -> set[int]:
    """Return these oids and all that the queries reach from them. Stop if they are too many."""
    closure, new = set(ids), ids
    while new and len(closure) <= _MOST:
        new = _related(connection, queries, new) - closure
        closure |= new
    return closure


def _related(connection: Connection, queries: Iterable[str], ids: Collection[int]) -> set[int]:
    return {id for query in queries for id in _ids(connection, query, {"relations": [*ids]})}


def _ids(connection: Connection, query: str, parameters: Mapping[str, Any] | None = None) -> set[int]:
    return {id for (id,) in connection.execute(query.encode(), parameters).fetchall() if id}
