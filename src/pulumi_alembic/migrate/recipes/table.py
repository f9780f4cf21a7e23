"""The table that a recipe changes, read from the database's catalog."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psycopg

from pulumi_alembic.errors import RecipeError
from pulumi_alembic.sql.catalog import quoted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pulumi_alembic.database.connection import Connection

__all__ = ["Column", "Index", "Table", "computed_column", "read_table", "require_accepted", "wider_type"]

_TABLE = """
SELECT c.oid::bigint, quote_ident(n.nspname) || '.' || quote_ident(relname), relname,
    EXISTS (SELECT FROM pg_index WHERE indrelid = c.oid AND indisprimary)
FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace WHERE c.oid = to_regclass(%s) AND relkind = 'r'
    AND NOT relispartition
"""
_PLAIN = """
SELECT indexrelid, relname, pg_get_indexdef(indexrelid) AS definition, ARRAY(
    SELECT attname FROM pg_attribute WHERE attrelid = indrelid AND attnum = ANY (indkey)
) AS columns
FROM pg_index JOIN pg_class c ON c.oid = indexrelid
WHERE indrelid = %(table)s AND indisvalid AND indexprs IS NULL AND indpred IS NULL
    AND NOT (indisunique OR indisexclusion OR indisreplident OR indisclustered)
ORDER BY relname
"""
_COLUMNS = f"""
WITH plain AS ({_PLAIN})
SELECT attname, format_type(atttypid, atttypmod), attnotnull, pg_get_expr(adbin, adrelid),
    attidentity <> '' OR attgenerated <> '', typnamespace = 'pg_catalog'::regnamespace OR typtype IN ('e', 'd'),
    ARRAY(
        SELECT pg_describe_object(classid, objid, objsubid) FROM pg_depend
        WHERE refclassid = 'pg_class'::regclass AND refobjid = attrelid AND refobjsubid = attnum
            AND classid <> 'pg_attrdef'::regclass AND deptype <> 'i' AND objid NOT IN (SELECT indexrelid FROM plain)
            AND NOT EXISTS (
                SELECT FROM pg_constraint c WHERE c.oid = objid AND classid = 'pg_constraint'::regclass
                    AND contype = 'n')
        UNION SELECT pg_describe_object('pg_class'::regclass, indexrelid, 0) FROM pg_index
        WHERE indrelid = attrelid AND attnum = ANY (indkey) AND indexrelid NOT IN (SELECT indexrelid FROM plain)
        ORDER BY 1
    )
FROM pg_attribute JOIN pg_type t ON t.oid = atttypid
LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
WHERE attrelid = %(table)s AND attnum > 0 AND NOT attisdropped ORDER BY attnum
"""  # noqa: S608 - no value is put into it
_CAST = """
SELECT format_type(new, NULL), new <> old AND (new = 'text'::regtype OR EXISTS (
    SELECT FROM pg_cast WHERE castsource = old AND casttarget = new AND castcontext = 'i'))
FROM (SELECT to_regtype(%s)::oid AS new, to_regtype(regexp_replace(%s, '[(].*[)]', ''))::oid AS old) AS types
"""


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        required: it is NOT NULL.
        default: its default as SQL, None without one.
        computed: the server fills it in, as an identity or a generated column.
        comparable: its type is PostgreSQL's own, an enum or a domain.
        users: descriptions of what is built on it, such as constraints, views and triggers, but plain indexes.

    """

    name: str
    type: str
    required: bool
    default: str | None
    computed: bool
    comparable: bool
    users: Sequence[str]

    @property
    def sql(self) -> str:
        """The name as SQL writes it."""
        return quoted(self.name)

    @property
    def definition(self) -> str:
        """The name and type as SQL."""
        return f"{self.sql} {self.type}"


@dataclass(frozen=True)
class Index:
    """An index of columns that is not unique, without expressions and condition.

    Attributes:
        name: its name without a schema.
        definition: the statement that creates it.
        columns: the names of its columns.

    """

    name: str
    definition: str
    columns: Sequence[str]

    def moved(self, name: str, old: Column, new: Column) -> str:
        """Return the statement that builds it concurrently under another name, with `new` in place of `old`."""
        create, _, columns = self.definition.partition(" USING ")
        table = create.partition(" ON ")[2]
        column = re.compile(rf'(?<![\w"$]){re.escape(old.sql)}(?![\w"$])')
        columns = column.sub(lambda _: new.sql, columns)
        return f"CREATE INDEX CONCURRENTLY {quoted(name)} ON {table} USING {columns}"


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
        sql: the name as the person typed it.
        full: the name with its schema.
        name: the name without schema and quotes.
        has_key: it has a primary key.

    """

    sql: str
    full: str
    name: str
    has_key: bool
    columns: dict[str, Column]
    indexes: Sequence[Index]

    def column(self, name: str) -> Column:
        """Return the column of this name.

        Raises:
            RecipeError: There is none.

        """
        if name not in self.columns:
            raise RecipeError(
                f"{self.full} has no column {quoted(name)}. It has: {', '.join(map(quoted, self.columns))}"
            )
        return self.columns[name]

    def require_new(self, name: str) -> None:
        """Raise RecipeError if the table has a column of this name."""
        if name in self.columns:
            raise RecipeError(f"{self.full} has a column {quoted(name)} already")

    def require_key(self) -> None:
        """Raise RecipeError if the table has no primary key, which batches and preserved values need."""
        if not self.has_key:
            raise RecipeError(f"{self.full} has no primary key, by which values are set in batches and preserved")

    def indexes_of(self, column: Column) -> list[Index]:
        """Return the plain indexes that have the column."""
        return [index for index in self.indexes if column.name in index.columns]

    def movable(self, name: str) -> Column:
        """Return the column of this name, after checking that another column can replace it.

        Raises:
            RecipeError: There is none, or other objects depend on it that the recipe would not move.

        """
        column = self.column(name)
        if column.users:
            raise RecipeError(
                f"{self.full}.{column.sql} is used by {', '.join(column.users)}: this recipe moves only the values. "
                "Write the revisions by hand"
            )
        if column.computed:
            raise RecipeError(f"{self.full}.{column.sql} is computed by the server: write the revisions by hand")
        if not column.comparable:
            raise RecipeError(f"{self.full}.{column.sql} is of the type {column.type}, of an extension or a schema")
        return column


def read_table(connection: Connection, name: str) -> Table:
    """Return the table of this name, given as SQL with or without a schema.

    Raises:
        RecipeError: There is no such table, or it is a view, a partition or partitioned.

    """
    try:
        row = connection.execute(_TABLE, [name]).fetchone()
    except psycopg.Error:
        connection.rollback()
        row = None
    if row is None:
        raise RecipeError(
            f"there is no table {name} in the database that a recipe can change. If a pending revision creates it, "
            "apply that first"
        )
    oid, full, short, has_key = row
    with connection.transaction(force_rollback=True):
        # With this search_path, types and functions are printed with their schema.
        connection.execute("SET LOCAL search_path = pg_catalog")
        columns = [Column(*row) for row in connection.execute(_COLUMNS.encode(), {"table": oid}).fetchall()]
        indexes = [Index(*row[1:]) for row in connection.execute(_PLAIN, {"table": oid}).fetchall()]
    return Table(name, full, short, has_key, {column.name: column for column in columns}, indexes)


def require_accepted(connection: Connection, query: str) -> None:
    """Raise RecipeError, with the server's reason, if the server rejects the query. A person typed parts of it."""
    try:
        with connection.transaction(force_rollback=True):
            connection.execute(query.encode())
    except psycopg.Error as error:
        raise RecipeError(f"the server refuses it: {error.diag.message_primary}\n  {query}") from None


def wider_type(connection: Connection, old: str, new: str) -> str:
    """Return PostgreSQL's name of the type `new`, after checking that every value of the type `old` converts to it.

    Raises:
        RecipeError: There is no such type, or a value can fail to convert.

    """
    try:
        row = connection.execute(_CAST, [new, old]).fetchone()
    except psycopg.Error:
        connection.rollback()
        row = None
    if row is None or row[0] is None:
        raise RecipeError(f"there is no type {new} without a length in the database")
    if not row[1]:
        raise RecipeError(
            f"a value of the type {old} can fail to be one of {row[0]}, and with it a row of running code. Add a "
            "column of the new type by hand, and decide what becomes of such values"
        )
    return str(row[0])


def computed_column(connection: Connection, table: Table, name: str, value: str) -> Column:
    """Return a new column for the values of this SQL expression.

    Raises:
        RecipeError: The server rejects the expression.

    """
    query = f"SELECT {value} FROM {table.sql} LIMIT 0"  # noqa: S608
    require_accepted(connection, query)
    with connection.transaction(force_rollback=True):
        described = connection.execute(query.encode()).description
        number = described[0].type_code if described else 0
        [(type,)] = connection.execute("SELECT format_type(%s, NULL)", [number]).fetchall()
    return Column(name, type, required=False, default=None, computed=False, comparable=True, users=())
