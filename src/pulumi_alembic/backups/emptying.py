"""Empty schemas before a restore. The schemas remain with their grants and default privileges."""

from __future__ import annotations

from collections.abc import Sequence

from pulumi_alembic.database.connection import VERSION_SCHEMA, Connection
from pulumi_alembic.errors import BackupError

__all__ = ["empty", "take_back_defaults"]

# Objects that belong to another one are dropped with it. Objects of an extension are not dropped.
_DROPS = """
SELECT format('DROP %%s IF EXISTS %%s CASCADE',
    CASE type WHEN 'composite type' THEN 'type' WHEN 'statistics object' THEN 'statistics' ELSE type END, identity)
FROM pg_depend d JOIN pg_namespace n ON n.oid = refobjid, pg_identify_object(classid, objid, 0)
WHERE refclassid = 'pg_namespace'::regclass AND nspname = ANY (%s) AND deptype = 'n'
    AND classid <> 'pg_extension'::regclass
    AND NOT EXISTS (
        SELECT FROM pg_depend o
        WHERE o.classid = d.classid AND o.objid = d.objid AND o.objsubid = 0 AND o.deptype IN ('i', 'e')
    )
    AND NOT (%s AND nspname = %s AND identity ~ '^[^.]*[.]ledger')
"""

_OUTSIDE = """
WITH inside AS (SELECT oid FROM pg_namespace WHERE nspname = ANY (%s) OR nspname LIKE 'pg\\_t%%')
SELECT pg_describe_object(classid, objid, 0) FROM (
    SELECT 'pg_class'::regclass, oid FROM pg_class WHERE relnamespace NOT IN (SELECT oid FROM inside)
    UNION ALL SELECT 'pg_proc'::regclass, oid FROM pg_proc WHERE pronamespace NOT IN (SELECT oid FROM inside)
    UNION ALL SELECT 'pg_constraint'::regclass, oid FROM pg_constraint
    WHERE connamespace NOT IN (SELECT oid FROM inside)
    UNION ALL SELECT 'pg_trigger'::regclass, t.oid FROM pg_trigger t JOIN pg_class c ON c.oid = tgrelid
    WHERE relnamespace NOT IN (SELECT oid FROM inside)
) AS objects (classid, objid)
"""

# pg_dump describes privileges as the difference from PostgreSQL's built-in ones for a new object.
_TO_BUILT_IN = """
WITH objects (name, object, acl, built_in, namespace) AS (
    SELECT relname, format('%%s %%s', CASE relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, c.oid::regclass), relacl,
        acldefault(CASE relkind WHEN 'S' THEN 's' ELSE 'r' END::"char", relowner), relnamespace FROM pg_class c
    UNION ALL SELECT proname, format('ROUTINE %%s', p.oid::regprocedure), proacl, acldefault('f', proowner),
        pronamespace FROM pg_proc p
    UNION ALL SELECT typname, format('TYPE %%s', t.oid::regtype), typacl, acldefault('T', typowner), typnamespace
    FROM pg_type t
), given AS (
    SELECT object, acl, built_in FROM objects JOIN pg_namespace n ON n.oid = namespace
    WHERE acl IS NOT NULL AND nspname = ANY (%s) AND NOT (nspname = %s AND name ~ '^ledger')
), changes (format, privilege, object, grantee) AS (
    SELECT 'REVOKE %%s ON %%s FROM %%s', privilege_type, object, grantee FROM given, aclexplode(acl)
    WHERE (grantee, privilege_type) NOT IN (SELECT b.grantee, b.privilege_type FROM aclexplode(built_in) b)
    UNION ALL SELECT 'GRANT %%s ON %%s TO %%s', privilege_type, object, grantee FROM given, aclexplode(built_in)
    WHERE (grantee, privilege_type) NOT IN (SELECT a.grantee, a.privilege_type FROM aclexplode(acl) a)
)
SELECT format(
    format, privilege, object, CASE grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(grantee)) END
) FROM changes
"""


def empty(connection: Connection, schemas: Sequence[str], *, keep_ledger: bool) -> None:
    """Drop everything in the schemas except objects of extensions, and the ledger if `keep_ledger`. Does not commit.

    Raises:
        BackupError: CASCADE has dropped an object outside of them, such as a foreign key. The caller must roll back.

    """
    before = _outside(connection, schemas)
    drops = connection.execute(_DROPS, [list(schemas), keep_ledger, VERSION_SCHEMA]).fetchall()
    connection.execute("SET LOCAL client_min_messages = error")
    for (statement,) in drops:
        connection.execute(statement.encode())
    if lost := sorted(before - _outside(connection, schemas)):
        raise BackupError(
            f"restoring would take with it what is not in the backup: {', '.join(lost[:5])}. Nothing was changed: "
            "drop it first, if it is not needed"
        )


def take_back_defaults(connection: Connection, schemas: Sequence[str]) -> None:
    """Reset privileges of the new objects to PostgreSQL's built-in ones, so that the backup's grants apply to them."""
    for (statement,) in connection.execute(_TO_BUILT_IN, [list(schemas), VERSION_SCHEMA]).fetchall():
        connection.execute(statement.encode())


def _outside(connection: Connection, schemas: Sequence[str]) -> set[str]:
    return {name for (name,) in connection.execute(_OUTSIDE, [list(schemas)])}
