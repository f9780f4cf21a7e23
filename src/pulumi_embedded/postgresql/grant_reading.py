"""What a role really has of what a Grant grants, from the access lists in the catalogs."""

from __future__ import annotations

from pulumi_embedded.postgresql.connection import Session, Work
from pulumi_embedded.postgresql.privileges import drifted, grantee
from pulumi_embedded.postgresql.properties import Change, Values

__all__ = ["read_privileges"]

# Object type → the catalog, its access list and its name, for what is named by one property.
_SINGLE = {
    "database": ("pg_database", "datacl", "datname"),
    "schema": ("pg_namespace", "nspacl", "nspname"),
    "foreign_data_wrapper": ("pg_foreign_data_wrapper", "fdwacl", "fdwname"),
    "foreign_server": ("pg_foreign_server", "srvacl", "srvname"),
}
# Object type → the same for what a schema has many of, and which rows of the catalog they are. The real plugin takes
# procedures for functions, and so never sees a grant on all functions as done where there is a procedure.
_MANY = {
    "table": ("pg_class", "rel", "relkind = 'r'"),
    "sequence": ("pg_class", "rel", "relkind = 'S'"),
    "function": ("pg_proc", "pro", "prokind <> 'p'"),
    "procedure": ("pg_proc", "pro", "prokind = 'p'"),
    "routine": ("pg_proc", "pro", "true"),
}


def read_privileges(session: Session, change: Change) -> Values:
    """`privileges`, or for a column grant `columns`, where they are not what is wanted; else nothing."""
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
    what = f"could not read privileges for {kind.replace('_', ' ')} {value}"
    return {privilege for (privilege,) in work.rows(query, [value, oid], what)}


def _many(work: Work, change: Change, oid: int) -> list[set[str]]:
    """What the role has on each object, by name; functions of one name count as one."""
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
