"""Check that a stack can be brought up, before its first resource is registered."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pulumi

from pulumi_alembic import MigrationError, TargetError
from pulumi_alembic.database import libpq
from pulumi_alembic.database.connection import OWN_OPTIONS
from pulumi_alembic.scripts.history import HEAD, History
from taskdb.commands import command
from taskdb.errors import TaskdbError
from taskdb.foreign import refuse_foreign
from taskdb.settings import Settings
from taskdb.settings.admin import LOOPBACK, VARIABLES, Admin
from taskdb.variables import refuse_variables

__all__ = ["Server", "check"]

OLDEST, NEWEST_TESTED = 13, 18
CONNECT_TIMEOUT = 15  # seconds
MEND = (("host", "NAME"), ("sslmode", "verify-full"), ("sslrootcert", "FILE"))


@dataclass(frozen=True)
class Server:
    """The server's major version, and the names of the stack's roles that can log in to it."""

    version: int
    logins: frozenset[str] = frozenset()


def check(settings: Settings, migrations: Path) -> tuple[History, Server]:
    """Check the scripts, the server and the admin. Nothing is changed.

    The scripts must have the requested revision. The server must answer and be new enough. The admin must have the
    rights that the stack needs.

    Args:
        settings: The stack's settings.
        migrations: The directory of the scripts.

    Raises:
        TaskdbError: A check failed. The text names the command that helps.

    """
    try:
        history = History.load(migrations)
        history.resolve(settings.revision)
    except TargetError as error:
        raise TaskdbError(f"{error}{_other_revision(settings.revision)}") from None
    except MigrationError as error:
        raise TaskdbError(str(error)) from None
    refuse_variables()
    with _connect(settings.admin) as connection:
        version = _check_admin(settings.admin, connection)
        # The resources of an adopted database are not in the state yet.
        if not settings.adopt:
            stacks = Path(".state/.pulumi/stacks", pulumi.get_project())
            refuse_foreign(connection, settings.admin, settings.database, stacks / f"{pulumi.get_stack()}.json")
        logins = _logins(connection, settings.database)
    return history, Server(version, logins)


def _logins(connection: psycopg.Connection[Any], database: str) -> frozenset[str]:
    """Return the roles with this prefix that can log in, without expired ones.

    The server rejects an expired login with the error of a wrong password.
    """
    rows = connection.execute(
        "SELECT rolname::text FROM pg_roles WHERE left(rolname, length(%(prefix)s)) = %(prefix)s AND rolcanlogin"
        " AND COALESCE(rolvaliduntil > now(), true)",
        {"prefix": f"{database}_"},
    )
    return frozenset(name for (name,) in rows)


def _other_revision(revision: str) -> str:
    """Return advice if the scripts lack the revision. The error about several heads has its own."""
    if revision == HEAD:
        return ""
    other = command("config set", "taskdb:revision head")
    return f". Check out the commit that has it: git log --all --oneline -- '*{revision}*'; or take another: {other}"


def _check_admin(admin: Admin, connection: psycopg.Connection[Any]) -> int:
    version = connection.info.server_version // 10000
    if version < OLDEST:
        raise TaskdbError(f"the server at {_address(admin)} is PostgreSQL {version}: {OLDEST} is the oldest that works")
    if version > NEWEST_TESTED:
        pulumi.info(f"PostgreSQL {version} is newer than the versions that are tested: {OLDEST} to {NEWEST_TESTED}")
    row = connection.execute(
        "SELECT rolcreaterole OR rolsuper, rolcreatedb OR rolsuper FROM pg_roles WHERE rolname = current_user"
    ).fetchone()
    for attribute, has in zip(("CREATEROLE", "CREATEDB"), row or (False, False), strict=True):
        if not has:
            raise TaskdbError(
                f"the role {admin.username} at {_address(admin)} lacks {attribute}, which the stack needs. "
                f"As a superuser: ALTER ROLE {admin.username} {attribute}"
            )
    return version


_LIBPQ_ADVICE = " Is the server running on that host and accepting TCP/IP connections?"


def _connect(admin: Admin) -> psycopg.Connection[Any]:
    try:
        with libpq.environment_ignored():
            return psycopg.connect(
                host=admin.host,
                port=admin.port,
                user=admin.username,
                password=admin.password,
                sslmode=admin.sslmode,
                sslrootcert=admin.sslrootcert or None,
                dbname="postgres",
                connect_timeout=CONNECT_TIMEOUT,
                options=OWN_OPTIONS,
                **libpq.authentication({}, admin.require_auth),
            )
    except psycopg.OperationalError as error:
        reason = " ".join(str(error).split()).replace(_LIBPQ_ADVICE, ".")
    advice = _advice(admin, reason)
    raise TaskdbError(f"cannot use the server at {_address(admin)}: {reason.rstrip('.?')}. {advice}")


def _advice(admin: Admin, reason: str) -> str:
    """Return advice for the reason why libpq could not connect."""
    given = {
        name: f"{command('config set', f'postgresql:{name} {value}')}, or {VARIABLES[name]}" for name, value in MEND
    }
    # No other machine can listen in on loopback.
    plain = command("config set", "postgresql:sslmode disable")
    here = f", or do without it on this machine:\n  {plain}" if admin.host in LOOPBACK else ""
    for part, advice in (
        ("password authentication failed", "Is it the right password? It is postgresql:password or PGPASSWORD"),
        (
            "authentication method requirement",
            "If the server asks for passwords in another way, list that method: "
            + command("config set", "taskdb:require_auth scram-sha-256,md5"),
        ),
        ("does not match host name", f"Connect to a name that the certificate is for: {given['host']}"),
        ("certificate verify failed", f"Name the authority's certificate that vouches for it: {given['sslrootcert']}"),
        ("root certificate file", f"Name the file of the authority's certificate: {given['sslrootcert']}"),
        # PostgreSQL 13 says "SSL off".
        ("no encryption", f"It takes encrypted connections only: {given['sslmode']}"),
        ("SSL off", f"It takes encrypted connections only: {given['sslmode']}"),
        (
            "does not support SSL",
            "It offers no encryption: turn that on there (ssl = on), or take another server" + here,
        ),
    ):
        if part in reason:
            return advice
    if admin.local:
        return "Start the development server: taskdb server start"
    return "Is the server running, and is this its address?"


def _address(admin: Admin) -> str:
    return f"{admin.host}:{admin.port}"
