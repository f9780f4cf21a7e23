"""Preserve rows in the schema `kept`: move a whole table there, or copy its rows or the values of some columns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from psycopg import sql

from pulumi_alembic.database.connection import KEPT_SCHEMA
from pulumi_alembic.migrate.data_loss.columns import Column
from pulumi_alembic.migrate.data_loss.preserved_table import numbers

if TYPE_CHECKING:
    from pulumi_alembic.database.connection import Connection
    from pulumi_alembic.migrate.data_loss.preserved_table import Entry
    from pulumi_alembic.migrate.data_loss.source import Source

__all__ = ["copy", "copy_rows", "copy_values", "detach", "drop_keys_into", "is_forced", "key_of", "move", "revoke"]
__all__ += ["selected", "unhidden"]

_PARENTS = """
SELECT format('ALTER TABLE %%s DETACH PARTITION %%s', inhparent::regclass, inhrelid::regclass),
    format('ALTER TABLE %%s NO INHERIT %%s', inhrelid::regclass, inhparent::regclass), c.relispartition
FROM pg_inherits JOIN pg_class c ON c.oid = inhrelid WHERE inhrelid = to_regclass(%s)
"""

_KEYS_INTO = """
SELECT format('ALTER TABLE %%s DROP CONSTRAINT IF EXISTS %%I', conrelid::regclass, conname) FROM pg_constraint
WHERE contype = 'f' AND confrelid = ANY (%s::regclass[]) AND conparentid = 0
"""

_GRANTED = """
SELECT DISTINCT CASE grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(grantee)) END AS grantee
FROM pg_class c CROSS JOIN LATERAL (
    SELECT grantee FROM aclexplode(relacl)
    UNION SELECT x.grantee FROM pg_attribute, aclexplode(attacl) x WHERE attrelid = c.oid AND attacl IS NOT NULL
) AS given WHERE c.oid = to_regclass(%(table)s) AND grantee <> relowner
"""

# Dropping the table would drop each of these, by itself or by the CASCADE that was tried. The order avoids conflicts.
_STRIP = (
    """
WITH t AS (SELECT to_regclass(%(table)s)::oid AS oid)
SELECT statement FROM (
    SELECT 1, format('DROP %%s IF EXISTS %%s CASCADE',
        CASE relkind WHEN 'm' THEN 'MATERIALIZED VIEW' ELSE 'VIEW' END, c.oid::regclass)
    FROM t JOIN pg_depend ON refclassid = 'pg_class'::regclass AND refobjid = t.oid
    JOIN pg_rewrite w ON classid = 'pg_rewrite'::regclass AND objid = w.oid JOIN pg_class c ON c.oid = ev_class
    WHERE relkind IN ('v', 'm')
    UNION SELECT 2, format('DROP RULE IF EXISTS %%I ON %%s', rulename, ev_class::regclass)
    FROM t JOIN pg_depend ON refclassid = 'pg_class'::regclass AND refobjid = t.oid
    JOIN pg_rewrite w ON classid = 'pg_rewrite'::regclass AND objid = w.oid JOIN pg_class c ON c.oid = ev_class
    WHERE relkind NOT IN ('v', 'm')
    UNION SELECT 2, format('DROP POLICY IF EXISTS %%I ON %%s', polname, polrelid::regclass)
    FROM t, pg_policy p WHERE polrelid = t.oid OR EXISTS (
        SELECT FROM pg_depend WHERE classid = 'pg_policy'::regclass AND objid = p.oid
        AND refclassid = 'pg_class'::regclass AND refobjid = t.oid)
    UNION SELECT 2, format('DROP TRIGGER %%I ON %%s', tgname, tgrelid::regclass)
    FROM t JOIN pg_trigger ON tgrelid = t.oid WHERE NOT tgisinternal
    UNION SELECT CASE contype WHEN 'f' THEN 3 ELSE 4 END,
        format('ALTER TABLE %%s DROP CONSTRAINT IF EXISTS %%I CASCADE', conrelid::regclass, conname)
    FROM t JOIN pg_constraint ON t.oid IN (conrelid, confrelid) WHERE contype NOT IN ('n', 't') AND conparentid = 0
    UNION SELECT 5, format('DROP STATISTICS %%I.%%I', nspname, stxname)
    FROM t JOIN pg_statistic_ext ON stxrelid = t.oid JOIN pg_namespace n ON n.oid = stxnamespace
    UNION SELECT 6, format('DROP INDEX %%s', indexrelid::regclass) FROM t JOIN pg_index i ON indrelid = t.oid
    WHERE NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = indexrelid AND conrelid = t.oid)
    UNION SELECT 7, format('ALTER TABLE %%s %%s', attrelid::regclass, CASE
        WHEN attgenerated = 'v' THEN format('DROP COLUMN %%I', attname)
        ELSE format('ALTER %%I DROP %%s', attname, CASE WHEN attgenerated = 's' THEN 'EXPRESSION'
            WHEN attidentity <> '' THEN 'IDENTITY' ELSE 'DEFAULT' END) END)
    FROM t JOIN pg_attribute ON attrelid = t.oid AND attnum > 0 AND NOT attisdropped
    WHERE atthasdef OR attidentity <> ''
    UNION SELECT 8, format('DROP SEQUENCE IF EXISTS %%s CASCADE', objid::regclass)
    FROM t JOIN pg_depend ON refclassid = 'pg_class'::regclass AND refobjid = t.oid AND refobjsubid > 0
    JOIN pg_class s ON s.oid = objid AND classid = 'pg_class'::regclass WHERE relkind = 'S' AND deptype = 'a'
    UNION SELECT 9, format('ALTER TABLE %%s DISABLE ROW LEVEL SECURITY, NO FORCE ROW LEVEL SECURITY', t.oid::regclass)
    FROM t JOIN pg_class c ON c.oid = t.oid WHERE relrowsecurity OR relforcerowsecurity
    UNION SELECT 10, format('REVOKE ALL ON %%s FROM %%s CASCADE', t.oid::regclass, grantee) FROM t, ("""
    + _GRANTED
    + """) AS given
    UNION SELECT 11, format('ALTER TABLE %%s RENAME TO %%I', t.oid::regclass, %(name)s::text) FROM t
    UNION SELECT 12, format('ALTER TABLE %%s.%%I SET SCHEMA %%I', relnamespace::regnamespace, %(name)s::text,
        %(kept)s::text)
    FROM t JOIN pg_class c ON c.oid = t.oid
) AS ordered (step, statement) ORDER BY step, statement
"""
)

# Objects of PostgreSQL itself have no rows in pg_depend.
_TIED = """
WITH t AS (SELECT oid, reltype, reltoastrelid FROM pg_class WHERE oid = to_regclass(%s)),
types AS (SELECT reltype AS oid FROM t UNION SELECT typarray FROM pg_type JOIN t ON pg_type.oid = reltype)
SELECT EXISTS (
    SELECT FROM pg_depend d, t WHERE (
        (refclassid = 'pg_class'::regclass AND refobjid = t.oid)
        OR (refclassid = 'pg_type'::regclass AND refobjid IN (SELECT oid FROM types))
    )
    AND NOT (classid = 'pg_type'::regclass AND objid IN (SELECT oid FROM types))
    AND NOT (classid = 'pg_class'::regclass AND objid = reltoastrelid)
    AND NOT (classid = 'pg_constraint'::regclass
        AND EXISTS (SELECT FROM pg_constraint c WHERE c.oid = objid AND conrelid = t.oid AND contype = 'n'))
) OR EXISTS (
    SELECT FROM pg_depend, t WHERE classid = 'pg_class'::regclass AND objid = t.oid
    AND refclassid <> 'pg_namespace'::regclass
)
"""


def move(connection: Connection, entry: Entry, source: Source) -> bool:
    """Move the table with its rows into the schema `kept`, and create an empty one with its name.

    Returns:
        False if objects still depend on the moved table. Then the caller must roll back to a savepoint, because the
        table is partly dismantled.

    Raises:
        psycopg.Error: one of its statements failed.

    """
    parameters = {"table": source.table, "name": entry.name, "kept": KEPT_SCHEMA}
    strips = [text for (text,) in connection.execute(_STRIP.encode(), parameters).fetchall()]
    # From a domain to its base type: the stored bytes are the same, so that the table is not rewritten.
    columns = [column for column in source.columns.values() if column.base]
    types = [f"ALTER TABLE {source.table} ALTER {column.sql} TYPE {column.base}" for column in columns]
    names = list(_renames(entry.place, source.renamed))
    _execute(connection, [*strips[:-2], *types, *strips[-2:], f"CREATE TABLE {source.table} ()", *names])
    return connection.execute(_TIED, [entry.place]).fetchone() == (False,)


def _renames(table: str, renamed: Mapping[str, str]) -> Iterator[str]:
    """Yield renames through temporary names, because two columns can have swapped their names."""
    names = [(now, f"pulumi_alembic {number}", was) for number, (now, was) in enumerate(renamed.items())]
    for pairs in ([(now, between) for now, between, _ in names], [(between, was) for _, between, was in names]):
        for old, new in pairs:
            quoted_names = [sql.Identifier(name).as_string(None) for name in (old, new)]
            yield f"ALTER TABLE {table} RENAME COLUMN {quoted_names[0]} TO {quoted_names[1]}"


def detach(connection: Connection, table: str) -> None:
    """Detach the table from its partitioned table, and end its inheritance."""
    parents = connection.execute(_PARENTS, [table]).fetchall()
    _execute(connection, [partition if is_partition else child for partition, child, is_partition in parents])


def drop_keys_into(connection: Connection, tables: Sequence[str]) -> None:
    """Drop every foreign key that refers to these tables."""
    _execute(connection, [text for (text,) in connection.execute(_KEYS_INTO, [list(tables)]).fetchall()])


def revoke(connection: Connection, table: str) -> None:
    """Revoke all privileges on the table from everyone but its owner."""
    grants = connection.execute(_GRANTED, {"table": table}).fetchall()
    _execute(connection, [f"REVOKE ALL ON {table} FROM {grantee} CASCADE" for (grantee,) in grants])


def _execute(connection: Connection, statements: Sequence[str]) -> None:
    """Send the statements in one message, because other sessions wait meanwhile."""
    if statements:
        connection.execute("; ".join(statements).encode())


_FORCED = "SELECT relforcerowsecurity FROM pg_class WHERE oid = to_regclass(%s)"
_KEY = """
SELECT array_agg(attname::text ORDER BY place) FROM pg_constraint, unnest(conkey) WITH ORDINALITY AS k (number, place)
JOIN pg_attribute ON attnum = number WHERE attrelid = conrelid AND contype = 'p' AND conrelid = to_regclass(%s)
"""


def copy_rows(connection: Connection, entry: Entry, source: Source) -> Entry:
    """Create the preserved table as a copy of all rows, and return the entry with their number."""
    number = copy(connection, entry, source, [column for column in source.columns.values() if not column.virtual])
    return replace(entry, rows=number)


def copy_values(connection: Connection, entry: Entry, source: Source, names: Sequence[str]) -> Entry:
    """Create the preserved table with the primary key and the values of these columns of each row.

    NULL is copied too, because the next upgrade can fill the column.
    """
    copy(connection, entry, source, [source.columns[name] for name in names])
    counts = numbers(connection, entry, entry.columns)
    return replace(entry, rows=sum(counts.values()), counts=counts)


def is_forced(connection: Connection, table: str) -> bool:
    """Return whether row-level security hides rows of the table from its owner too."""
    return connection.execute(_FORCED, [table]).fetchone() == (True,)


@contextmanager
def unhidden(connection: Connection, table: str) -> Iterator[None]:
    """Let the table's owner see all of its rows within the block, despite FORCE ROW LEVEL SECURITY."""
    forced = is_forced(connection, table)
    if forced:
        connection.execute(f"ALTER TABLE ONLY {table} NO FORCE ROW LEVEL SECURITY".encode())
    yield
    if forced:
        connection.execute(f"ALTER TABLE ONLY {table} FORCE ROW LEVEL SECURITY".encode())


def key_of(connection: Connection, table: str) -> tuple[str, ...]:
    """Return the columns of the primary key in its order. Empty if there is none."""
    [(key,)] = connection.execute(_KEY, [table]).fetchall()
    return tuple(key or ())


def selected(source: Source, columns: Sequence[Column]) -> str:
    """Return the select list of these columns by the names, and in the types, that a preserved table has."""
    names = (sql.Identifier(source.called(column.name)).as_string(None) for column in columns)
    return ", ".join(f"{column.kept} AS {name}" for column, name in zip(columns, names, strict=True))


def copy(connection: Connection, entry: Entry, source: Source, columns: Sequence[Column]) -> int:
    """Create the preserved table with these columns of all rows, and return the number of rows."""
    values = selected(source, columns)
    with unhidden(connection, source.table):
        result = connection.execute(f"CREATE TABLE {entry.place} AS SELECT {values} FROM ONLY {source.table}".encode())
    revoke(connection, entry.place)
    return result.rowcount
