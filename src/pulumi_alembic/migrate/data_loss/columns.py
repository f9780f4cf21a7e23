"""Columns of a table as preserving rows needs them: types that exist even if the database's own types are dropped."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pulumi_alembic.database.connection import Connection

__all__ = ["Column", "read_columns"]

_COLUMNS = """
WITH RECURSIVE base AS (
    SELECT atttypid AS domain, atttypid AS oid, -1 AS typmod FROM pg_attribute
    WHERE attrelid = to_regclass(%(table)s) AND attnum > 0 AND NOT attisdropped
    UNION ALL SELECT domain, typbasetype, typtypmod FROM base JOIN pg_type USING (oid) WHERE typtype = 'd'
)
SELECT attname, quote_ident(attname), format('%%I.%%I', n.nspname, t.typname), format_type(a.atttypid, -1),
    format_type(a.atttypid, a.atttypmod), attnum,
    n.nspname = 'pg_catalog' AND t.typtype <> 'd',
    (SELECT format_type(base.oid, base.typmod) FROM base JOIN pg_type b ON b.oid = base.oid
     WHERE domain = t.oid AND t.typtype = 'd' AND b.typtype <> 'd' AND b.typnamespace = 'pg_catalog'::regnamespace
     LIMIT 1),
    attgenerated <> '', attgenerated = 'v', attidentity <> '', attnotnull,
    CASE WHEN attgenerated = '' THEN pg_get_expr(adbin, adrelid) END, attcollation <> 0 AND (
        SELECT collnamespace <> 'pg_catalog'::regnamespace FROM pg_collation c WHERE c.oid = attcollation)
FROM pg_attribute a JOIN pg_type t ON t.oid = atttypid JOIN pg_namespace n ON n.oid = typnamespace
LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
WHERE attrelid = to_regclass(%(table)s) AND attnum > 0 AND NOT attisdropped
ORDER BY attnum
"""


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        name: the name without quotes.
        sql: the name as SQL writes it.
        type: the schema-qualified name of its type.
        bare: its type as SQL writes it, without modifiers.
        full: its type as SQL writes it, with modifiers such as a length.
        number: its attnum.
        plain: its type is in pg_catalog and is no domain.
        base: of a domain over a type of pg_catalog, that type. Otherwise None.
        virtual: it is generated when it is read.
        collated: it has a collation of the database's own.

    """

    name: str
    sql: str
    type: str
    bare: str
    full: str
    number: int
    plain: bool
    base: str | None
    generated: bool
    virtual: bool
    identity: bool
    not_null: bool
    default: str | None
    collated: bool

    @property
    def required(self) -> bool:
        """Whether each inserted row must give a value."""
        return self.not_null and not (self.default or self.identity or self.generated)

    @property
    def kept(self) -> str:
        """The SQL expression of its value in a type and collation that cannot be dropped."""
        value = self.sql
        if not self.plain:
            value = f"{value}::{self.base or 'text'}"
        return f'({value}) COLLATE pg_catalog."default"' if self.collated else value


def read_columns(connection: Connection, table: str) -> dict[str, Column]:
    """Return the columns of a table by name. Empty if there is no such table."""
    rows = connection.execute(_COLUMNS, {"table": table})
    return {row[0]: Column(*row) for row in rows}
