"""The fingerprint: a digest of what a database's catalog defines, and the lines that it is computed from.

Objects of extensions, the migration tables, preserved tables, rows and the order of columns are not part of it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import TYPE_CHECKING

from pulumi_alembic.database.connection import KEPT_SCHEMA, VERSION_SCHEMA

if TYPE_CHECKING:
    from pulumi_alembic.database.connection import Connection

__all__ = ["digest", "read_lines"]

_QUERY = r"""
WITH own AS (
    SELECT oid, nspname, nspowner, nspacl FROM pg_namespace
    WHERE nspname NOT LIKE 'pg\_%%' AND nspname NOT IN ('information_schema', %(without)s, %(kept)s)
        AND NOT EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_namespace'::regclass AND objid = pg_namespace.oid
            AND deptype = 'e')
), part AS (
    SELECT classid, objid FROM pg_depend WHERE deptype = 'e'
), relation AS (
    SELECT c.*, format('%%I.%%I', nspname, relname) AS name FROM pg_class c JOIN own n ON n.oid = relnamespace
    WHERE relkind IN ('r', 'p', 'v', 'm', 'S', 'f', 'c') AND ('pg_class'::regclass, c.oid) NOT IN (SELECT * FROM part)
), type AS (
    SELECT t.*, format('%%I.%%I', nspname, typname) AS name FROM pg_type t JOIN own n ON n.oid = typnamespace
    WHERE typtype IN ('e', 'd', 'r') AND ('pg_type'::regclass, t.oid) NOT IN (SELECT * FROM part)
), function AS (
    SELECT p.*, format('%%I.%%I(%%s)', nspname, proname, pg_get_function_identity_arguments(p.oid)) AS name
    FROM pg_proc p JOIN own n ON n.oid = pronamespace WHERE ('pg_proc'::regclass, p.oid) NOT IN (SELECT * FROM part)
), grants (name, owner, acl) AS (
    SELECT format('schema %%I', nspname), nspowner, coalesce(nspacl, acldefault('n', nspowner)) FROM own
    UNION ALL SELECT name, relowner, coalesce(relacl, acldefault(CASE relkind WHEN 'S' THEN 's' ELSE 'r' END::"char",
        relowner)) FROM relation WHERE relkind <> 'c'
    UNION ALL SELECT format('%%s.%%I', name, attname), relowner, attacl
        FROM relation JOIN pg_attribute ON attrelid = relation.oid WHERE attacl IS NOT NULL
    UNION ALL SELECT name, typowner, coalesce(typacl, acldefault('T', typowner)) FROM type
    UNION ALL SELECT name, proowner, coalesce(proacl, acldefault('f', proowner)) FROM function
    UNION ALL SELECT format('default %%s %%s %%s', defaclrole::regrole, defaclobjtype,
        (SELECT nspname FROM pg_namespace n WHERE n.oid = defaclnamespace)), defaclrole, defaclacl FROM pg_default_acl
), line (kind, name, definition) AS (
    SELECT 'schema', format('%%I', nspname), '' FROM own
    UNION ALL SELECT 'extension', format('%%I', extname), format('in %%I', nspname)
        FROM pg_extension JOIN pg_namespace n ON n.oid = extnamespace WHERE extname <> 'plpgsql'
    UNION ALL SELECT CASE relkind WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view' WHEN 'S' THEN 'sequence'
            WHEN 'f' THEN 'foreign table' WHEN 'c' THEN 'type' ELSE 'table' END, name,
        concat_ws(' ', CASE WHEN relkind IN ('v', 'm') THEN pg_get_viewdef(oid) END,
            CASE relpersistence WHEN 'u' THEN 'unlogged' END, reloptions::text,
            CASE WHEN relkind = 'p' THEN pg_get_partkeydef(oid) END, pg_get_expr(relpartbound, oid),
            CASE WHEN relrowsecurity THEN 'row security' END, CASE WHEN relforcerowsecurity THEN 'forced' END,
            'replica identity ' || nullif(relreplident::text, 'd'),
            (SELECT 'inherits ' || string_agg(inhparent::regclass::text, ', ' ORDER BY inhseqno)
             FROM pg_inherits WHERE inhrelid = relation.oid),
            (SELECT concat_ws(' ', seqtypid::regtype, seqstart, seqincrement, seqmin, seqmax, seqcache, seqcycle)
             FROM pg_sequence WHERE seqrelid = relation.oid))
    FROM relation
    UNION ALL SELECT 'column', format('%%s.%%I', name, attname), concat_ws(' ', format_type(atttypid, atttypmod),
            CASE WHEN attnotnull THEN 'not null' END, 'identity ' || nullif(attidentity::text, ''),
            'generated ' || nullif(attgenerated::text, ''), 'default ' || pg_get_expr(adbin, adrelid),
            CASE WHEN attcollation <> typcollation THEN attcollation::regcollation::text END)
        FROM relation JOIN pg_attribute a ON attrelid = relation.oid AND attnum > 0 AND NOT attisdropped
        JOIN pg_type t ON t.oid = atttypid LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
        WHERE relkind <> 'S'
    UNION ALL SELECT 'constraint', format('%%s.%%I', coalesce(r.name, t.name), conname), pg_get_constraintdef(c.oid)
        FROM pg_constraint c LEFT JOIN relation r ON r.oid = conrelid LEFT JOIN type t ON t.oid = contypid
        WHERE contype NOT IN ('n', 't') AND coalesce(r.name, t.name) IS NOT NULL
    UNION ALL SELECT 'index', indexrelid::regclass::text,
            concat_ws(' ', pg_get_indexdef(indexrelid), CASE WHEN NOT indisvalid THEN 'invalid' END,
            CASE WHEN indisclustered THEN 'clustered' END, CASE WHEN indisreplident THEN 'replica identity' END)
        FROM relation JOIN pg_index ON indrelid = relation.oid
    UNION ALL SELECT 'trigger', format('%%s.%%I', name, tgname), concat_ws(' ', pg_get_triggerdef(t.oid), tgenabled)
        FROM relation JOIN pg_trigger t ON tgrelid = relation.oid WHERE NOT tgisinternal
    UNION ALL SELECT 'rule', format('%%s.%%I', name, rulename), concat_ws(' ', pg_get_ruledef(w.oid), ev_enabled)
        FROM relation JOIN pg_rewrite w ON ev_class = relation.oid WHERE rulename <> '_RETURN'
    UNION ALL SELECT 'policy', format('%%s.%%I', name, polname), concat_ws(' ', polcmd, polpermissive,
            polroles::regrole[], pg_get_expr(polqual, polrelid), 'check', pg_get_expr(polwithcheck, polrelid))
        FROM relation JOIN pg_policy ON polrelid = relation.oid
    UNION ALL SELECT 'statistics', format('%%s.%%I', name, stxname), pg_get_statisticsobjdef(s.oid)
        FROM relation JOIN pg_statistic_ext s ON stxrelid = relation.oid
    UNION ALL SELECT 'type', name, concat_ws(' ', typtype, format_type(nullif(typbasetype, 0), typtypmod),
            CASE WHEN typnotnull THEN 'not null' END, typdefault,
            (SELECT string_agg(quote_literal(enumlabel), ', ' ORDER BY enumsortorder) FROM pg_enum
                WHERE enumtypid = type.oid),
            (SELECT rngsubtype::regtype::text FROM pg_range WHERE rngtypid = type.oid))
        FROM type
    UNION ALL SELECT CASE prokind WHEN 'p' THEN 'procedure' WHEN 'a' THEN 'aggregate' ELSE 'function' END, name,
            CASE WHEN prokind = 'a' THEN (SELECT concat_ws(' ', aggtransfn, aggfinalfn, agginitval) FROM pg_aggregate
                WHERE aggfnoid = function.oid) ELSE pg_get_functiondef(oid) END
        FROM function
    UNION ALL SELECT 'comment', format('%%s %%s', i.type, i.identity), description
        FROM pg_description d, pg_identify_object(d.classoid, d.objoid, d.objsubid) i
        -- Below are the catalog's own.
        WHERE objoid >= 16384 AND (classoid, objoid) NOT IN (SELECT * FROM part)
            AND coalesce(i.schema, i.name) IN (SELECT nspname FROM own)
    UNION ALL SELECT 'owner', name, owner::regrole::text FROM grants WHERE name NOT LIKE 'default %%'
    UNION ALL SELECT 'privileges', name, string_agg(right_, ', ' ORDER BY right_ COLLATE "C") FROM (
        SELECT name, format('%%s %%s%%s', CASE grantee WHEN 0 THEN 'PUBLIC' ELSE grantee::regrole::text END,
            privilege_type, CASE WHEN is_grantable THEN ' with grant option' END) AS right_
        FROM grants, aclexplode(acl)
        -- From PostgreSQL 17 on an owner has it. Older servers do not know it.
        WHERE privilege_type <> 'MAINTAIN') given GROUP BY name
)
SELECT line FROM (SELECT concat_ws('|', kind, name, definition) FROM line) AS all_ (line) ORDER BY line COLLATE "C"
"""


def read_lines(connection: Connection) -> tuple[str, ...]:
    """Return a line `kind|name|definition` for each object of the catalog, sorted by byte.

    Names are qualified and quoted.

    The current transaction has an empty search_path and no JIT from then on.
    """
    # With JIT, the query would take many times as long.
    connection.execute(
        "SELECT pg_catalog.set_config('search_path', '', true), pg_catalog.set_config('jit', 'off', true)"
    )
    return tuple(
        line for (line,) in connection.execute(_QUERY.encode(), {"without": VERSION_SCHEMA, "kept": KEPT_SCHEMA})
    )


def digest(lines: Iterable[str]) -> str:
    """Return the fingerprint of a catalog with these lines."""
    return f"v1:{hashlib.sha256(chr(10).join(lines).encode()).hexdigest()}"
