"""The resource Grant: a role's exact privileges on a database, a schema, or objects in a schema."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

from psycopg import sql

from pulumi_embedded.postgresql.connection import Session, Work, identifier
from pulumi_embedded.postgresql.errors import ProviderError
from pulumi_embedded.postgresql.kind import Found, Kind
from pulumi_embedded.postgresql.membership import database_owner, lock_database, lock_role, with_roles
from pulumi_embedded.postgresql.privileges import WITHOUT_SCHEMA, drifted, grantee, scope_exists, validate, words
from pulumi_embedded.postgresql.properties import Change, Property, Schema, Type, Values

__all__ = ["Grant", "read_privileges"]

_OBJECT_TYPES = (
    "database", "function", "procedure", "routine", "schema", "sequence", "table",
    "foreign_data_wrapper", "foreign_server", "column",
)  # fmt: skip

_NOT_REVOKED = "01006"  # warning_privilege_not_revoked


class Grant(Kind):
    """Privileges of a role. An empty list revokes all, from PUBLIC too (role "public"), and a later grant is drift."""

    token = "postgresql:index/grant:Grant"  # noqa: S105
    schema = Schema(
        role=Property(required=True, replaces=True),
        database=Property(required=True, replaces=True),
        schema=Property(replaces=True),
        objectType=Property(required=True, replaces=True, choices=_OBJECT_TYPES),
        objects=Property(Type.SET, replaces=True),
        columns=Property(Type.SET, replaces=True),
        privileges=Property(Type.SET, required=True),
        withGrantOption=Property(Type.BOOL, default=False, replaces=True),
    )

    def create(self, session: Session, change: Change) -> Found:
        """Revoke the role's privileges, and grant the new ones, in one transaction."""
        return _apply(session, change, change.__getitem__)

    def read(self, session: Session, resource_id: str, state: Change) -> Found | None:
        """Read the privileges. None if the role, database or schema is gone. A revoked grant has no privileges."""
        if not scope_exists(state, session.direct()):
            return None
        return Found(_id(state), read_privileges(session, state))

    def update(self, session: Session, resource_id: str, change: Change) -> Found:
        """Change the privileges as `create` does. The privileges in the state are revoked."""
        return _apply(session, change, change.old)

    def delete(self, session: Session, state: Change) -> None:
        """Revoke the privileges. A missing role, schema or database is an error."""
        with session.transaction(state["database"]) as work:
            _lock(work, state)
            with with_roles(work, _owners(work, state)):
                _revoke(work, state, state.__getitem__)
        if session.warnings:
            _read_back(session, state.replaced(privileges=[]))


def _apply(session: Session, change: Change, before: Callable[[str], Any]) -> Found:
    _validate(change)
    validate(change, session.version)
    with session.transaction(change["database"]) as work:
        _lock(work, change)
        with with_roles(work, _owners(work, change)):
            _revoke(work, change, before)
            _grant(work, change)
    return Found(_id(change), _read_back(session, change))


def _read_back(session: Session, change: Change) -> Values:
    """Return what differs from `change` on the server. If nothing does, drop the warning that nothing was revoked."""
    differing = read_privileges(session, change)
    if not differing:
        session.warnings = [warning for warning in session.warnings if warning[0] != _NOT_REVOKED]
    return differing


def _validate(change: Change) -> None:
    kind, objects, columns = change["objectType"], change["objects"], change["columns"]
    column, whole, foreign = kind == "column", kind in ("database", "schema"), kind.startswith("foreign_")
    for wrong, reason in (
        (
            not change["schema"] and kind not in WITHOUT_SCHEMA,
            "parameter 'schema' is mandatory for postgresql_grant resource",
        ),
        (objects and whole, "cannot specify `objects` when `object_type` is `database` or `schema`"),
        (columns and not column, "cannot specify `columns` when `object_type` is not `column`"),
        (not columns and column, "must specify `columns` when `object_type` is `column`"),
        (
            len(change["privileges"]) != 1 and column,
            "must specify exactly 1 `privileges` when `object_type` is `column`",
        ),
        (
            len(objects) != 1 and column,
            "must specify exactly 1 table in the `objects` field when `object_type` is `column`",
        ),
        (len(objects) != 1 and foreign, f"one element must be specified in `objects` when `object_type` is `{kind}`"),
    ):
        if wrong:
            raise ProviderError(reason)


def _lock(work: Work, change: Change) -> None:
    lock_role(work, change["role"])
    if change["objectType"] == "database":
        lock_database(work, change["database"])


def _owners(work: Work, change: Change) -> list[str]:
    """Return the owners of the schema and its tables, whose member a user without superuser rights must be."""
    kind, schema = change["objectType"], change["schema"]
    if kind in WITHOUT_SCHEMA:
        return []
    query = "SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = %s ORDER BY 1"
    owners = [] if kind == "schema" else [str(owner) for (owner,) in work.rows(query, [schema])]
    query = "SELECT rolname FROM pg_namespace JOIN pg_roles ON nspowner = pg_roles.oid WHERE nspname = %s"
    row = work.row(query, [schema])
    if row is None:
        raise ProviderError(f"could not find schema '{schema}' while looking for owner")
    every = dict.fromkeys([*owners, str(row[0])])
    return [database_owner(work, change["database"]) if owner == "pg_database_owner" else owner for owner in every]


def _revoke(work: Work, change: Change, before: Callable[[str], Any]) -> None:
    text = "could not execute revoke query"
    privileges, columns, role = before("privileges"), before("columns"), identifier(change["role"])
    if change["objectType"] == "column":
        # Without both, this grant can have granted nothing.
        if privileges and columns:
            parts = _identifiers(columns), _target(change), role
            work.run(f"REVOKE {words(privileges)} ({{}}) ON {{}} FROM {{}}", *parts, what=text)
        return
    # Privileges are named, so that grants on single columns of the table remain.
    chosen = words(privileges) if before("objects") and privileges and _in_schema(change) else "ALL PRIVILEGES"
    work.run(_finding_types(change, f"REVOKE {chosen} ON {{}} FROM {{}}"), _target(change), role, what=text)


def _grant(work: Work, change: Change) -> None:
    if not change["privileges"]:
        return
    option = " WITH GRANT OPTION" if change["withGrantOption"] else ""
    columns = sql.SQL(" ({})").format(_identifiers(change["columns"])) if change["columns"] else sql.SQL("")
    parts = columns, _target(change), identifier(change["role"])
    work.run(_finding_types(change, f"GRANT {words(change['privileges'])}{{}} ON {{}} TO {{}}{option}"), *parts)


def _finding_types(change: Change, statement: str) -> str:
    """Return the statement with a search_path in which argument types of public are found, as the real plugin does.

    No other statement of the plugin uses public.
    """
    if not any("(" in name for name in change["objects"]):
        return statement
    return f"SET LOCAL search_path = pg_catalog, public; {statement}; SET LOCAL search_path = pg_catalog, pg_temp"


def _in_schema(change: Change) -> bool:
    return change["objectType"] not in (*WITHOUT_SCHEMA, "schema")


def _target(change: Change) -> sql.Composable:
    kind, objects = change["objectType"], change["objects"]
    keyword = "TABLE" if kind == "column" else kind.upper().replace("_", " ")
    if kind in ("database", "schema"):
        return sql.SQL(keyword + " {}").format(identifier(change[kind]))
    if not _in_schema(change):
        return sql.SQL(keyword + " {}").format(identifier(objects[0]))
    if not objects:
        return sql.SQL(f"ALL {keyword}S IN SCHEMA {{}}").format(identifier(change["schema"]))
    named = [sql.SQL("{}.{}").format(identifier(change["schema"]), _object(name)) for name in objects]
    return sql.SQL(keyword + " {}").format(sql.SQL(",").join(named))


def _object(name: str) -> sql.Composable:
    """Return a name or, for a function, a name with unquoted argument types: `f(integer, text)`."""
    plain, bracket, arguments = name.partition("(")
    if bracket and not re.fullmatch(r'[\w\s,.\[\]"]*\)', arguments):
        raise ProviderError(
            f"{name!r} must be the name of a function with its argument types, such as f(integer, text)"
        )
    return sql.SQL("{}{}").format(identifier(plain), sql.SQL(bracket + arguments))


def _identifiers(names: Iterable[str]) -> sql.Composable:
    return sql.SQL(",").join(map(identifier, names))


def _id(change: Change) -> str:
    schema = [] if change["objectType"] in WITHOUT_SCHEMA else [change["schema"]]
    parts = [change["role"], change["database"], *schema, change["objectType"]]
    return "_".join(parts + change["objects"] + change["columns"])


# Object type → the catalog, its access list and its name, for objects that one property names.
_SINGLE = {
    "database": ("pg_database", "datacl", "datname"),
    "schema": ("pg_namespace", "nspacl", "nspname"),
    "foreign_data_wrapper": ("pg_foreign_data_wrapper", "fdwacl", "fdwname"),
    "foreign_server": ("pg_foreign_server", "srvacl", "srvname"),
}
# Object type → the same for objects of a schema, with the condition on the catalog's rows. The real plugin takes
# procedures for functions, and so never sees a grant on all functions as done if there is a procedure.
_MANY = {
    "table": ("pg_class", "rel", "relkind = 'r'"),
    "sequence": ("pg_class", "rel", "relkind = 'S'"),
    "function": ("pg_proc", "pro", "prokind <> 'p'"),
    "procedure": ("pg_proc", "pro", "prokind = 'p'"),
    "routine": ("pg_proc", "pro", "true"),
}


def read_privileges(session: Session, change: Change) -> Values:
    """Return the privileges or, for a column grant, the columns, if they differ from the wanted ones. Else empty."""
    work, kind = session.direct(change["database"]), change["objectType"]
    oid = grantee(work, change["role"])
    if kind == "column":
        return _columns(work, change, oid)
    readings = [_single(work, change, oid)] if kind in _SINGLE else _many(work, change, oid)
    for granted in readings:
        if drifted(change, granted, session.version):
            return {"privileges": sorted(granted)}
    return {}


def _single(work: Work, change: Change, oid: int) -> set[str]:
    kind = change["objectType"]
    catalog, access, name = _SINGLE[kind]
    query = (
        f"SELECT privilege_type FROM {catalog}, aclexplode({access})"  # noqa: S608
        f" WHERE {name} = %s AND grantee = %s"
    )
    value = change[kind] if kind in ("database", "schema") else change["objects"][0]
    text = f"could not read privileges for {kind.replace('_', ' ')} {value}"
    return {privilege for (privilege,) in work.rows(query, [value, oid], text)}


def _many(work: Work, change: Change, oid: int) -> list[set[str]]:
    """Return the role's privileges on each object, by name. Functions with the same name count as one."""
    catalog, prefix, condition = _MANY[change["objectType"]]
    query = (
        f"SELECT {prefix}name, array_remove(array_agg(privilege_type), NULL) FROM {catalog}"  # noqa: S608
        f" JOIN pg_namespace n ON n.oid = {prefix}namespace"
        f" LEFT JOIN LATERAL aclexplode({prefix}acl) AS granted ON grantee = %s"
        f" WHERE nspname = %s AND {condition} GROUP BY 1 ORDER BY 1"
    )
    objects = change["objects"]
    rows = work.rows(query, [oid, change["schema"]])
    return [set(granted) for name, granted in rows if not objects or name in objects]


def _columns(work: Work, change: Change, oid: int) -> Values:
    if not change["objects"] or not change["privileges"]:
        return {}
    query = (
        "SELECT attname FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace"
        " JOIN pg_attribute ON attrelid = pg_class.oid, aclexplode(attacl)"
        " WHERE nspname = %s AND relname = %s AND grantee = %s AND privilege_type = %s"
    )
    parameters = [change["schema"], change["objects"][0], oid, change["privileges"][0]]
    granted = {name for (name,) in work.rows(query, parameters)}
    kept = [column for column in change["columns"] if column in granted]
    return {} if kept == change["columns"] else {"columns": kept}
