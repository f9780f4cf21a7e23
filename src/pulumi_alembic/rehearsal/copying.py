"""The target's schema, made again in the scratch database: every object by its owner, and what Alembic has to find."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable

import psycopg
from psycopg import sql

from pulumi_alembic import server_message
from pulumi_alembic.database import VERSION_SCHEMA, Connection, add_heads
from pulumi_alembic.rehearsal.refusal import NotRehearsed
from pulumi_alembic.rehearsal.scratch import database_of

__all__ = ["copy", "read_ledger"]

# pg_dump --use-set-session-authorization, PostgreSQL 13 to 18: a superuser's way, which a member has as SET ROLE.
_AUTHORIZATION = re.compile(
    r"^(?:SET SESSION AUTHORIZATION (?:'((?:[^']|'')+)'|DEFAULT)|RESET SESSION AUTHORIZATION);$", re.MULTILINE
)
# Something stands there before the next role, or before the end.
_MADE = re.compile(r"(?:\s|--.*$)*+(?!SET SESSION AUTHORIZATION|RESET SESSION|\\|\s|--|\Z)", re.MULTILINE)
# For psql alone, or unknown to servers older than pg_dump.
_BESIDE = re.compile(r"^(?:\\(?:un)?restrict .*|SET transaction_timeout = .*)$", re.MULTILINE)

_PUBLIC = "SELECT nspowner::regrole::text FROM pg_namespace WHERE nspname = 'public'"
# How pg_dump, from 15 on, says of an older server's schema public that it is as in every new database there.
_AS_EVER = (
    "ALTER SCHEMA public OWNER TO {owner};",
    "REVOKE USAGE ON SCHEMA public FROM PUBLIC;",
    "GRANT ALL ON SCHEMA public TO PUBLIC;",
)

_UNPOPULATED = """
SELECT format('SET ROLE %s; REFRESH MATERIALIZED VIEW %s', relowner::regrole, c.oid::regclass)
FROM pg_class c WHERE relkind = 'm' AND NOT relispopulated ORDER BY c.oid
"""

_ACL = """
SELECT privilege_type, grantee, grantee::regrole::text
FROM pg_database, aclexplode(coalesce(datacl, acldefault('d', datdba))) WHERE datname = %s AND grantee <> datdba
"""

_LEDGER = sql.Identifier(VERSION_SCHEMA, "ledger")


def read_ledger(connection: Connection, revisions: Iterable[str]) -> list[str]:
    """The rows of the target's ledger on these revisions, as JSON, without the scripts in them."""
    if connection.execute("SELECT to_regclass(%s)", [_LEDGER.as_string(None)]).fetchone() == (None,):
        return []
    query = sql.SQL("SELECT to_jsonb(l) - 'source' FROM {} l WHERE revision = ANY(%s) ORDER BY id").format(_LEDGER)
    return [json.dumps(row) for (row,) in connection.execute(query, [list(revisions)])]


def copy(connection: Connection, target: str, dumped: str, heads: Iterable[str], ledger: Iterable[str]) -> None:
    """What was `dumped` is there, with the heads and the rows of the ledger; who may connect is as in the target.

    `connection` is the admin's to the scratch database, in autocommit. Raises NotRehearsed where the admin may not
    make a part of it.
    """
    name = sql.Identifier(connection.info.dbname)
    try:
        [(owner,)] = connection.execute(_PUBLIC).fetchall()
        script, roles = _as_members(_without_public(dumped, owner))
        # Schemas are made by their owners.
        grants = [sql.SQL("GRANT CREATE ON DATABASE {} TO {}").format(name, sql.Identifier(role)) for role in roles]
        connection.execute(_together([sql.SQL("SET synchronous_commit = off"), *grants]))
        connection.execute(script.encode())
        connection.execute("RESET ALL; RESET ROLE; SET synchronous_commit = off")
        for (statement,) in connection.execute(_UNPOPULATED.encode()).fetchall():
            connection.execute(statement.encode())
        _write_migration_tables(connection, heads, ledger)
        revokes = [sql.SQL("REVOKE CREATE ON DATABASE {} FROM {}").format(name, sql.Identifier(role)) for role in roles]
        given = [
            sql.SQL("GRANT {} ON DATABASE {} TO {}").format(
                sql.SQL(privilege), name, sql.SQL(role if grantee else "PUBLIC")
            )
            for privilege, grantee, role in connection.execute(_ACL, [database_of(target)]).fetchall()
        ]
        connection.execute(_together([sql.SQL("RESET ROLE"), *revokes, *given]))
    except psycopg.Error as error:
        raise NotRehearsed(f"the copy of the schema: {server_message.primary(error)}") from None


def _together(statements: Iterable[sql.Composable]) -> sql.Composed:
    """One message to the server, and one transaction."""
    return sql.SQL("; ").join(statements)


def _without_public(dumped: str, owner: str) -> str:
    """Without what says that the schema public, the owner's, is as it is in the scratch database too."""
    lines = {line.format(owner=owner) for line in _AS_EVER}
    given = dumped.split("\n")
    return "\n".join(line for line in given if line not in lines) if lines <= set(given) else dumped


def _as_members(dumped: str) -> tuple[str, list[str]]:
    """The script for an admin who may become the owners, and these."""
    roles: dict[str, None] = {}

    def become(match: re.Match[str]) -> str:
        role = match[1].replace("''", "'") if match[1] else ""
        # The one is what PostgreSQL 15 gives every owner of a database, and nobody can become.
        if role in ("", "pg_database_owner") or not _MADE.match(match.string, match.end()):
            return "RESET ROLE;"
        roles[role] = None
        return sql.SQL("SET ROLE {};").format(sql.Identifier(role)).as_string(None)

    return _AUTHORIZATION.sub(become, _BESIDE.sub("", dumped)), list(roles)


def _write_migration_tables(connection: Connection, heads: Iterable[str], ledger: Iterable[str]) -> None:
    [(owner,)] = connection.execute(
        "SELECT nspowner::regrole::text FROM pg_namespace WHERE nspname = %s", [VERSION_SCHEMA]
    ).fetchall()
    connection.execute(f"SET ROLE {owner}".encode())
    add_heads(connection, heads)
    row = sql.SQL(
        "INSERT INTO {ledger} OVERRIDING SYSTEM VALUE"
        ' SELECT * FROM jsonb_populate_record(NULL::{ledger}, %s::jsonb || \'{{"source": ""}}\')'
    ).format(ledger=_LEDGER)
    rows = list(ledger)
    for each in rows:
        connection.execute(row, [each])
    if rows:
        last = json.loads(rows[-1])["id"]
        connection.execute("SELECT setval(pg_get_serial_sequence(%s, 'id'), %s)", [_LEDGER.as_string(None), last])
