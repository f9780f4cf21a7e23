"""Make the connected user a member of roles for one statement, with the locks that this needs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress

from pulumi_embedded.postgresql.connection import Work, identifier
from pulumi_embedded.postgresql.errors import ConnectionLost, ProviderError

__all__ = [
    "database_exists",
    "database_owner",
    "lock_database",
    "lock_role",
    "lock_user",
    "membership",
    "name_of",
    "oid_of",
    "role_exists",
    "schema_exists",
    "with_roles",
]


_NAMES = {"pg_roles": "rolname", "pg_database": "datname", "pg_namespace": "nspname"}


def lock_role(work: Work, role: str) -> None:
    """Wait until no other plugin, this one or the real one, works on `role` or its members."""
    work.run("SET statement_timeout = 0")
    work.rows("SELECT pg_advisory_xact_lock(oid::bigint)::text FROM pg_roles WHERE rolname = %s", [role])
    work.rows(
        "SELECT pg_advisory_xact_lock(member::bigint)::text FROM pg_auth_members"
        " JOIN pg_roles ON roleid = pg_roles.oid WHERE rolname = %s",
        [role],
    )


def lock_user(work: Work, user: str) -> None:
    """Lock as `lock_role` does, until the connection ends, for statements outside of transactions."""
    work.run("SET statement_timeout = 0")
    work.rows("SELECT pg_advisory_lock(oid::bigint)::text FROM pg_roles WHERE rolname = %s", [user])


def lock_database(work: Work, database: str) -> None:
    """Wait until no other plugin works on the rights of `database`."""
    work.rows("SELECT pg_advisory_xact_lock(oid::bigint)::text FROM pg_database WHERE datname = %s", [database])


def oid_of(work: Work, catalog: str, name: str) -> int | None:
    """Return the oid of a role, database or schema, which does not change with its name. None if it does not exist.

    `catalog` is a key of `_NAMES`.
    """
    query = f"SELECT oid::bigint FROM {catalog} WHERE {_NAMES[catalog]} = %s"  # noqa: S608
    row = work.row(query, [name])
    return row[0] if row else None


def name_of(work: Work, catalog: str, oid: int | None) -> str | None:
    """Return the present name of a role, database or schema. None if it is gone."""
    query = f"SELECT {_NAMES[catalog]}::text FROM {catalog} WHERE oid = %s"  # noqa: S608
    row = work.row(query, [oid]) if oid is not None else None
    return row[0] if row else None


def role_exists(work: Work, role: str) -> bool:
    """Return whether there is a role with this name."""
    return work.row("SELECT 1 FROM pg_roles WHERE rolname = %s", [role]) is not None


def database_exists(work: Work, database: str) -> bool:
    """Return whether there is a database with this name."""
    return work.row("SELECT 1 FROM pg_database WHERE datname = %s", [database]) is not None


def schema_exists(work: Work, schema: str) -> bool:
    """Return whether there is a schema with this name in the database of `work`."""
    return work.row("SELECT 1 FROM pg_namespace WHERE nspname = %s", [schema]) is not None


def database_owner(work: Work, database: str) -> str:
    """Return the owner of `database`. Raises ProviderError if there is no such database."""
    query = "SELECT rolname FROM pg_database JOIN pg_roles ON datdba = pg_roles.oid WHERE datname = %s"
    row = work.row(query, [database])
    if row is None:
        raise ProviderError(f"could not find database '{database}' while looking for owner")
    return str(row[0])


@contextmanager
def with_roles(work: Work, roles: Iterable[str]) -> Iterator[None]:
    """Make the connected user a member of `roles` for the block, unless it is a superuser.

    Existing memberships remain. PostgreSQL does not allow two roles to be members of each other. So a role's membership
    in the connected user is revoked for the block. Superusers cannot be joined and are left out. The block must run in
    a transaction, because only its rollback undoes the changes after an error.
    """
    wanted = list(roles)
    user = str(work.rows("SELECT current_user")[0][0]) if wanted else ""
    if not wanted or _is_superuser(work, user):
        yield
        return
    inverted, joined = [], []
    for role in (role for role in wanted if not _is_superuser(work, role)):
        inverted += [role] if _leave(work, user, role) else []
        joined += [role] if _join(work, role, user) else []
    yield
    for role in joined:
        _leave(work, role, user)
    for role in inverted:
        if role_exists(work, role):
            _join(work, user, role)


@contextmanager
def membership(work: Work, role: str, member: str) -> Iterator[None]:
    """Make `member` a member of `role` for the block. Afterwards the former state is restored, whatever failed.

    The membership is revoked over a new connection if the block or the revocation loses this one.
    """
    if member == role or _is_member(work, role, member):
        yield
        return
    try:
        _join(work, role, member)
        yield
    except ConnectionLost:
        with suppress(ProviderError):
            work.session.settle()
            _leave_for_certain(work, role, member)
        raise
    except BaseException:
        _leave_for_certain(work, role, member)
        raise
    _leave_for_certain(work, role, member)


def _leave_for_certain(work: Work, role: str, member: str) -> None:
    """Revoke `role` from `member`, and once more over a new connection if this one is lost."""
    try:
        _leave(work, role, member)
    except ConnectionLost:
        work.session.settle()
        _leave(work, role, member)


def _join(work: Work, role: str, member: str) -> bool:
    """Grant `role` to `member`. Return False if it is a member already."""
    if member == role or _is_member(work, role, member):
        return False
    text = f"error granting role {role} to {member}"
    work.run("GRANT {} TO {}", identifier(role), identifier(member), what=text)
    return True


def _leave(work: Work, role: str, member: str) -> bool:
    """Revoke `role` from `member`. Return False if it is no member."""
    if member == role or not _is_member(work, role, member):
        return False
    text = f"error revoking role {role} from {member}"
    work.run("REVOKE {} FROM {}", identifier(role), identifier(member), what=text)
    return True


def _is_member(work: Work, role: str, member: str) -> bool:
    # PostgreSQL 16: whoever creates a role is a member with ADMIN but without SET, which does not count.
    query = "SELECT 1 FROM pg_auth_members WHERE pg_get_userbyid(roleid) = %s AND pg_get_userbyid(member) = %s"
    return work.row(query + (" AND set_option" if work.session.version >= 160000 else ""), [role, member]) is not None


def _is_superuser(work: Work, role: str) -> bool:
    row = work.row("SELECT rolsuper FROM pg_roles WHERE rolname = %s", [role])
    if row is None:
        # The words are those of the real plugin's driver.
        raise ProviderError(f"could not check if role {role} is superuser: sql: no rows in result set")
    return bool(row[0])
