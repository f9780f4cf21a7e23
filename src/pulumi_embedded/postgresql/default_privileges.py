"""The resource DefaultPrivileges: a role's privileges on all future objects of an owner."""

from __future__ import annotations

from psycopg import sql

from pulumi_embedded.postgresql.connection import Session, Work, identifier
from pulumi_embedded.postgresql.errors import ProviderError
from pulumi_embedded.postgresql.kind import Found, Kind
from pulumi_embedded.postgresql.membership import lock_role, with_roles
from pulumi_embedded.postgresql.privileges import PUBLIC, drifted, grantee, scope_exists, validate, words
from pulumi_embedded.postgresql.properties import Change, Property, Schema, Type

__all__ = ["DefaultPrivileges"]

# Object type → `pg_default_acl.defaclobjtype`.
_CODES = {"table": "r", "sequence": "S", "function": "f", "routine": "f", "type": "T", "schema": "n"}


class DefaultPrivileges(Kind):
    """Default privileges. Without privileges there is no entry: the resource is gone, unless the program wants none."""

    token = "postgresql:index/defaultPrivileges:DefaultPrivileges"  # noqa: S105
    schema = Schema(
        role=Property(required=True, replaces=True),
        database=Property(required=True, replaces=True),
        owner=Property(required=True, replaces=True),
        schema=Property(replaces=True),
        objectType=Property(required=True, replaces=True, choices=tuple(_CODES)),
        privileges=Property(Type.SET, required=True),
        withGrantOption=Property(Type.BOOL, default=False, replaces=True),
    )
    delete_before_replace = False
    options = frozenset(["withGrantOption"])

    def create(self, session: Session, change: Change) -> Found:
        """Revoke the existing privileges, and grant the new ones, in one transaction."""
        _validate(change)
        validate(change, session.version)
        with session.transaction(change["database"]) as work:
            lock_role(work, change["owner"])
            with with_roles(work, [change["owner"]]):
                _revoke(work, change)
                _grant(work, change)
        # Privileges that equal PostgreSQL's own defaults have no entry, and cannot be read.
        return _read(session, change) or Found(_id(change), {})

    def read(self, session: Session, resource_id: str, state: Change) -> Found | None:
        """Read the privileges. None if the last one, the role, the schema or the database is gone."""
        return _read(session, state) if scope_exists(state, session.direct()) else None

    def update(self, session: Session, resource_id: str, change: Change) -> Found:
        """Change the privileges as `create` does."""
        return self.create(session, change)

    def delete(self, session: Session, state: Change) -> None:
        """Revoke the privileges. Those that PUBLIC has by PostgreSQL's own defaults are not restored."""
        with session.transaction(state["database"]) as work:
            lock_role(work, state["owner"])
            with with_roles(work, [state["owner"]]):
                _revoke(work, state)


def _validate(change: Change) -> None:
    if change["schema"] and change["objectType"] == "schema":
        raise ProviderError("cannot specify `schema` when `object_type` is `schema`")
    if change["withGrantOption"] and change["role"].lower() == PUBLIC:
        raise ProviderError("with_grant_option cannot be true for role 'public'")


def _alter(change: Change) -> sql.Composable:
    start = sql.SQL("ALTER DEFAULT PRIVILEGES FOR ROLE {} ").format(identifier(change["owner"]))
    return start + sql.SQL("IN SCHEMA {}").format(identifier(change["schema"])) if change["schema"] else start


def _revoke(work: Work, change: Change) -> None:
    statement = f"{{}} REVOKE ALL ON {change['objectType'].upper()}S FROM {{}}"
    work.run(statement, _alter(change), identifier(change["role"]), what="could not revoke default privileges")


def _grant(work: Work, change: Change) -> None:
    if not change["privileges"]:
        return
    option = " WITH GRANT OPTION" if change["withGrantOption"] else ""
    statement = f"{{}} GRANT {words(change['privileges'])} ON {change['objectType'].upper()}S TO {{}}{option}"
    work.run(statement, _alter(change), identifier(change["role"]), what="could not alter default privileges")


def _read(session: Session, change: Change) -> Found | None:
    work = session.direct(change["database"])
    query = (
        "SELECT privilege_type FROM pg_default_acl LEFT JOIN pg_namespace n ON n.oid = defaclnamespace,"
        " aclexplode(defaclacl) WHERE defaclobjtype = %s AND COALESCE(nspname, '') = %s AND grantee = %s"
        " AND pg_get_userbyid(grantor) = %s"
    )
    oid = grantee(work, change["role"])
    parameters = [_CODES[change["objectType"]], change["schema"], oid, change["owner"]]
    granted = {privilege for (privilege,) in work.rows(query, parameters, "could not read default privileges")}
    if not granted and change["privileges"]:
        return None
    return Found(_id(change), {"privileges": sorted(granted)} if drifted(change, granted, session.version) else {})


def _id(change: Change) -> str:
    parts = change["role"], change["database"], change["schema"] or "noschema", change["owner"], change["objectType"]
    return "_".join(parts)
