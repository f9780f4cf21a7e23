"""The content of a database that a backup covers: the owner's schemas and tables, and the identity of the database."""

from __future__ import annotations

from dataclasses import dataclass

from psycopg import sql

from pulumi_alembic.database.connection import VERSION_SCHEMA, Connection, read_heads
from pulumi_alembic.errors import BackupError
from pulumi_alembic.ledger import table as ledger

__all__ = ["Content"]

# A database with the same name can be a different one: created again, or on another server.
_WHICH = """
SELECT current_database(), system_identifier || ':' || oid, current_user::text,
    current_setting('server_version_num')::int
FROM pg_control_system(), pg_database WHERE datname = current_database()
"""
_SCHEMAS = """
SELECT nspname FROM pg_namespace
WHERE nspowner = (SELECT oid FROM pg_roles WHERE rolname = current_user) AND nspname !~ '^pg_' ORDER BY 1
"""
_ELSEWHERE = """
SELECT format('%I.%I', nspname, relname), nspname, nspowner::regrole::text
FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace
WHERE relowner = (SELECT oid FROM pg_roles WHERE rolname = current_user) AND relkind IN ('r', 'p', 'v', 'm', 'S', 'f')
    AND nspowner <> relowner AND nspname !~ '^pg_'
ORDER BY 1 LIMIT 1
"""
_TABLES = """
SELECT format('%%I.%%I', nspname, relname), relkind = 'm', pg_table_size(c.oid)
FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
WHERE nspname = ANY (%s) AND relkind IN ('r', 'p', 'm') ORDER BY 1
"""
_OBJECTS = """
SELECT count(*) FROM pg_depend JOIN pg_namespace n ON n.oid = refobjid
WHERE refclassid = 'pg_namespace'::regclass AND deptype = 'n' AND nspname = ANY (%s) AND nspname <> %s
"""


@dataclass(frozen=True)
class Content:
    """The content of a database that belongs to the owner of the migration tables.

    Attributes:
        identity: unique for each database, and constant while it exists.
        owner: the role.
        server: server_version_num.
        schemas: those of the owner.
        tables: their tables, as SQL names them.
        size: bytes of all rows.
        ledger: the id of the ledger's last row, 0 if there is none.
        empty: it contains only the migration tables, at base.

    """

    name: str
    identity: str
    owner: str
    server: int
    schemas: tuple[str, ...]
    tables: tuple[str, ...]
    size: int
    heads: tuple[str, ...]
    ledger: int
    empty: bool

    @classmethod
    def read(cls, connection: Connection) -> Content:
        """Read the current content. Raises BackupError if the owner has relations in a schema of another role."""
        name, identity, owner, server = connection.execute(_WHICH).fetchall()[0]
        if elsewhere := connection.execute(_ELSEWHERE).fetchone():
            relation, schema, of = elsewhere
            raise BackupError(
                f"database {name}: {relation} is in a schema that belongs to {of}, and a backup is of the schemas of "
                f"{owner}. As an admin: ALTER SCHEMA {schema} OWNER TO {owner}"
            )
        schemas = [schema_name for (schema_name,) in connection.execute(_SCHEMAS)]
        tables = connection.execute(_TABLES, [schemas]).fetchall()
        [(objects,)] = connection.execute(_OBJECTS, [schemas, VERSION_SCHEMA]).fetchall()
        heads = read_heads(connection)
        return cls(
            name,
            identity,
            owner,
            server,
            tuple(schemas),
            tuple(table for table, view, _ in tables if not view),
            sum(size for *_, size in tables),
            heads,
            _last_row(connection),
            not heads and not objects,
        )


def _last_row(connection: Connection) -> int:
    if not ledger.columns(connection):
        return 0
    [(last,)] = connection.execute(sql.SQL("SELECT coalesce(max(id), 0) FROM {}").format(ledger.TABLE)).fetchall()
    return int(last)
