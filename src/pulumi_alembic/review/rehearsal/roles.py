"""The roles of a schema on another server, for the duration of a rehearsal."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

import psycopg
from psycopg import sql

from pulumi_alembic.database import server_message
from pulumi_alembic.database.connection import Connection
from pulumi_alembic.errors import NotRehearsed
from pulumi_alembic.review.rehearsal.scratch import log_in_beside

__all__ = ["Roles", "guests", "read_roles"]

_MARK = "created for a rehearsal by pulumi-alembic report --schema, and dropped after it"
_LOCK = 0x7461736B_726F6C65  # "taskrole"

# Roles that the database's objects, its rights or the login's memberships name. 10 is the server's own
# superuser, whose name differs from server to server.
_ROLES = r"""
WITH RECURSIVE membership AS (
    SELECT roleid, member FROM pg_auth_members WHERE member = session_user::regrole
    UNION SELECT a.roleid, a.member FROM pg_auth_members a JOIN membership m ON a.member = m.roleid
), here AS (SELECT oid FROM pg_database WHERE datname = current_database()), named (oid) AS (
    SELECT refobjid FROM pg_shdepend WHERE refclassid = 'pg_authid'::regclass
        AND (dbid IN (TABLE here) OR classid = 'pg_database'::regclass AND objid IN (TABLE here))
    UNION SELECT roleid FROM membership UNION SELECT current_user::regrole UNION SELECT session_user::regrole
)
SELECT current_user::text, session_user::text,
    (SELECT json_object_agg(rolname, rolinherit ORDER BY rolname) FROM pg_roles
        WHERE oid IN (TABLE named) AND oid <> 10 AND rolname NOT LIKE 'pg\_%'),
    (SELECT coalesce(json_agg(json_build_array(pg_get_userbyid(roleid), pg_get_userbyid(member)) ORDER BY 1), '[]')
        FROM membership)
"""


@dataclass(frozen=True)
class Roles:
    """The roles that a database's schema names.

    Attributes:
        inherits: Whether each role inherits, by name.
        members: Pairs of a role and its member.
        owner: The owner of the schema.
        login: The login that becomes the owner.

    """

    inherits: dict[str, bool]
    members: tuple[tuple[str, str], ...]
    owner: str
    login: str


def read_roles(connection: Connection) -> Roles:
    """Read the roles of the database. The session must have the role of the owner."""
    [(owner, login, inherits, members)] = connection.execute(_ROLES.encode()).fetchall()
    return Roles(inherits, tuple((role, member) for role, member in members), owner, login)


@contextmanager
def guests(admin: str, major: int, roles: Roles, tell: Callable[[str], None]) -> Iterator[str]:
    """Create the roles that a server lacks, and drop them at the end of the block, which receives the login's URL.

    The roles get no attribute and are members only of each other. So the login can become the owner, but no role that
    existed before.

    Args:
        admin: The URL of a login that can create roles.
        major: The major version of the schema's server.
        roles: The roles of the schema.
        tell: Receives the names of the created roles as text.

    Raises:
        NotRehearsed: The owner or the login already exists, the server has another major version, or the admin is not
            allowed to create roles.

    """
    with closing(log_in_beside(admin)) as admin_session:
        _refuse_unfit(admin_session, major, roles)
        password = secrets.token_hex(24)
        created = _missing(admin_session, roles)
        try:
            try:
                for name in created:
                    _create(admin_session, name, roles, password)
                for statement in _grants(created, roles):
                    admin_session.execute(statement)
            except psycopg.Error as error:
                raise NotRehearsed(f"the roles of the schema: {server_message.summary(error)}") from None
            tell(f"created for the rehearsal, and dropped after it: {', '.join(created)}")
            yield _url(admin, roles.login, password)
        finally:
            for name in created:
                # If a database could not be dropped, it still needs its role, which the next report uses again.
                with suppress(psycopg.Error):
                    admin_session.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(name)))


def _refuse_unfit(admin_session: Connection, major: int, roles: Roles) -> None:
    version = admin_session.info.server_version // 10000
    if version != major:
        raise NotRehearsed(
            f"the schema is of PostgreSQL {major}, and the server to rehearse on is PostgreSQL {version}"
        )
    if admin_session.execute("SELECT pg_try_advisory_lock(%s)", [_LOCK]).fetchone() == (False,):
        raise NotRehearsed("another report is made on this server, with roles of its own")
    foreign = {*_there(admin_session, roles, marked=False)}
    for name in (roles.owner, roles.login):
        if name in foreign:
            raise NotRehearsed(
                f"the role {name} exists on the server to rehearse on, and this program did not create it: a rehearsal "
                "from a file needs a server on which the owner of the schema has nothing else"
            )


def _missing(admin_session: Connection, roles: Roles) -> Sequence[str]:
    """Return the roles to create: missing ones, and those that a killed rehearsal left."""
    foreign = {*_there(admin_session, roles, marked=False)}
    return [name for name in roles.inherits if name not in foreign]


def _there(admin_session: Connection, roles: Roles, *, marked: bool) -> Iterator[str]:
    members = admin_session.execute(
        "SELECT rolname::text FROM pg_roles WHERE rolname = ANY (%s::text[])"
        " AND (coalesce(shobj_description(oid, 'pg_authid'), '') = %s) = %s",
        [[*roles.inherits, roles.owner, roles.login], _MARK, marked],
    )
    return (name for (name,) in members.fetchall())


def _create(admin_session: Connection, name: str, roles: Roles, password: str) -> None:
    role = sql.Identifier(name)
    if name not in _there(admin_session, roles, marked=True):
        with admin_session.transaction():
            admin_session.execute(sql.SQL("CREATE ROLE {}").format(role))
            admin_session.execute(sql.SQL("COMMENT ON ROLE {} IS {}").format(role, _MARK))
    if not roles.inherits[name]:
        admin_session.execute(sql.SQL("ALTER ROLE {} NOINHERIT").format(role))
    if name == roles.login:
        # The server's log can contain the statement, so it contains only the verifier of the password.
        verifier = admin_session.pgconn.encrypt_password(password.encode(), name.encode(), b"scram-sha-256").decode()
        admin_session.execute(sql.SQL("ALTER ROLE {} LOGIN PASSWORD {}").format(role, verifier))


def _grants(created: Sequence[str], roles: Roles) -> Iterator[sql.Composed]:
    """Return the statements that grant the roles to each other, and to the admin, who creates schemas for them."""
    for role, member in roles.members:
        if role in created and member in created:
            yield sql.SQL("GRANT {} TO {}").format(sql.Identifier(role), sql.Identifier(member))
    for role in created:
        yield sql.SQL("GRANT {} TO CURRENT_USER").format(sql.Identifier(role))


def _url(admin: str, login: str, password: str) -> str:
    parts = urlsplit(admin)
    where = parts.netloc.rpartition("@")[2]
    query = [(key, value) for key, value in parse_qsl(parts.query) if key not in ("user", "password")]
    netloc = f"{quote(login, safe='')}:{password}@{where}"
    return urlunsplit(parts._replace(netloc=netloc, query=urlencode(query).replace("+", "%20")))
