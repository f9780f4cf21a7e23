"""The columns of a table as keeping needs them: what of a value stays the same without the types of the database."""

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
    """`sql` is its name in SQL, `type` names its type alone, `bare` as SQL writes it, and `full` with its modifier.

    It is `plain` where every PostgreSQL has that type; `base` is what a domain is of, where that is so of it.
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
        """Whether a row has to bring a value."""
        return self.not_null and not (self.default or self.identity or self.generated)

    @property
    def kept(self) -> str:
        """Its value in SQL, of a type that nobody can drop."""
        value = self.sql
        if not self.plain:
            value = f"{value}::{self.base or 'text'}"
        return f'({value}) COLLATE pg_catalog."default"' if self.collated else value


def read_columns(connection: Connection, table: str) -> dict[str, Column]:
    """The columns of a table by their names, none where it is not there."""
    rows = connection.execute(_COLUMNS, {"table": table})
    return {row[0]: Column(*row) for row in rows}
