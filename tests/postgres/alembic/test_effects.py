"""The effects that the analysis states are those of the server: pg_locks, relfilenode and counted scans show them."""

from __future__ import annotations

import re
import secrets
import threading
import time
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg import sql

from pulumi_alembic.sql.catalog import QUERY, Catalog, Column
from pulumi_alembic.sql.effects import after, effects
from pulumi_alembic.sql.effects.queries import MODES
from pulumi_alembic.sql.locks import Effects
from taskdb.local import Server
from tests.conftest import Database, drop_database

SCHEMA = """
CREATE TYPE app.status AS ENUM ('open', 'done');
CREATE DOMAIN app.email AS text CHECK (VALUE LIKE '%@%');
CREATE DOMAIN app.label AS varchar(50);
CREATE TABLE app.users (id int PRIMARY KEY, email text UNIQUE, address app.email, nick app.label);
CREATE TABLE app.tasks (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, user_id int REFERENCES app.users, title varchar(50) NOT NULL,
    notes text, status app.status DEFAULT 'open', points int, price numeric(10,2), due timestamptz, done timestamp,
    code char(3), tags varchar(20)[], known int, small int, named app.label,
    CONSTRAINT known_there CHECK (known IS NOT NULL AND known > 0), CONSTRAINT points_positive CHECK (points > 0)
);
CREATE INDEX tasks_title ON app.tasks (title);
CREATE UNIQUE INDEX tasks_points ON app.tasks (points);
CREATE TABLE app.comments (id serial PRIMARY KEY, task_id bigint REFERENCES app.tasks ON DELETE CASCADE, body text);
CREATE TABLE app.marks (task_id bigint REFERENCES app.tasks ON DELETE SET NULL, user_id int, body text);
ALTER TABLE app.marks ADD CONSTRAINT body_there CHECK (body <> '') NOT VALID;
ALTER TABLE app.marks ADD CONSTRAINT marks_user FOREIGN KEY (user_id) REFERENCES app.users NOT VALID;
CREATE TABLE app.noted (id int PRIMARY KEY, body text);
CREATE FUNCTION app.note() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN new; END';
CREATE FUNCTION app.rolled() RETURNS int LANGUAGE plpgsql AS 'BEGIN RETURN 6; END';
CREATE FUNCTION app.fixed() RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT 6';
CREATE TRIGGER note BEFORE UPDATE ON app.noted FOR EACH ROW EXECUTE FUNCTION app.note();
CREATE POLICY mine ON app.noted USING (id > 0);
CREATE RULE stay AS ON DELETE TO app.noted DO INSTEAD NOTHING;
CREATE TABLE app.events (id int, at date, user_id int REFERENCES app.users) PARTITION BY RANGE (at);
CREATE TABLE app.events_2024 PARTITION OF app.events FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
CREATE TABLE app.events_2025 PARTITION OF app.events FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
CREATE TABLE app.events_rest PARTITION OF app.events DEFAULT;
CREATE INDEX events_id ON app.events (id);
CREATE INDEX events_at ON ONLY app.events (at);
CREATE INDEX events_2024_at ON app.events_2024 (at);
CREATE TABLE app."Odd Name" ("The Key" int PRIMARY KEY, "user" int REFERENCES app.users);
CREATE TABLE app.days (at date) PARTITION BY RANGE (at);
CREATE TABLE app.days_2024 PARTITION OF app.days FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
CREATE TABLE app.loose (at date);
CREATE TABLE app.loose_events (id int, at date, user_id int);
CREATE TABLE app.base (id int, at date);
CREATE TABLE app.derived (extra int) INHERITS (app.base);
CREATE TABLE app.single (id int, at date);
CREATE TABLE app.empty (id int);
CREATE VIEW app.open_tasks AS SELECT id, title FROM app.tasks WHERE status = 'open';
CREATE VIEW app.first_tasks AS SELECT id FROM app.open_tasks;
CREATE MATERIALIZED VIEW app.totals AS SELECT points, count(*) AS n FROM app.tasks GROUP BY points;
CREATE UNIQUE INDEX totals_points ON app.totals (points);
CREATE SEQUENCE app.numbers;

INSERT INTO app.users SELECT n, n || '@here', n || '@here', n FROM generate_series(1, 25) n;
INSERT INTO app.tasks (user_id, title, notes, points, price, known, code, small, named)
    SELECT n, n, n, n, n, n, 'abc', n, n FROM generate_series(1, 20) n;
INSERT INTO app.comments (task_id, body) SELECT n, 'text' FROM generate_series(1, 20) n;
INSERT INTO app.marks SELECT n, n, 'text' FROM generate_series(1, 20) n;
INSERT INTO app.noted SELECT n, 'text' FROM generate_series(1, 20) n;
INSERT INTO app.events VALUES (1, '2024-02-02', 1), (2, '2025-02-02', 2), (3, '2030-02-02', 3);
INSERT INTO app.days VALUES ('2024-05-05');
INSERT INTO app.loose VALUES ('2025-05-05');
INSERT INTO app.loose_events VALUES (1, '2026-05-05', 1);
INSERT INTO app.base VALUES (1, '2024-05-05');
INSERT INTO app.derived VALUES (1, '2024-05-05', 1);
INSERT INTO app.single VALUES (1, '2024-05-05');
REFRESH MATERIALIZED VIEW app.totals;
"""

CASES = """
ALTER TABLE app.tasks ADD COLUMN x int
ALTER TABLE tasks ADD COLUMN x int
ALTER TABLE app.tasks ADD COLUMN x int DEFAULT 7
ALTER TABLE app.tasks ADD COLUMN x timestamptz DEFAULT now()
ALTER TABLE app.tasks ADD COLUMN x float DEFAULT random()
ALTER TABLE app.tasks ADD COLUMN x uuid DEFAULT gen_random_uuid()
ALTER TABLE app.tasks ADD COLUMN x int DEFAULT app.rolled()
ALTER TABLE app.tasks ADD COLUMN x int DEFAULT app.fixed()
ALTER TABLE app.tasks ADD COLUMN x timestamptz DEFAULT clock_timestamp()
ALTER TABLE app.tasks ADD COLUMN x serial
ALTER TABLE app.tasks ADD COLUMN x int GENERATED BY DEFAULT AS IDENTITY
ALTER TABLE app.tasks ADD COLUMN x int GENERATED ALWAYS AS (points * 2) STORED
ALTER TABLE app.tasks ADD COLUMN x int NOT NULL DEFAULT 7
ALTER TABLE app.tasks ADD COLUMN x int REFERENCES app.users
ALTER TABLE app.tasks ADD COLUMN x int DEFAULT 1 REFERENCES app.users
ALTER TABLE app.tasks ADD COLUMN x int CHECK (x > 0)
ALTER TABLE app.tasks ADD COLUMN x int UNIQUE
ALTER TABLE app.tasks ADD COLUMN x app.email
ALTER TABLE app.empty ADD COLUMN x int NOT NULL
ALTER TABLE app.empty ADD PRIMARY KEY (id)
ALTER TABLE app.tasks ADD COLUMN x app.label
ALTER TABLE app.tasks ADD COLUMN x app.status DEFAULT 'open'
ALTER TABLE app.tasks ADD COLUMN IF NOT EXISTS title text
ALTER TABLE app.events ADD COLUMN x int DEFAULT 7
ALTER TABLE app.events ADD COLUMN x float DEFAULT random()
ALTER TABLE app.base ADD COLUMN x int
ALTER TABLE app.tasks DROP COLUMN notes
ALTER TABLE app.tasks DROP COLUMN user_id
ALTER TABLE app.tasks DROP COLUMN id CASCADE
ALTER TABLE app.tasks DROP COLUMN title CASCADE
ALTER TABLE app.events DROP COLUMN user_id
ALTER TABLE app.tasks RENAME COLUMN title TO heading
ALTER TABLE app.base RENAME COLUMN at TO day
ALTER TABLE app.tasks RENAME TO jobs
ALTER TABLE app.tasks RENAME CONSTRAINT points_positive TO positive
ALTER INDEX app.tasks_title RENAME TO tasks_heading
ALTER TABLE app.tasks ALTER COLUMN title SET DEFAULT 'none'
ALTER TABLE app.tasks ALTER COLUMN status DROP DEFAULT
ALTER TABLE app.tasks ALTER COLUMN notes SET NOT NULL
ALTER TABLE app.tasks ALTER COLUMN known SET NOT NULL
ALTER TABLE app.tasks ALTER COLUMN title SET NOT NULL
ALTER TABLE app.tasks ALTER COLUMN title DROP NOT NULL
ALTER TABLE app.tasks ALTER COLUMN notes TYPE varchar
ALTER TABLE app.tasks ALTER COLUMN notes TYPE varchar(100)
ALTER TABLE app.noted ALTER COLUMN body TYPE varchar(100) USING body::varchar(100)
ALTER TABLE app.marks ALTER COLUMN body TYPE varchar
ALTER TABLE app.tasks ALTER COLUMN code TYPE char(5)
ALTER TABLE app.tasks ALTER COLUMN code TYPE text
ALTER TABLE app.tasks ALTER COLUMN small TYPE bigint
ALTER TABLE app.tasks ALTER COLUMN small TYPE smallint
ALTER TABLE app.tasks ALTER COLUMN small TYPE text
ALTER TABLE app.tasks ALTER COLUMN small TYPE int USING small * 2
ALTER TABLE app.tasks ALTER COLUMN small TYPE int
ALTER TABLE app.tasks ALTER COLUMN price TYPE numeric(12,2)
ALTER TABLE app.tasks ALTER COLUMN price TYPE numeric(12,4)
ALTER TABLE app.tasks ALTER COLUMN price TYPE numeric
ALTER TABLE app.tasks ALTER COLUMN due TYPE timestamptz(3)
ALTER TABLE app.tasks ALTER COLUMN due TYPE date
ALTER TABLE app.tasks ALTER COLUMN done TYPE timestamptz
ALTER TABLE app.tasks ALTER COLUMN due TYPE timestamp
ALTER TABLE app.tasks ALTER COLUMN tags TYPE text[]
ALTER TABLE app.tasks ALTER COLUMN tags TYPE varchar(30)[]
ALTER TABLE app.tasks ALTER COLUMN named TYPE varchar(80)
ALTER TABLE app.tasks ALTER COLUMN notes TYPE app.email USING notes || '@here'
ALTER TABLE app.tasks ALTER COLUMN user_id TYPE bigint
ALTER TABLE app.users ALTER COLUMN id TYPE bigint
ALTER TABLE app.events ALTER COLUMN id TYPE bigint
ALTER TABLE app.tasks ADD CONSTRAINT short CHECK (length(notes) < 99)
ALTER TABLE app.tasks ADD CONSTRAINT short CHECK (length(notes) < 99) NOT VALID
ALTER TABLE app.marks VALIDATE CONSTRAINT body_there
ALTER TABLE app.marks ADD FOREIGN KEY (user_id) REFERENCES app.users
ALTER TABLE app.marks ADD FOREIGN KEY (user_id) REFERENCES app.users NOT VALID
ALTER TABLE app.marks VALIDATE CONSTRAINT marks_user
ALTER TABLE app.events ADD FOREIGN KEY (id) REFERENCES app.noted
ALTER TABLE app.tasks ADD UNIQUE (title)
ALTER TABLE app.tasks ADD CONSTRAINT one_points UNIQUE USING INDEX tasks_points
ALTER TABLE app.single ADD PRIMARY KEY (id)
ALTER TABLE app.tasks DROP CONSTRAINT points_positive
ALTER TABLE app.marks DROP CONSTRAINT marks_user
ALTER TABLE app.tasks DROP CONSTRAINT tasks_pkey CASCADE
ALTER TABLE app.users DROP CONSTRAINT users_email_key
ALTER TABLE app.events DROP CONSTRAINT events_user_id_fkey
ALTER TABLE app.tasks ALTER CONSTRAINT tasks_user_id_fkey DEFERRABLE
CREATE TABLE app.fresh (id int PRIMARY KEY, name text UNIQUE CHECK (name <> ''))
CREATE TABLE fresh (id serial)
CREATE TABLE app.fresh (id int, other int, PRIMARY KEY (id, other), FOREIGN KEY (other) REFERENCES app.users)
CREATE TABLE app.fresh (id int, user_id int REFERENCES app.users, task_id bigint REFERENCES app.tasks)
CREATE TABLE app.fresh (LIKE app.tasks INCLUDING ALL)
CREATE TABLE app.fresh PARTITION OF app.events FOR VALUES FROM ('2026-01-01') TO ('2027-01-01')
CREATE TABLE app.fresh PARTITION OF app.days FOR VALUES FROM ('2026-01-01') TO ('2027-01-01')
CREATE TABLE app.fresh PARTITION OF app.days DEFAULT
CREATE TABLE app.fresh (more int) INHERITS (app.base)
CREATE TABLE app.fresh AS SELECT id FROM app.tasks
CREATE TABLE IF NOT EXISTS app.tasks (id int)
SELECT id INTO app.fresh FROM app.tasks
ALTER TABLE app.days ATTACH PARTITION app.loose FOR VALUES FROM ('2025-01-01') TO ('2026-01-01')
ALTER TABLE app.events ATTACH PARTITION app.loose_events FOR VALUES FROM ('2026-01-01') TO ('2027-01-01')
ALTER TABLE app.days DETACH PARTITION app.days_2024
ALTER TABLE app.events DETACH PARTITION app.events_2024
ALTER TABLE app.single INHERIT app.base
ALTER TABLE app.derived NO INHERIT app.base
CREATE INDEX ON app.tasks (notes)
CREATE UNIQUE INDEX tasks_notes ON app.tasks (notes)
CREATE INDEX events_day ON app.events (at, id)
CREATE INDEX events_day ON ONLY app.events (at)
ALTER INDEX app.events_at ATTACH PARTITION app.events_2024_at
ALTER TABLE app."Odd Name" DROP COLUMN "user"
INSERT INTO app."Odd Name" VALUES (1, 1)
ALTER TABLE app.tasks ADD CONSTRAINT odd FOREIGN KEY (small) REFERENCES app."Odd Name" NOT VALID
CREATE RULE also AS ON INSERT TO app.single DO ALSO DELETE FROM app.marks
PREPARE emptying AS DELETE FROM app.marks
EXPLAIN DELETE FROM app.tasks
EXPLAIN ANALYZE DELETE FROM app.marks
CREATE UNLOGGED TABLE app.fresh (id int)
ALTER TABLE app.events_2024 ADD CONSTRAINT within CHECK (at < '2025-01-01')
ALTER TABLE app.tasks ADD EXCLUDE USING btree (notes WITH =)
ALTER TABLE app.users ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY
ALTER TABLE app.tasks ALTER COLUMN points SET NOT NULL, ALTER COLUMN points ADD GENERATED BY DEFAULT AS IDENTITY
ALTER TABLE app.tasks SET WITHOUT CLUSTER
ALTER TABLE app.tasks VALIDATE CONSTRAINT points_positive
ALTER TABLE app.noted ADD COLUMN x int, ADD CONSTRAINT x_there CHECK (x IS NULL) NOT VALID
ALTER MATERIALIZED VIEW app.totals RENAME TO sums
ALTER MATERIALIZED VIEW app.totals SET SCHEMA app2
CREATE INDEX totals_n ON app.totals (n)
DROP INDEX app.totals_points
DROP TABLE app.marks, app.comments
DROP TABLE app.base CASCADE
ALTER TABLE app.users RENAME COLUMN email TO mail
SELECT app.rolled()
SELECT pg_advisory_xact_lock(1), now(), lower('A')
INSERT INTO app.noted VALUES (99, 'x') RETURNING id
INSERT INTO app.tasks (title, known, user_id) VALUES ('x', 1, 1) ON CONFLICT (id) DO UPDATE SET title = 'y'
WITH RECURSIVE up AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM up WHERE n < 3) SELECT * FROM up, app.users
SELECT * FROM app.tasks FOR KEY SHARE
SELECT * FROM app.open_tasks FOR UPDATE
UPDATE app.open_tasks SET title = 'x'
LOCK TABLE app.first_tasks IN ROW EXCLUSIVE MODE
TABLE app.users
VALUES (1)
CREATE INDEX base_at ON app.base (at)
CREATE INDEX IF NOT EXISTS tasks_title ON app.tasks (title)
DROP INDEX app.tasks_title
DROP INDEX app.events_id
DROP INDEX IF EXISTS app.nowhere
REINDEX INDEX app.tasks_title
REINDEX TABLE app.tasks
CREATE TRIGGER again AFTER INSERT ON app.tasks FOR EACH ROW EXECUTE FUNCTION app.note()
CREATE TRIGGER again AFTER INSERT ON app.events FOR EACH ROW EXECUTE FUNCTION app.note()
DROP TRIGGER note ON app.noted
ALTER TRIGGER note ON app.noted RENAME TO notes
ALTER TABLE app.noted DISABLE TRIGGER note
ALTER TABLE app.noted ENABLE TRIGGER USER
ALTER TABLE app.noted DISABLE RULE stay
ALTER TABLE app.tasks ENABLE ROW LEVEL SECURITY
ALTER TABLE app.tasks FORCE ROW LEVEL SECURITY
CREATE POLICY own ON app.tasks USING (user_id IN (SELECT id FROM app.users))
ALTER POLICY mine ON app.noted USING (id > 1)
DROP POLICY mine ON app.noted
CREATE RULE kept AS ON DELETE TO app.marks DO INSTEAD NOTHING
DROP RULE stay ON app.noted
ALTER TABLE app.tasks ALTER COLUMN title SET STATISTICS 500
ALTER TABLE app.tasks ALTER COLUMN title SET (n_distinct = 5)
ALTER TABLE app.tasks ALTER COLUMN notes SET STORAGE EXTERNAL
ALTER TABLE app.tasks ALTER COLUMN notes SET COMPRESSION pglz
ALTER TABLE app.tasks SET (fillfactor = 70)
ALTER TABLE app.tasks RESET (autovacuum_enabled)
ALTER TABLE app.tasks SET (autovacuum_enabled = false, toast.autovacuum_enabled = false)
ALTER TABLE app.tasks CLUSTER ON tasks_title
ALTER TABLE app.noted SET UNLOGGED
ALTER TABLE app.tasks REPLICA IDENTITY FULL
ALTER TABLE app.tasks OWNER TO CURRENT_USER
ALTER TABLE app.tasks SET SCHEMA app2
ALTER TABLE app.tasks ALTER COLUMN id DROP IDENTITY
ALTER TABLE app.tasks ALTER COLUMN id RESTART WITH 100
ALTER TABLE app.tasks ADD COLUMN x int, ALTER COLUMN small TYPE bigint, DROP COLUMN user_id
ALTER TABLE IF EXISTS app.nowhere ADD COLUMN x int
ALTER INDEX app.tasks_title SET (fillfactor = 70)
ALTER VIEW app.open_tasks RENAME TO opened
ALTER VIEW app.open_tasks SET (security_barrier)
ALTER SEQUENCE app.numbers RESTART
ALTER SEQUENCE app.numbers OWNED BY app.tasks.points
CREATE SEQUENCE app.more OWNED BY app.tasks.points
DROP SEQUENCE app.numbers
DROP SEQUENCE app.comments_id_seq CASCADE
CLUSTER app.tasks USING tasks_title
TRUNCATE app.marks
TRUNCATE app.tasks CASCADE
TRUNCATE app.events
DROP TABLE app.single
DROP TABLE app.marks
DROP TABLE app.tasks CASCADE
DROP TABLE app.users CASCADE
DROP TABLE app.events
DROP TABLE app.events_2024
DROP TABLE app.days_2024
DROP TABLE IF EXISTS app.nowhere
DROP VIEW app.first_tasks
DROP VIEW app.open_tasks CASCADE
DROP MATERIALIZED VIEW app.totals
CREATE VIEW app.seen AS SELECT t.id, u.email FROM app.tasks t JOIN app.users u ON u.id = t.user_id
CREATE OR REPLACE VIEW app.first_tasks AS SELECT id FROM app.tasks
CREATE VIEW app.seen AS SELECT * FROM app.first_tasks
CREATE MATERIALIZED VIEW app.kept AS SELECT id FROM app.tasks
REFRESH MATERIALIZED VIEW app.totals
REFRESH MATERIALIZED VIEW CONCURRENTLY app.totals
COMMENT ON TABLE app.tasks IS 'what is to be done'
COMMENT ON COLUMN app.tasks.title IS 'what it is called'
COMMENT ON INDEX app.tasks_title IS 'for the list'
COMMENT ON CONSTRAINT points_positive ON app.tasks IS 'more than none'
COMMENT ON TRIGGER note ON app.noted IS 'notes'
COMMENT ON TYPE app.status IS 'of a task'
GRANT SELECT ON app.tasks TO PUBLIC
REVOKE ALL ON ALL TABLES IN SCHEMA app FROM PUBLIC
ALTER DEFAULT PRIVILEGES IN SCHEMA app GRANT SELECT ON TABLES TO PUBLIC
INSERT INTO app.marks VALUES (1, 1, 'text')
INSERT INTO app.marks SELECT id, user_id, title FROM app.tasks
INSERT INTO app.events VALUES (9, '2024-03-03', 1), (9, '2025-03-03', 1), (9, '2031-03-03', 1)
INSERT INTO app.users (id) VALUES (1) ON CONFLICT DO NOTHING
UPDATE app.tasks SET title = 'x' WHERE id = 1
UPDATE app.tasks SET user_id = 2
UPDATE app.marks SET body = t.title FROM app.tasks t WHERE t.id = marks.task_id
UPDATE app.users SET id = 100 WHERE id = 25
DELETE FROM app.marks
DELETE FROM app.tasks WHERE id = 1
DELETE FROM app.tasks
WITH gone AS (DELETE FROM app.marks RETURNING task_id) SELECT count(*) FROM gone
WITH tasks AS (SELECT id FROM app.tasks) SELECT * FROM tasks
MERGE INTO app.marks m USING app.single s ON s.id = m.task_id WHEN MATCHED THEN DELETE
SELECT * FROM app.tasks t JOIN app.users u ON u.id = t.user_id FOR UPDATE OF t
SELECT * FROM app.first_tasks
SELECT count(*) FROM app.events
SELECT count(*) FROM app.base
SELECT count(*) FROM ONLY app.base
SELECT 1 WHERE EXISTS (SELECT FROM app.noted)
LOCK TABLE app.tasks IN SHARE ROW EXCLUSIVE MODE
LOCK TABLE app.events
LOCK TABLE ONLY app.base IN SHARE MODE
CREATE TYPE app.kind AS ENUM ('a')
CREATE TYPE app.pair AS (a int, b int)
ALTER TYPE app.status ADD VALUE 'late'
ALTER TYPE app.status RENAME VALUE 'done' TO 'finished'
ALTER TYPE app.status RENAME TO state
DROP TYPE app.status CASCADE
DROP DOMAIN app.email CASCADE
CREATE DOMAIN app.positive AS int CHECK (VALUE > 0)
ALTER DOMAIN app.label ADD CHECK (VALUE <> '')
ALTER DOMAIN app.label SET NOT NULL
ALTER DOMAIN app.label ADD CHECK (VALUE <> '') NOT VALID
CREATE FUNCTION app.counted() RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM app.tasks'
CREATE FUNCTION app.blank() RETURNS int LANGUAGE plpgsql AS 'BEGIN DELETE FROM app.tasks; RETURN 1; END'
DROP FUNCTION app.note() CASCADE
CREATE EXTENSION pgcrypto SCHEMA app
CREATE SCHEMA app3
DROP SCHEMA app2
ANALYZE app.tasks
ANALYZE app.events
CREATE STATISTICS app.paired ON title, notes FROM app.tasks
SET LOCAL statement_timeout = '5s'
SELECT setval('app.numbers', 5)
EXPLAIN SELECT * FROM app.tasks
CREATE TABLE app.fresh (id int); CREATE INDEX fresh_id ON app.fresh (id); DROP INDEX app.fresh_id; DROP TABLE app.single
""".strip().splitlines()

LOCKS = """
SELECT relation, mode FROM pg_locks
WHERE pid = pg_backend_pid() AND locktype = 'relation' AND database = (
    SELECT oid FROM pg_database WHERE datname = current_database())
"""
RELATIONS = """
SELECT c.oid::bigint, format('%I.%I', nspname, relname), relfilenode::bigint, pg_stat_get_xact_numscans(c.oid)
FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
WHERE nspname LIKE 'app%' AND relkind IN ('r', 'p', 'm', 'f', 'v')
"""


# A query that reads rows is not a scan, because the server's planner decides how it reads.
ROWS = re.compile(r"(?!CREATE UNIQUE|CREATE INDEX)(.*\b(SELECT|INSERT|UPDATE|DELETE|MERGE)\b(?! \d)|REFRESH|TABLE)")
# A join with the table of a foreign key, which on a few rows reads all of them.
JOINED = {
    "ALTER TABLE app.tasks ADD COLUMN x int DEFAULT 1 REFERENCES app.users": {"app.users"},
    "ALTER TABLE app.tasks ALTER COLUMN user_id TYPE bigint": {"app.users"},
    "ALTER TABLE app.marks ADD FOREIGN KEY (user_id) REFERENCES app.users": {"app.users"},
    "ALTER TABLE app.marks VALIDATE CONSTRAINT marks_user": {"app.users"},
    "ALTER TABLE app.events ADD FOREIGN KEY (id) REFERENCES app.noted": {"app.noted"},
}


@pytest.fixture(scope="module")
def prepared(server: Server) -> Iterator[Database]:
    """A database with SCHEMA in it, owned by a role without further rights. No test changes it."""
    fresh = Database(server, f"test_{secrets.token_hex(6)}")
    names = {"database": sql.Identifier(fresh.name), "owner": sql.Identifier(f"{fresh.name}_owner")}
    with Database(server, "postgres").connect() as admin:
        admin.execute(sql.SQL("CREATE DATABASE {database} TEMPLATE template0").format(**names))
        admin.execute(sql.SQL("CREATE ROLE {owner}").format(**names))
        admin.execute(sql.SQL("GRANT {owner} TO CURRENT_USER").format(**names))
        admin.execute(sql.SQL("GRANT CREATE ON DATABASE {database} TO {owner}").format(**names))
    with session(fresh) as owner:
        owner.execute("CREATE SCHEMA app")
        owner.execute("CREATE SCHEMA app2")
        owner.execute(SCHEMA.encode())
    yield fresh
    drop_database(fresh)


def session(database: Database, **options: Any) -> psycopg.Connection:
    connection = database.connect(**options)
    connection.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(f"{database.name}_owner")))
    connection.execute("SET search_path = app")
    connection.execute("SET TimeZone = 'Europe/Berlin'")
    return connection


def catalog_of(connection: psycopg.Connection) -> Catalog:
    [(document,)] = connection.execute(QUERY.encode()).fetchall()
    return Catalog.of(document)


def in_words(mode: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", mode.removesuffix("Lock")).upper()


def strongest(locks: list[tuple[str, str]]) -> dict[str, str]:
    found: dict[str, str] = {}
    for table, mode in locks:
        found[table] = max(found.get(table, mode), mode, key=MODES.index)
    return found


def needs_14(statement: str, major: int) -> None:
    """Skip statements that PostgreSQL 13 does not have, and DETACH PARTITION, which takes a weaker lock there."""
    if major < 14 and re.search(r"DETACH PARTITION|SET COMPRESSION|REINDEX \(", statement):
        pytest.skip("PostgreSQL 13 has another statement, or a weaker lock")


def told(found: Effects) -> dict[str, str]:
    return {lock.table: lock.mode for lock in found.locks}


@pytest.mark.few(40)
@pytest.mark.parametrize("statement", CASES)
def test_locks_and_rewrites_are_those_that_the_server_shows(prepared: Database, statement: str, major: int) -> None:
    """Compare the strongest lock and the file of every table that the statement touches."""
    needs_14(statement, major)
    with session(prepared, autocommit=False) as connection:
        connection.commit()
        found = effects(statement, catalog_of(connection))
        before = {oid: (name, file, scans) for oid, name, file, scans in connection.execute(RELATIONS)}
        connection.rollback()
        connection.execute(statement.encode())
        held = connection.execute(LOCKS).fetchall()
        later = {oid: (name, file, scans) for oid, name, file, scans in connection.execute(RELATIONS)}
        connection.rollback()
    names = {oid: (before.get(oid) or later[oid])[0] for oid in before | later}
    assert told(found) == strongest([(names[oid], in_words(mode)) for oid, mode in held if oid in names])
    both, made = before.keys() & later.keys(), {names[oid] for oid in later.keys() - before.keys()}
    rewritten = {before[oid][0] for oid in both if before[oid][1] != later[oid][1]}
    assert set(found.rewrites) == rewritten
    if not ROWS.match(statement):
        read = {before[oid][0] for oid in both if later[oid][2] > 0}
        assert {each for each in found.scans if each in names.values()} - made == read - rewritten - JOINED.get(
            statement, set()
        )


@pytest.mark.few(20)
@pytest.mark.parametrize("statement", CASES)
def test_what_a_statement_leaves_is_what_is_read_of_the_server_then(
    prepared: Database, statement: str, major: int
) -> None:
    """The next statement of a plan is judged by these tables, which do not exist yet."""
    needs_14(statement, major)
    with session(prepared, autocommit=False) as connection:
        connection.commit()
        concluded = after(statement, catalog_of(connection))
        connection.execute(statement.encode())
        there = catalog_of(connection)
        connection.rollback()
    if "id INTO app.fresh" in statement or "TABLE app.fresh AS" in statement:
        # The analysis does not derive the columns of a query's result.
        concluded.relations["app.fresh"].columns.update(id=Column("bigint"))
    assert tables_of(concluded) == tables_of(there)


def tables_of(catalog: Catalog) -> dict[str, Any]:
    """Return what decides on the locks of each table and view: columns that refuse nulls, keys, parents, parts."""
    return {
        each.name: (
            each.kind,
            {name: column.not_null for name, column in each.columns.items()} if each.kind in "rp" else None,
            {(key.columns, key.target, key.validated) for key in each.constraints if key.target},
            each.parents,
            each.default_partition,
            {used for used, _ in each.uses},
            each.triggers,
        )
        for each in catalog.relations.values()
        if each.kind in "rpmfv"
    }


@pytest.mark.parametrize(
    ("statement", "line"), [("COPY app.marks FROM STDIN", b"1\t1\ttext\n"), ("COPY app.tasks TO STDOUT", b"")]
)
def test_copy_locks_as_insert_and_select_do(prepared: Database, statement: str, line: bytes) -> None:
    with session(prepared, autocommit=False) as connection:
        connection.commit()
        found = effects(statement, catalog_of(connection))
        connection.rollback()
        with connection.cursor() as cursor, cursor.copy(statement.encode()) as copy:
            if line:
                copy.write(line)
            else:
                list(copy)
        held = connection.execute(LOCKS).fetchall()
        names = {oid: name for oid, name, *_ in connection.execute(RELATIONS)}
        connection.rollback()
    assert told(found) == strongest([(names[oid], in_words(mode)) for oid, mode in held if oid in names])


def test_the_catalog_is_read_past_every_lock_that_a_migration_can_hold(own_copy: Database) -> None:
    """The query locks no table itself, so a preview neither waits for a migration nor blocks anything."""
    with session(own_copy, autocommit=False) as migration, session(own_copy, autocommit=False) as reader:
        migration.commit()
        for (name,) in migration.execute(
            "SELECT format('%I', relname) FROM pg_class WHERE relkind IN ('r', 'p', 'v')"
            " AND relnamespace = 'app'::regnamespace"
        ).fetchall():
            migration.execute(f"LOCK TABLE app.{name} IN ACCESS EXCLUSIVE MODE".encode())
        migration.execute("DROP INDEX app.tasks_title")
        reader.commit()
        reader.execute("SET LOCAL lock_timeout = '10ms'")
        assert "app.tasks" in catalog_of(reader).relations
        names = {oid for oid, *_ in reader.execute(RELATIONS)}
        assert not names & {oid for oid, _ in reader.execute(LOCKS)}
        migration.rollback()


OUTSIDE = [
    ("CREATE INDEX CONCURRENTLY tasks_notes ON app.tasks (notes)", "app.tasks"),
    ("CREATE UNIQUE INDEX CONCURRENTLY users_nick ON app.users (nick)", "app.users"),
    ("DROP INDEX CONCURRENTLY app.tasks_title", "app.tasks"),
    ("REINDEX TABLE CONCURRENTLY app.tasks", "app.tasks"),
    ("REINDEX (CONCURRENTLY) INDEX app.tasks_points", "app.tasks"),
    ("ALTER TABLE app.days DETACH PARTITION app.days_2024 CONCURRENTLY", "app.days"),
    ("VACUUM app.tasks", "app.tasks"),
    ("VACUUM (FULL) app.noted", "app.noted"),
    ("VACUUM (FULL off, ANALYZE) app.noted", "app.noted"),
]


@pytest.mark.few(2)
@pytest.mark.parametrize(("statement", "table"), OUTSIDE)
def test_outside_a_transaction_too(own_copy: Database, statement: str, table: str, major: int) -> None:
    """If another session holds a lock on the table, the statement waits for the mode that the analysis states."""
    needs_14(statement, major)
    with session(own_copy) as watcher, session(own_copy, autocommit=False) as blocker:
        blocker.commit()
        found = effects(statement, catalog_of(watcher))
        files = dict(watcher.execute("SELECT oid::regclass::text, relfilenode FROM pg_class WHERE relkind = 'r'"))
        blocker.execute(sql.SQL("LOCK TABLE ONLY {} IN EXCLUSIVE MODE").format(sql.SQL(table)))
        thread = threading.Thread(target=run_in_session, args=(own_copy, statement))
        thread.start()
        waited_for = await_waiting(watcher, table)
        blocker.rollback()
        thread.join(30)
        later = dict(watcher.execute("SELECT oid::regclass::text, relfilenode FROM pg_class WHERE relkind = 'r'"))
    assert told(found)[table] == in_words(waited_for)
    assert {f"app.{name}" for name, file in files.items() if later[name] != file} == set(found.rewrites)


def run_in_session(database: Database, statement: str) -> None:
    with session(database) as connection:
        connection.execute(statement.encode())


def await_waiting(watcher: psycopg.Connection, table: str) -> str:
    """Return the mode that a session waits for on the table, as soon as one waits."""
    for _ in range(500):
        rows = watcher.execute(
            "SELECT mode FROM pg_locks WHERE NOT granted AND relation = %s::regclass", [table]
        ).fetchall()
        if rows:
            return str(rows[0][0])
        time.sleep(0.02)
    raise AssertionError(f"no session waits for a lock on {table}")


def test_detach_concurrently_ends_with_readers_of_the_part_kept_out(own_copy: Database, major: int) -> None:
    statement = "ALTER TABLE app.days DETACH PARTITION app.days_2024 CONCURRENTLY"
    needs_14(statement, major)
    with session(own_copy) as watcher, session(own_copy, autocommit=False) as reader:
        found = effects(statement, catalog_of(watcher))
        reader.commit()
        reader.execute("SELECT FROM app.days_2024")
        thread = threading.Thread(target=run_in_session, args=(own_copy, statement))
        thread.start()
        waited_for = await_waiting(watcher, "app.days_2024")
        reader.rollback()
        thread.join(30)
    assert told(found) == {"app.days": "SHARE UPDATE EXCLUSIVE", "app.days_2024": in_words(waited_for)}


@pytest.fixture
def own_copy(prepared: Database) -> Iterator[Database]:
    """A copy of the database that a test can change."""
    owner = sql.Identifier(f"{prepared.name}_owner")
    fresh = Database(prepared.server, f"test_{secrets.token_hex(6)}")
    with Database(prepared.server, "postgres").connect() as admin:
        admin.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(fresh.name), sql.Identifier(prepared.name))
        )
        admin.execute(sql.SQL("CREATE ROLE {}").format(sql.Identifier(f"{fresh.name}_owner")))
        admin.execute(sql.SQL("GRANT {} TO {}").format(owner, sql.Identifier(f"{fresh.name}_owner")))
        admin.execute(sql.SQL("GRANT {} TO CURRENT_USER").format(sql.Identifier(f"{fresh.name}_owner")))
    yield fresh
    drop_database(fresh)
