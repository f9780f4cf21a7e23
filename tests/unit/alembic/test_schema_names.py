"""Statements that reach beyond the current schema are recognized, whatever kind of object they are about."""

import pytest

from pulumi_alembic.sql.schema_names import beyond_schema


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE app.t (id int)",
        "ALTER TABLE t ADD COLUMN x app.mood",
        "ALTER TABLE t ADD CONSTRAINT c FOREIGN KEY (x) REFERENCES app.u (id)",
        "ALTER TABLE t SET SCHEMA app",
        "ALTER TABLE app.t OWNER TO y",
        "ALTER INDEX app.i RENAME TO j",
        "CREATE TABLE t (a text COLLATE app.c)",
        "CREATE TABLE t (a int DEFAULT nextval('app.q'::regclass))",
        "SELECT nextval('app.q')",
        "SELECT 'app.t'::regclass",
        "SELECT app.f(1)",
        "SELECT app.t.b FROM t",
        "SELECT 1 OPERATOR(app.+) 2",
        "CREATE VIEW v AS SELECT * FROM app.t",
        "CREATE INDEX i ON t (a app.ops)",
        "CREATE TYPE app.mood AS ENUM ('a')",
        "ALTER TYPE app.mood ADD VALUE 'x'",
        "CREATE DOMAIN app.d AS int",
        "CREATE SEQUENCE app.s",
        "CREATE STATISTICS app.s ON a, b FROM t",
        "CREATE AGGREGATE app.g(int) (sfunc = f, stype = int)",
        "CREATE POLICY p ON t USING (app.f())",
        "CREATE TRIGGER x BEFORE UPDATE ON t FOR EACH ROW EXECUTE FUNCTION app.f()",
        "CREATE FUNCTION app.f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "CREATE FUNCTION f() RETURNS int LANGUAGE sql SET search_path = app AS 'SELECT 1'",
        "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT id FROM app.t'",
        "CREATE FUNCTION f() RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT id FROM app.t; END",
        "ALTER FUNCTION app.f() OWNER TO x",
        "DROP FUNCTION app.f(int)",
        "DROP TABLE t, app.u",
        "DROP TRIGGER x ON app.t",
        "DROP OPERATOR CLASS app.x USING btree",
        "COMMENT ON COLUMN app.t.a IS 'x'",
        "COMMENT ON SCHEMA app IS 'x'",
        "CREATE SCHEMA app",
        "DROP SCHEMA app",
        "ALTER SCHEMA app RENAME TO y",
        "ALTER SCHEMA app OWNER TO y",
        "GRANT USAGE ON SCHEMA app TO y",
        "GRANT SELECT ON ALL TABLES IN SCHEMA app TO y",
        "ALTER DEFAULT PRIVILEGES IN SCHEMA app GRANT SELECT ON TABLES TO y",
        "CREATE PUBLICATION p FOR TABLES IN SCHEMA app",
        "SET search_path = app",
        "SET LOCAL search_path TO pg_catalog, app",
        "SELECT set_config('search_path', 'app', true)",
        "DO $$ BEGIN PERFORM app.f(); END $$",
        "DO $$ BEGIN INSERT INTO app.t VALUES (1); END $$",
        "SELECT 1; TRUNCATE app.t",
    ],
)
def test_a_name_of_a_schema_is_found(statement: str) -> None:
    assert beyond_schema(statement, ["app"]) == "names the schema app"


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE t (id int PRIMARY KEY, other int REFERENCES u (id), UNIQUE (id, other))",
        "SELECT t.a, (t.b).c.d FROM t",
        "SELECT a FROM pg_catalog.pg_class WHERE a OPERATOR(pg_catalog.=) 1",
        "INSERT INTO t VALUES ('app.t')",
        "DROP TRIGGER x ON t",
        "COMMENT ON COLUMN t.a IS 'x'",
        "GRANT SELECT ON t TO y",
        "SELECT nextval('s')",
        "SET LOCAL search_path TO pg_catalog",
        "DO $$ BEGIN NEW.a = app.b; END $$",
        "DO $$ BEGIN PERFORM other.f(); END $$",
        "ALTER TABLE t RENAME COLUMN a TO b",
        "this is not SQL",
    ],
)
def test_a_statement_without_one_is_left_alone(statement: str) -> None:
    assert beyond_schema(statement, ["app"]) == ""


@pytest.mark.parametrize(
    "statement", ["CREATE EXTENSION IF NOT EXISTS citext", "DROP EXTENSION citext", "ALTER EXTENSION citext UPDATE"]
)
def test_an_extension_belongs_to_all_schemas(statement: str) -> None:
    assert beyond_schema(statement) == "changes the extension citext, which all schemas share"
