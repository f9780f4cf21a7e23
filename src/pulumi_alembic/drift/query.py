"""The query that reads a snapshot, except the heads."""

__all__ = ["query"]


def query(server: int) -> str:
    """Return the query for a server of this major version.

    Its rows are kind, name and facts as JSON, in an order in which the items could be created.

    Its parameters are `without`, the schemas whose objects are left out, `migrations`, the schema of the migration
    tables, and `roles`, which are always included.
    """
    return _QUERY.replace("{attcompression}", "attcompression" if server >= _COMPRESSION else "NULL")


_COMPRESSION = 14
"""The first major version with a compression method for each column."""

_QUERY = r"""
WITH RECURSIVE part AS (
    SELECT classid, objid FROM pg_depend WHERE deptype = 'e'
), own AS (
    SELECT * FROM pg_namespace n WHERE nspname NOT LIKE 'pg\_%%' AND nspname <> 'information_schema'
        AND ('pg_namespace'::regclass, n.oid) NOT IN (SELECT * FROM part)
), within AS (
    SELECT * FROM own WHERE nspname <> ALL (%(without)s)
), relation AS (
    SELECT c.*, format('%%I.%%I', nspname, relname) AS name,
        CASE relkind WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view' WHEN 'S' THEN 'sequence'
            WHEN 'f' THEN 'foreign table' WHEN 'c' THEN 'type' ELSE 'table' END AS kind
    FROM pg_class c JOIN within n ON n.oid = relnamespace
    WHERE relkind IN ('r', 'p', 'v', 'm', 'S', 'f', 'c') AND NOT relispartition
        AND ('pg_class'::regclass, c.oid) NOT IN (SELECT * FROM part)
), type AS (
    SELECT t.*, format('%%I.%%I', nspname, typname) AS name FROM pg_type t JOIN within n ON n.oid = typnamespace
    WHERE typtype IN ('e', 'd', 'r') AND ('pg_type'::regclass, t.oid) NOT IN (SELECT * FROM part)
), function AS (
    SELECT p.*, format('%%I.%%I(%%s)', nspname, proname, pg_get_function_identity_arguments(p.oid)) AS name,
        CASE prokind WHEN 'p' THEN 'procedure' WHEN 'a' THEN 'aggregate' ELSE 'function' END AS kind
    FROM pg_proc p JOIN within n ON n.oid = pronamespace WHERE NOT EXISTS (SELECT FROM pg_depend
        WHERE classid = 'pg_proc'::regclass AND objid = p.oid AND deptype IN ('e', 'i'))
), database AS (
    SELECT *, format('%%I', datname) AS name FROM pg_database WHERE datname = current_database()
), object (kind, name, noun, owner, acl, usual, col) AS (
    SELECT 'schema', format('%%I', nspname), 'SCHEMA', nspowner, nspacl, acldefault('n', nspowner), NULL FROM own
    UNION ALL SELECT 'database', name, 'DATABASE', datdba, datacl, acldefault('d', datdba), NULL FROM database
    UNION ALL SELECT kind, name, CASE relkind WHEN 'S' THEN 'SEQUENCE' WHEN 'c' THEN 'TYPE' ELSE 'TABLE' END, relowner,
        relacl, acldefault(CASE relkind WHEN 'S' THEN 's' WHEN 'c' THEN 'T' ELSE 'r' END::"char", relowner), NULL
        FROM relation
    UNION ALL SELECT r.kind, r.name, 'TABLE', relowner, attacl, '{}', format('%%I', attname)
        FROM relation r JOIN pg_attribute ON attrelid = r.oid AND NOT attisdropped WHERE attacl IS NOT NULL
    UNION ALL SELECT CASE typtype WHEN 'd' THEN 'domain' ELSE 'type' END, name, 'TYPE', typowner, typacl,
        acldefault('T', typowner), NULL FROM type
    UNION ALL SELECT kind, name, CASE prokind WHEN 'p' THEN 'PROCEDURE' ELSE 'FUNCTION' END, proowner, proacl,
        acldefault('f', proowner), NULL FROM function
), record AS (
    SELECT c.*, format('%%I.%%I', nspname, relname) AS name,
        CASE relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END AS noun
    FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
    WHERE nspname = %(migrations)s AND relkind IN ('r', 'S')
), listed (owner, acl) AS (
    -- Thousands of objects have few lists.
    SELECT DISTINCT owner, coalesce(acl, usual) FROM object
), allowed (owner, acl, grantee, rights) AS (
    SELECT owner, acl, grantee, jsonb_object_agg(privilege_type, is_grantable)
    FROM (SELECT owner, acl, grantee, privilege_type, bool_or(is_grantable) AS is_grantable
        FROM listed, aclexplode(acl)
        -- From PostgreSQL 17 on an owner has it. Older servers do not know it.
        WHERE NOT (privilege_type = 'MAINTAIN' AND grantee = owner)
        GROUP BY 1, 2, 3, 4) AS each
    GROUP BY 1, 2, 3
), given (kind, name, noun, col, owner, grantee, privilege_type, is_grantable) AS (
    -- Of the migration tables, what is everybody else's, and what the owner may do with the record of them all.
    SELECT lower(noun), name, noun, NULL, relowner, grantee, privilege_type, is_grantable
    FROM record, aclexplode(relacl)
    WHERE grantee <> relowner OR relname = 'ledger' AND privilege_type <> 'MAINTAIN'
    UNION ALL SELECT 'table', name, noun, format('%%I', attname), relowner, grantee, privilege_type, is_grantable
    FROM record JOIN pg_attribute ON attrelid = record.oid AND NOT attisdropped, aclexplode(attacl)
), granted AS (
    SELECT kind, name, noun, col, o.owner, grantee, rights
    FROM object o JOIN allowed a ON a.owner = o.owner AND a.acl = coalesce(o.acl, usual)
    UNION ALL SELECT kind, name, noun, col, owner, grantee, jsonb_object_agg(privilege_type, is_grantable) AS rights
    FROM (SELECT kind, name, noun, col, owner, grantee, privilege_type, bool_or(is_grantable) AS is_grantable
        FROM given GROUP BY 1, 2, 3, 4, 5, 6, 7) AS each
    GROUP BY 1, 2, 3, 4, 5, 6
), preset AS (
    SELECT defaclrole, defaclnamespace, defaclobjtype, grantee, privilege_type,
        bool_or(is_grantable) AS is_grantable, false AS usual
    FROM pg_default_acl, aclexplode(defaclacl) WHERE NOT (privilege_type = 'MAINTAIN' AND grantee = defaclrole)
    GROUP BY 1, 2, 3, 4, 5
    UNION ALL SELECT defaclrole, defaclnamespace, defaclobjtype, grantee, privilege_type, is_grantable, true
    FROM pg_default_acl,
        aclexplode(acldefault(CASE defaclobjtype WHEN 'S' THEN 's' ELSE defaclobjtype END, defaclrole))
    WHERE defaclnamespace = 0 AND NOT (privilege_type = 'MAINTAIN' AND grantee = defaclrole)
), defaults AS (
    SELECT defaclrole, nspname, grantee,
        CASE defaclobjtype WHEN 'r' THEN 'TABLES' WHEN 'S' THEN 'SEQUENCES' WHEN 'f' THEN 'FUNCTIONS'
            WHEN 'T' THEN 'TYPES' WHEN 'n' THEN 'SCHEMAS' ELSE 'LARGE OBJECTS' END AS noun,
        coalesce(jsonb_object_agg(privilege_type, is_grantable) FILTER (WHERE NOT usual), '{}') AS rights,
        coalesce(jsonb_object_agg(privilege_type, is_grantable) FILTER (WHERE usual), '{}') AS usual
    FROM preset LEFT JOIN pg_namespace n ON n.oid = defaclnamespace GROUP BY 1, 2, 3, 4
), concerned (role) AS (
    SELECT owner FROM object UNION SELECT grantee FROM granted UNION SELECT defaclrole FROM defaults
    UNION SELECT grantee FROM defaults UNION SELECT oid FROM pg_roles WHERE rolname = ANY (%(roles)s)
    UNION SELECT member FROM pg_auth_members JOIN concerned ON role = roleid
        JOIN pg_roles g ON g.oid = roleid WHERE g.rolname NOT LIKE 'pg\_%%'
), role AS (
    SELECT *, format('%%I', rolname) AS name FROM pg_roles
    WHERE oid IN (SELECT role FROM concerned) AND rolname NOT LIKE 'pg\_%%'
), item (rank, class, place, kind, name, facts) AS (
    SELECT 10, NULL::oid, 0::bigint, 'role', name, jsonb_build_object(
            'name', rolname, 'SUPERUSER', rolsuper, 'INHERIT', rolinherit, 'CREATEROLE', rolcreaterole,
            'CREATEDB', rolcreatedb, 'LOGIN', rolcanlogin, 'REPLICATION', rolreplication,
            'BYPASSRLS', rolbypassrls, 'connection limit', rolconnlimit,
            'valid until', to_char(rolvaliduntil AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS"+00"')) FROM role
    UNION ALL SELECT 11, NULL, 0, 'membership', format('%%s in %%s', member::regrole, roleid::regrole),
        jsonb_build_object('member', member::regrole::text, 'role', roleid::regrole::text,
            'ADMIN', bool_or(admin_option), 'INHERIT', bool_or((to_jsonb(m) ->> 'inherit_option')::bool),
            'SET', bool_or((to_jsonb(m) ->> 'set_option')::bool))
        FROM pg_auth_members m JOIN pg_roles r ON r.oid = member
        WHERE roleid IN (SELECT oid FROM role)
            -- What such a login makes, it is a member of, in other databases too.
            OR member IN (SELECT oid FROM role) AND NOT rolsuper AND NOT rolcreaterole
        GROUP BY member, roleid
    UNION ALL SELECT 13, NULL, 0, 'setting', concat_ws(' ', split_part(setting, '=', 1), 'of role ' || r.name,
            CASE WHEN r.name IS NULL THEN 'of' ELSE 'in' END || ' database ' || d.name),
        jsonb_build_object('setting', split_part(setting, '=', 1), 'role', r.name, 'database', d.name,
            'value', substr(setting, strpos(setting, '=') + 1))
        FROM pg_db_role_setting LEFT JOIN role r ON r.oid = setrole LEFT JOIN database d ON d.oid = setdatabase,
            unnest(setconfig) AS setting
        WHERE (r.oid IS NOT NULL OR setrole = 0 AND d.oid IS NOT NULL) AND (d.oid IS NOT NULL OR setdatabase = 0)
    UNION ALL SELECT 12, NULL, 0, 'database', name, jsonb_build_object('connection limit', datconnlimit,
        'allow_connections', datallowconn, 'template', CASE WHEN datistemplate THEN true END) FROM database
    UNION ALL SELECT 20, 'pg_namespace'::regclass, oid::bigint, 'schema', format('%%I', nspname), '{}' FROM own
    UNION ALL SELECT 21, NULL, 0, 'extension', format('%%I', extname), jsonb_build_object(
            'schema', format('%%I', nspname), 'version', extversion)
        FROM pg_extension JOIN pg_namespace n ON n.oid = extnamespace WHERE extname <> 'plpgsql'
    UNION ALL SELECT 30, 'pg_type'::regclass, oid::bigint,
            CASE typtype WHEN 'd' THEN 'domain' ELSE 'type' END, name, jsonb_build_object(
            'labels', (SELECT jsonb_agg(enumlabel ORDER BY enumsortorder) FROM pg_enum WHERE enumtypid = type.oid),
            'base', CASE typtype WHEN 'd' THEN format_type(typbasetype, typtypmod) END,
            'not null', CASE WHEN typnotnull THEN true END, 'default', typdefault,
            'collation', CASE WHEN typtype = 'd' AND typcollation <> (SELECT b.typcollation FROM pg_type b
                WHERE b.oid = type.typbasetype) THEN typcollation::regcollation::text END,
            'subtype', (SELECT rngsubtype::regtype::text FROM pg_range WHERE rngtypid = type.oid))
        FROM type
    UNION ALL SELECT CASE kind WHEN 'type' THEN 30 WHEN 'sequence' THEN 31 WHEN 'view' THEN 51
            WHEN 'materialized view' THEN 51 ELSE 40 END,
            'pg_class'::regclass, oid::bigint, kind, name, jsonb_build_object(
            'composite', CASE WHEN relkind = 'c' THEN true END,
            'query', CASE WHEN relkind IN ('v', 'm') THEN pg_get_viewdef(oid) END,
            'columns', CASE WHEN relkind IN ('v', 'm') THEN (SELECT jsonb_agg(format('%%I %%s', attname,
                format_type(atttypid, atttypmod)) ORDER BY attnum) FROM pg_attribute
                WHERE attrelid = relation.oid AND attnum > 0 AND NOT attisdropped) END,
            'unlogged', CASE WHEN relpersistence = 'u' THEN true END,
            'options', CASE WHEN reloptions IS NOT NULL THEN (
                SELECT jsonb_agg(option ORDER BY option COLLATE "C") FROM unnest(reloptions) AS option) END,
            'partition by', CASE WHEN relkind = 'p' THEN pg_get_partkeydef(oid) END,
            'row level security', CASE WHEN relrowsecurity THEN true END,
            'forced row level security', CASE WHEN relforcerowsecurity THEN true END,
            'replica identity', CASE relreplident WHEN 'f' THEN 'FULL' WHEN 'n' THEN CASE WHEN relkind IN ('r', 'p')
                THEN 'NOTHING' END WHEN 'i' THEN 'INDEX' END,
            'inherits', CASE WHEN relkind IN ('r', 'p', 'f') THEN (
                SELECT jsonb_agg(inhparent::regclass::text ORDER BY inhseqno) FROM pg_inherits
                WHERE inhrelid = relation.oid) END,
            'server', CASE WHEN relkind = 'f' THEN (
                SELECT srvname FROM pg_foreign_table JOIN pg_foreign_server s ON s.oid = ftserver
                WHERE ftrelid = relation.oid) END,
            'server options', CASE WHEN relkind = 'f' THEN (
                SELECT to_jsonb(ftoptions) FROM pg_foreign_table WHERE ftrelid = relation.oid) END,
            'sequence', CASE WHEN relkind = 'S' THEN (
                SELECT jsonb_build_object('type', seqtypid::regtype, 'start', seqstart, 'increment',
                seqincrement, 'min', seqmin, 'max', seqmax, 'cache', seqcache, 'cycle', seqcycle)
                FROM pg_sequence WHERE seqrelid = relation.oid) END,
            'identity', CASE WHEN relkind = 'S' THEN (SELECT true FROM pg_depend
                WHERE classid = 'pg_class'::regclass AND objid = relation.oid AND deptype = 'i') END,
            'owned by', CASE WHEN relkind = 'S' THEN (
                SELECT format('%%s.%%I', refobjid::regclass, attname) FROM pg_depend
                JOIN pg_attribute ON attrelid = refobjid AND attnum = refobjsubid
                WHERE classid = 'pg_class'::regclass AND objid = relation.oid AND refclassid = 'pg_class'::regclass
                    AND deptype IN ('a', 'i')) END)
    FROM relation
    UNION ALL SELECT 42, NULL, attnum, 'column', format('%%s.%%I', r.name, attname), jsonb_build_object(
            'table', r.name, 'name', format('%%I', attname), 'of', r.kind,
            'type', format_type(atttypid, atttypmod),
            'collation', CASE WHEN attcollation <> typcollation THEN attcollation::regcollation::text END,
            'not null', CASE WHEN attnotnull THEN true END, 'inherited', CASE WHEN attinhcount > 0 THEN true END,
            'identity', CASE attidentity WHEN 'a' THEN 'ALWAYS' WHEN 'd' THEN 'BY DEFAULT' END,
            'generated', CASE attgenerated WHEN 's' THEN 'STORED' WHEN 'v' THEN 'VIRTUAL' END,
            'default', pg_get_expr(adbin, adrelid),
            'storage', CASE WHEN attstorage <> typstorage THEN storage ->> attstorage END,
            'usual storage', CASE WHEN attstorage <> typstorage THEN storage ->> typstorage END,
            'compression', CASE {attcompression} WHEN 'p' THEN 'pglz' WHEN 'l' THEN 'lz4' END)
        FROM jsonb_build_object('p', 'PLAIN', 'e', 'EXTERNAL', 'm', 'MAIN', 'x', 'EXTENDED') AS storage,
            relation r JOIN pg_attribute a ON attrelid = r.oid AND attnum > 0 AND NOT attisdropped
        JOIN pg_type t ON t.oid = atttypid LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
        WHERE relkind IN ('r', 'p', 'f', 'c')
    UNION ALL SELECT CASE contype WHEN 'f' THEN 53 ELSE 43 END, 'pg_constraint'::regclass, c.oid::bigint, 'constraint',
            format('%%s.%%I', coalesce(r.name, t.name), conname), jsonb_build_object('table', r.name, 'of',
            coalesce(r.kind, 'domain'), 'domain', t.name,
            'name', format('%%I', conname), 'definition', pg_get_constraintdef(c.oid),
            'inherited', CASE WHEN coninhcount > 0 THEN true END, 'clustered', CASE WHEN indisclustered THEN true END,
            'replica identity', CASE WHEN indisreplident THEN true END)
        FROM pg_constraint c LEFT JOIN relation r ON r.oid = conrelid LEFT JOIN type t ON t.oid = contypid
            LEFT JOIN pg_index ON indexrelid = conindid AND indrelid = conrelid
        WHERE contype NOT IN ('n', 't') AND coalesce(r.name, t.name) IS NOT NULL
            -- For each partition of the table that a foreign key refers to the server makes one more.
            AND conparentid = 0
    UNION ALL SELECT 44, 'pg_class'::regclass, indexrelid::bigint, 'index', indexrelid::regclass::text,
            jsonb_build_object('table', r.name, 'of', r.kind, 'name', format('%%I', x.relname),
            'definition', pg_get_indexdef(indexrelid), 'invalid', CASE WHEN NOT indisvalid THEN true END,
            'clustered', CASE WHEN indisclustered THEN true END,
            'replica identity', CASE WHEN indisreplident THEN true END)
        FROM relation r JOIN pg_index ON indrelid = r.oid JOIN pg_class x ON x.oid = indexrelid
        WHERE NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = indexrelid AND conrelid = indrelid
            AND contype IN ('p', 'u', 'x'))
    UNION ALL SELECT 60, 'pg_trigger'::regclass, t.oid::bigint, 'trigger', format('%%s.%%I', r.name, tgname),
            jsonb_build_object('table', r.name, 'of', r.kind, 'name', format('%%I', tgname),
            'definition', pg_get_triggerdef(t.oid),
            'enabled', CASE tgenabled WHEN 'D' THEN 'DISABLE' WHEN 'R' THEN 'ENABLE REPLICA'
                WHEN 'A' THEN 'ENABLE ALWAYS' END)
        FROM relation r JOIN pg_trigger t ON tgrelid = r.oid WHERE NOT tgisinternal
    UNION ALL SELECT 60, 'pg_rewrite'::regclass, w.oid::bigint, 'rule', format('%%s.%%I', r.name, rulename),
            jsonb_build_object('table', r.name, 'of', r.kind, 'name', format('%%I', rulename),
            'definition', pg_get_ruledef(w.oid),
            'enabled', CASE ev_enabled WHEN 'D' THEN 'DISABLE' WHEN 'R' THEN 'ENABLE REPLICA'
                WHEN 'A' THEN 'ENABLE ALWAYS' END)
        FROM relation r JOIN pg_rewrite w ON ev_class = r.oid WHERE rulename <> '_RETURN'
    UNION ALL SELECT 60, 'pg_policy'::regclass, p.oid::bigint, 'policy', format('%%s.%%I', r.name, polname),
            jsonb_build_object('table', r.name, 'of', r.kind, 'name', format('%%I', polname),
            'permissive', polpermissive,
            'command', CASE polcmd WHEN 'r' THEN 'SELECT' WHEN 'a' THEN 'INSERT' WHEN 'w' THEN 'UPDATE'
                WHEN 'd' THEN 'DELETE' ELSE 'ALL' END,
            'roles', (SELECT jsonb_agg(CASE role WHEN 0 THEN 'PUBLIC' ELSE role::regrole::text END
                ORDER BY role::regrole::text COLLATE "C") FROM unnest(polroles) AS role),
            'using', pg_get_expr(polqual, polrelid), 'check', pg_get_expr(polwithcheck, polrelid))
        FROM relation r JOIN pg_policy p ON polrelid = r.oid
    UNION ALL SELECT 40, 'pg_proc'::regclass, f.oid::bigint, f.kind, f.name, jsonb_build_object('definition',
            CASE WHEN prokind = 'a' THEN (SELECT concat_ws(' ', aggtransfn, aggfinalfn, aggtranstype::regtype,
                agginitval) FROM pg_aggregate WHERE aggfnoid = f.oid) ELSE pg_get_functiondef(f.oid) END)
        FROM function f
    UNION ALL SELECT 71, NULL, 0, 'owner', format('%%s %%s', kind, name), jsonb_build_object(
            'kind', kind, 'object', name, 'owner', owner::regrole::text)
        -- That of an owned sequence is its table's.
        FROM object WHERE col IS NULL AND NOT (kind = 'sequence' AND name IN (SELECT r.name FROM relation r
            JOIN pg_depend ON classid = 'pg_class'::regclass AND objid = r.oid AND deptype IN ('a', 'i')
                AND refobjsubid > 0))
    UNION ALL SELECT 72, NULL, 0, 'privileges', format('%%s %%s to %%s',
            CASE WHEN col IS NULL THEN kind ELSE 'column' END, concat_ws('.', name, col),
            CASE grantee WHEN 0 THEN 'PUBLIC' ELSE grantee::regrole::text END),
        jsonb_build_object('kind', kind, 'object', name, 'noun', noun, 'column', col, 'rights', rights,
            'within', CASE WHEN starts_with(name, %(migrations)s || '.') THEN %(migrations)s::text END,
            'grantee', CASE grantee WHEN 0 THEN 'PUBLIC' ELSE grantee::regrole::text END)
        FROM granted
    UNION ALL SELECT 73, NULL, 0, 'default privileges', concat_ws(' ', 'of', defaclrole::regrole, 'on', lower(noun),
            'in schema ' || quote_ident(nspname), 'to',
            CASE grantee WHEN 0 THEN 'PUBLIC' ELSE grantee::regrole::text END),
        jsonb_build_object('role', defaclrole::regrole::text, 'schema', quote_ident(nspname), 'noun', noun,
            'grantee', CASE grantee WHEN 0 THEN 'PUBLIC' ELSE grantee::regrole::text END,
            'rights', rights, 'usual', usual)
        FROM defaults WHERE rights <> usual
), comment (kind, name, facts) AS (
    SELECT 'comment', format('%%s %%s', CASE objsubid WHEN 0 THEN kind ELSE 'column' END, concat_ws('.', name, col)),
        jsonb_build_object('on', kind, 'object', name, 'column', col, 'text', description,
            'name', facts -> 'name', 'table', facts -> 'table', 'domain', facts -> 'domain')
    FROM pg_description
        -- That on a composite type is on its type, and those on its columns on its relation.
        LEFT JOIN pg_type t ON classoid = 'pg_type'::regclass AND t.oid = objoid AND typtype = 'c'
        JOIN item ON class = CASE WHEN typrelid IS NULL THEN classoid ELSE 'pg_class'::regclass END
            AND place = coalesce(typrelid, objoid)::bigint
        LEFT JOIN LATERAL (SELECT format('%%I', attname) AS col FROM pg_attribute
            WHERE attrelid = objoid AND attnum = objsubid AND objsubid > 0) AS a ON true
    WHERE objoid >= 16384 AND (kind <> 'schema' OR EXISTS (SELECT FROM within n WHERE n.oid = objoid))
)
SELECT kind, name, facts::text FROM (
    SELECT rank, place, kind, name, facts FROM item UNION ALL SELECT 70, 0, kind, name, facts FROM comment
) AS all_ ORDER BY rank, place, kind, name COLLATE "C"
"""
