"""Create the target's schema in the scratch database: the admin creates schemas, the owner's login replays the rest.

The admin sends only statements that this module writes: schemas with their owners, extensions by name, rights.
Definitions of the target can call functions of the target. So they are replayed in a session of the migrator, which
has no more rights than the owner. The admin's session is closed by then, and never enters the scratch database again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import psycopg
from psycopg import sql

from pulumi_alembic.database import server_message
from pulumi_alembic.database.connection import KEPT_SCHEMA, Connection, add_heads
from pulumi_alembic.errors import NotRehearsed
from pulumi_alembic.ledger.table import TABLE
from pulumi_alembic.output.wording import counted
from pulumi_alembic.sql.parser import slices

__all__ = [
    "CopyFailed",
    "Foundation",
    "FoundationSchema",
    "bare_statements",
    "furnish",
    "read_access",
    "read_foundation",
    "read_ledger",
    "replay",
]

# pg_dump --use-set-session-authorization, PostgreSQL 13 to 18.
_AUTHORIZATION = re.compile(r"(?:RE)?SET SESSION AUTHORIZATION(?: (?:DEFAULT|(E?)'((?:[^']|'')+)'))?\Z")
_COMMENTS = re.compile(r"(?:\s|--.*$)*+", re.MULTILINE)
# Commands for psql, and a setting that older servers do not know.
_RESTRICT = re.compile(r"\A((?:\s|--.*$)*+)\\restrict \S+$", re.MULTILINE)
_UNRESTRICT = re.compile(r"^\\unrestrict \S+\s*\Z", re.MULTILINE)
_BESIDE = re.compile(r"SET transaction_timeout = ")
_OF_THE_ADMIN = re.compile(r"CREATE SCHEMA |ALTER SCHEMA \S+ OWNER TO |CREATE EXTENSION |COMMENT ON EXTENSION ")
_OF_A_SCHEMA = re.compile(r"(?:GRANT|REVOKE) [A-Z, ]+ ON SCHEMA |COMMENT ON SCHEMA |ALTER DEFAULT PRIVILEGES ")

_SCHEMAS = rf"""
SELECT nspname, pg_get_userbyid(nspowner)::text, ARRAY(
    SELECT ARRAY[privilege_type, CASE WHEN grantee = 0 THEN 'PUBLIC' ELSE grantee::regrole::text END,
        CASE WHEN is_grantable THEN ' WITH GRANT OPTION' ELSE '' END]
    FROM aclexplode(coalesce(nspacl, acldefault('n', nspowner))) WHERE grantee <> nspowner ORDER BY 1)
FROM pg_namespace n WHERE nspname NOT LIKE 'pg\_%' AND nspname NOT IN ('information_schema', '{KEPT_SCHEMA}')
    AND NOT EXISTS (SELECT FROM pg_depend
        WHERE classid = 'pg_namespace'::regclass AND objid = n.oid AND deptype = 'e')
ORDER BY oid
"""  # noqa: S608 - no value is put into it
# In the order of their creation, because some extensions need others.
_EXTENSIONS = """
SELECT extname, nspname FROM pg_extension e JOIN pg_namespace n ON n.oid = extnamespace
WHERE extname <> 'plpgsql' ORDER BY e.oid
"""

# Objects of other owners, event triggers and subscriptions. 16384 is FirstNormalObjectId.
_FOREIGN = rf"""
WITH owned (classid, oid, owner) AS (
    SELECT 'pg_class'::regclass, oid, relowner FROM pg_class WHERE relkind IN ('r', 'p', 'v', 'm', 'f', 'S', 'c')
    UNION ALL SELECT 'pg_proc'::regclass, oid, proowner FROM pg_proc
    UNION ALL SELECT 'pg_type'::regclass, oid, typowner FROM pg_type WHERE typtype IN ('b', 'd', 'e', 'r')
        AND typelem = 0
    UNION ALL SELECT 'pg_operator'::regclass, oid, oprowner FROM pg_operator
    UNION ALL SELECT 'pg_collation'::regclass, oid, collowner FROM pg_collation
    UNION ALL SELECT 'pg_conversion'::regclass, oid, conowner FROM pg_conversion
    UNION ALL SELECT 'pg_opclass'::regclass, oid, opcowner FROM pg_opclass
    UNION ALL SELECT 'pg_opfamily'::regclass, oid, opfowner FROM pg_opfamily
    UNION ALL SELECT 'pg_ts_dict'::regclass, oid, dictowner FROM pg_ts_dict
    UNION ALL SELECT 'pg_ts_config'::regclass, oid, cfgowner FROM pg_ts_config
    UNION ALL SELECT 'pg_statistic_ext'::regclass, oid, stxowner FROM pg_statistic_ext
    UNION ALL SELECT 'pg_foreign_data_wrapper'::regclass, oid, fdwowner FROM pg_foreign_data_wrapper
    UNION ALL SELECT 'pg_foreign_server'::regclass, oid, srvowner FROM pg_foreign_server
    UNION ALL SELECT 'pg_language'::regclass, oid, lanowner FROM pg_language
), named AS (
    SELECT format('%s %s belongs to %s', type, identity, owner::regrole) AS name
    FROM owned, LATERAL pg_identify_object(classid, oid, 0)
    WHERE oid >= 16384 AND owner::regrole::text NOT IN (quote_ident(current_user), quote_ident(session_user))
        AND coalesce(schema, '') NOT LIKE 'pg\_%' AND coalesce(schema, '') <> '{KEPT_SCHEMA}'
        AND NOT EXISTS (SELECT FROM pg_depend d
            WHERE d.classid = owned.classid AND d.objid = owned.oid AND deptype IN ('e', 'i'))
    UNION ALL SELECT format('event trigger %I', evtname) FROM pg_event_trigger e WHERE NOT EXISTS (
        SELECT FROM pg_depend WHERE classid = 'pg_event_trigger'::regclass AND objid = e.oid AND deptype = 'e')
    UNION ALL SELECT format('subscription %I', subname) FROM pg_subscription
    WHERE subdbid = (SELECT oid FROM pg_database WHERE datname = current_database())
)
SELECT name, count(*) OVER () FROM named ORDER BY 1 LIMIT 1
"""  # noqa: S608 - no value is put into it

_UNPOPULATED = """
SELECT format('SET ROLE %s; REFRESH MATERIALIZED VIEW %s', relowner::regrole, c.oid::regclass)
FROM pg_class c WHERE relkind = 'm' AND NOT relispopulated ORDER BY c.oid
"""

_AT_ONCE = 500
"""Statements in one message. A message is one transaction, which holds the locks of all its tables."""

_ACL = """
SELECT privilege_type, CASE WHEN grantee = 0 THEN 'PUBLIC' ELSE grantee::regrole::text END
FROM pg_database, aclexplode(coalesce(datacl, acldefault('d', datdba))) WHERE datname = %s AND grantee <> datdba
"""


class CopyFailed(NotRehearsed):
    """The scratch database's server rejects a definition of the target."""


@dataclass(frozen=True)
class FoundationSchema:
    """A schema of the foundation.

    Attributes:
        owner: The owner's name, unquoted.
        rights: Triples of privilege, grantee and grant option. The grantee and the option are SQL text.

    """

    owner: str
    rights: frozenset[tuple[str, str, str]]


@dataclass(frozen=True)
class Foundation:
    """What the admin creates before the target's definitions are replayed.

    Attributes:
        schemas: The schemas by name.
        extensions: Pairs of an extension and its schema, in the order of their creation.
        owners: The owner and the migrator's login, whose definitions are replayed.

    """

    schemas: dict[str, FoundationSchema]
    extensions: tuple[tuple[str, str], ...]
    owners: tuple[str, ...]


def read_foundation(connection: Connection) -> Foundation:
    """Read the foundation of the target.

    Args:
        connection: A session of the migrator in the target, with the role of the owner.

    Raises:
        NotRehearsed: An object belongs to another role than the owner and the login, or the database has an event
            trigger or a subscription. The text names one of them.

    """
    if foreign := connection.execute(_FOREIGN.encode()).fetchone():
        name, count = foreign
        others = f" (and {counted(count - 1, 'other object')})" if count > 1 else ""
        raise NotRehearsed(f"{name}: only what the owner of the schema owns is rehearsed{others}")
    [owners] = connection.execute("SELECT current_user::text, session_user::text").fetchall()
    extensions = connection.execute(_EXTENSIONS.encode()).fetchall()
    return Foundation(_schemas(connection), tuple((name, schema) for name, schema in extensions), owners)


def read_ledger(connection: Connection, revisions: Iterable[str]) -> list[str]:
    """Return the ledger's rows of these revisions as JSON, without the scripts in them."""
    if connection.execute("SELECT to_regclass(%s)", [TABLE.as_string(None)]).fetchone() == (None,):
        return []
    query = sql.SQL("SELECT to_jsonb(l) - 'source' FROM {} l WHERE revision = ANY(%s) ORDER BY id").format(TABLE)
    return [json.dumps(row) for (row,) in connection.execute(query, [list(revisions)])]


def read_access(connection: Connection, database: str) -> list[tuple[str, str]]:
    """Return who, except the owner, has which right on a database, as pairs of privilege and grantee in SQL."""
    return [(privilege, grantee) for privilege, grantee in connection.execute(_ACL, [database]).fetchall()]


def furnish(admin: Connection, access: Sequence[tuple[str, str]], foundation: Foundation) -> None:
    """Create the schemas and extensions, and grant the rights on the database.

    Args:
        admin: The admin's session in the scratch database, in autocommit.
        access: The rights on the target, as `read_access` returns them.
        foundation: The foundation of the target.

    Raises:
        NotRehearsed: The admin is not allowed to create an object, which the text names.

    """
    admin.execute("SET synchronous_commit = off")
    schemas = _schemas(admin)
    for name in schemas.keys() - foundation.schemas.keys():
        _create(admin, f"schema {name} cannot be dropped", sql.SQL("DROP SCHEMA {}").format(sql.Identifier(name)))
    for name, schema in foundation.schemas.items():
        text = f"schema {name} of {schema.owner} cannot be created"
        for statement in _furniture(name, schema, schemas.get(name), foundation.owners):
            _create(admin, text, statement)
    for name, within in foundation.extensions:
        parts = sql.Identifier(name), sql.Identifier(within)
        _create(admin, f"extension {name} cannot be created", sql.SQL("CREATE EXTENSION {} SCHEMA {}").format(*parts))
    database = sql.Identifier(admin.info.dbname)
    for privilege, grantee in access:
        granting = sql.SQL("GRANT {} ON DATABASE {} TO {}").format(sql.SQL(privilege), database, sql.SQL(grantee))
        _create(admin, f"{privilege} cannot be granted", granting)


def replay(
    connection: Connection, dumped: str, foundation: Foundation, heads: Iterable[str], ledger: list[str]
) -> None:
    """Create the definitions, the heads and the ledger's rows.

    Args:
        connection: The migrator's session in the scratch database, in autocommit, with the role of the owner.
        dumped: The definitions, as pg_dump prints them.
        foundation: The foundation of the target.
        heads: The target's heads.
        ledger: The rows, as `read_ledger` returns them.

    Raises:
        NotRehearsed: A definition does not belong to one of the owners.
        CopyFailed: The server rejects a definition.

    """
    try:
        connection.execute("SET synchronous_commit = off")
        statements = _statements(dumped, foundation.owners)
        while some := [*islice(statements, _AT_ONCE)]:
            connection.execute(";\n".join(some).encode())
        # The dump has changed these settings.
        connection.execute("SET search_path = pg_catalog, pg_temp; SET row_security = on")
        for (statement,) in connection.execute(_UNPOPULATED.encode()).fetchall():
            connection.execute(statement.encode())
        connection.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(foundation.owners[0])))
        _write_migration_tables(connection, heads, ledger)
    except psycopg.Error as error:
        raise CopyFailed(f"the copy of the schema: {server_message.primary(error)}") from None


def _schemas(connection: Connection) -> dict[str, FoundationSchema]:
    rows = connection.execute(_SCHEMAS.encode()).fetchall()
    return {name: FoundationSchema(owner, frozenset(tuple(right) for right in rights)) for name, owner, rights in rows}


def _furniture(
    name: str, wanted: FoundationSchema, there: FoundationSchema | None, owners: Iterable[str]
) -> Iterator[sql.Composed | sql.SQL]:
    """Return the statements that create or change the schema. The dump has the rights on schemas of the `owners`."""
    parts = {"schema": sql.Identifier(name), "owner": sql.Identifier(wanted.owner)}
    if there is None:
        yield sql.SQL("CREATE SCHEMA {schema} AUTHORIZATION {owner}").format(**parts)
    elif there.owner != wanted.owner:
        yield sql.SQL("ALTER SCHEMA {schema} OWNER TO {owner}").format(**parts)
    if wanted.owner in owners:
        return
    rights = there.rights if there else frozenset()
    for privilege, grantee, _ in sorted(rights - wanted.rights):
        given = {"privilege": sql.SQL(privilege), "grantee": sql.SQL(grantee)}
        yield sql.SQL("REVOKE {privilege} ON SCHEMA {schema} FROM {grantee}").format(**parts, **given)
    for privilege, grantee, option in sorted(wanted.rights - rights):
        given = {"privilege": sql.SQL(privilege), "grantee": sql.SQL(grantee + option)}
        yield sql.SQL("GRANT {privilege} ON SCHEMA {schema} TO {grantee}").format(**parts, **given)


def _create(admin: Connection, what: str, statement: sql.Composed | sql.SQL) -> None:
    try:
        admin.execute(statement)
    except psycopg.Error as error:
        raise NotRehearsed(f"{what} in the scratch database: {server_message.primary(error)}") from None


def _statements(dumped: str, owners: tuple[str, ...]) -> Iterator[str]:
    """Return the statements of the dump that belong to the `owners`, with SET ROLE before another owner's statements.

    PostgreSQL's own scanner splits the text, so that text within a statement is not taken for a statement.
    """
    role, set_role = owners[0], ""
    for bare in bare_statements(dumped):
        if match := _AUTHORIZATION.match(bare):
            role = _unquoted(match[2], escapes=bool(match[1])) if match[2] else owners[0]
            continue
        if _BESIDE.match(bare) or _OF_THE_ADMIN.match(bare):
            continue
        if role not in owners:
            if _OF_A_SCHEMA.match(bare):
                continue
            raise NotRehearsed(f"a part of the schema belongs to {role}: {' '.join(bare.split())[:80]}")
        if role != set_role:
            set_role = role
            yield sql.SQL("SET ROLE {}").format(sql.Identifier(role)).as_string(None)
        yield bare


def bare_statements(dumped: str) -> Iterator[str]:
    """Return the statements that pg_dump printed, without the comments above them and psql's own commands."""
    dumped = _UNRESTRICT.sub("", _RESTRICT.sub(r"\1", dumped))
    for part in slices(dumped):
        statement = dumped[part]
        if bare := statement[_COMMENTS.match(statement).end() :]:  # type: ignore[union-attr]
            yield bare


def _unquoted(name: str, *, escapes: bool) -> str:
    name = name.replace("''", "'")
    return name.replace("\\\\", "\\") if escapes else name


def _write_migration_tables(connection: Connection, heads: Iterable[str], ledger: list[str]) -> None:
    add_heads(connection, heads)
    row = sql.SQL(
        "INSERT INTO {ledger} OVERRIDING SYSTEM VALUE"
        ' SELECT * FROM jsonb_populate_record(NULL::{ledger}, %s::jsonb || \'{{"source": ""}}\')'
    ).format(ledger=TABLE)
    for line in ledger:
        connection.execute(row, [line])
    if ledger:
        last = json.loads(ledger[-1])["id"]
        connection.execute("SELECT setval(pg_get_serial_sequence(%s, 'id'), %s)", [TABLE.as_string(None), last])
