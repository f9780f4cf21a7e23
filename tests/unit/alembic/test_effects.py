"""Static analysis of a statement without a server: what it destroys, what it hides, and which tables it leaves."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import pytest

from pulumi_alembic.sql.catalog import Catalog, Relation, quoted
from pulumi_alembic.sql.effects import after, effects
from pulumi_alembic.sql.locks import Effects, Lock

TABLES = """
    CREATE TABLE app.users (id int PRIMARY KEY, email text);
    CREATE TABLE app.tasks (id int PRIMARY KEY, user_id int REFERENCES app.users ON DELETE CASCADE, title varchar(50),
                            price numeric(10, 4), size bigint, due timestamptz, at timestamptz NOT NULL);
    CREATE VIEW app.titles AS SELECT title FROM app.tasks;
    CREATE TYPE app.status AS ENUM ('open');
    CREATE TABLE app.jobs (id int, status app.status);
    CREATE FUNCTION app.work() RETURNS int LANGUAGE plpgsql AS 'BEGIN RETURN 1; END';
    CREATE TABLE app.noted (id int);
    CREATE TRIGGER note AFTER INSERT ON app.noted FOR EACH ROW EXECUTE FUNCTION app.note();
"""


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    """Return these tables, as tables that existed before the plan."""
    made = after("SET search_path = app; " + TABLES, None)
    return replace(made, relations={name: _not_new(relation) for name, relation in made.relations.items()})


def _not_new(relation: Relation) -> Relation:
    return replace(relation, columns={name: replace(each, new=False) for name, each in relation.columns.items()})


@pytest.mark.parametrize(
    ("statement", "destroyed"),
    [
        ("DROP TABLE app.jobs", ["table app.jobs"]),
        ("DROP TABLE app.jobs, app.noted", ["table app.jobs", "table app.noted"]),
        ("DROP TABLE app.tasks CASCADE", ["table app.tasks", "view app.titles"]),
        ("DROP TABLE IF EXISTS app.nowhere", []),
        ("ALTER TABLE app.tasks DROP COLUMN title CASCADE", ["column app.tasks.title", "view app.titles"]),
        ("ALTER TABLE app.tasks DROP COLUMN IF EXISTS nowhere", []),
        ("DROP SCHEMA app", ["schema app"]),
        (
            "DROP SCHEMA app CASCADE",
            [
                "schema app",
                "table app.users",
                "table app.tasks",
                "view app.titles",
                "table app.jobs",
                "table app.noted",
            ],
        ),
        ("DROP TYPE app.status", ["type app.status"]),
        ("DROP TYPE app.status CASCADE", ["type app.status", "column app.jobs.status"]),
        ("DROP SEQUENCE app.numbers", ["sequence app.numbers"]),
        ("DROP MATERIALIZED VIEW app.sums", ["materialized view app.sums"]),
        ("DROP FUNCTION app.work(int)", ["function app.work"]),
        ("DROP CAST (int AS app.status)", ["cast pg_catalog.int4 to app.status"]),
        ("DROP OWNED BY someone", ["everything that someone owns"]),
        ("DROP DATABASE tasks", ["database tasks"]),
        ("DROP ROLE someone", ["role someone"]),
        ("DROP INDEX IF EXISTS app.tasks_pkey", []),
        ("TRUNCATE app.jobs", ["rows of app.jobs"]),
        ("TRUNCATE app.users CASCADE", ["rows of app.users", "rows of app.tasks"]),
        ("DELETE FROM app.jobs", ["rows of app.jobs"]),
        ("DELETE FROM app.jobs WHERE id = 1", ["some rows of app.jobs"]),
        ("DELETE FROM app.users WHERE id = 1", ["some rows of app.users", "some rows of app.tasks"]),
        ("WITH gone AS (DELETE FROM app.jobs RETURNING id) SELECT * FROM gone", ["rows of app.jobs"]),
        ("UPDATE app.tasks SET title = 'x', size = 1", ["values of app.tasks.title", "values of app.tasks.size"]),
        ("UPDATE app.tasks SET title = 'x' WHERE id = 1", []),
        ("ALTER TABLE app.tasks ADD extra int; UPDATE app.tasks SET extra = 1", []),
        ("ALTER TABLE app.tasks ALTER title TYPE text", []),
        ("ALTER TABLE app.tasks ALTER title TYPE varchar(10)", []),
        ("ALTER TABLE app.tasks ALTER title TYPE varchar(10) USING title::varchar(10)", ["values of app.tasks.title"]),
        ("ALTER TABLE app.tasks ALTER title TYPE varchar(90) USING title::varchar(90)", []),
        ("ALTER TABLE app.tasks ALTER title TYPE text USING upper(title)", ["values of app.tasks.title"]),
        ("ALTER TABLE app.tasks ALTER title TYPE text USING title", []),
        ("ALTER TABLE app.tasks ALTER size TYPE int", []),
        ("ALTER TABLE app.tasks ALTER size TYPE int USING size::int", ["values of app.tasks.size"]),
        ("ALTER TABLE app.tasks ALTER price TYPE numeric(10, 2)", ["values of app.tasks.price"]),
        ("ALTER TABLE app.tasks ALTER price TYPE numeric(12, 4)", []),
        ("ALTER TABLE app.tasks ALTER due TYPE date", ["values of app.tasks.due"]),
        ("EXPLAIN DELETE FROM app.jobs", []),
        ("EXPLAIN (ANALYZE) DELETE FROM app.jobs", ["rows of app.jobs"]),
        ("CREATE FUNCTION app.f() RETURNS void LANGUAGE sql AS 'DELETE FROM app.jobs'", []),
        ("ALTER TYPE app.pair DROP ATTRIBUTE a", ["attribute app.pair.a"]),
    ],
)
def test_what_is_gone_is_named_with_its_kind(catalog: Catalog, statement: str, destroyed: list[str]) -> None:
    assert list(effects(statement, catalog).destroys) == destroyed


@pytest.mark.parametrize(
    ("statement", "unknown"),
    [
        ("DO $$ BEGIN DELETE FROM app.tasks; END $$", "DO block"),
        ("CALL app.tidy()", "CALL of a procedure"),
        ("EXECUTE emptying", "EXECUTE of a prepared statement"),
        ("SELECT app.work()", "function app.work"),
        ("SELECT work()", "function app.work"),
        ("SELECT partman.create_parent('app.tasks')", "function partman.create_parent"),
        ("SELECT query_to_xml('DELETE FROM app.tasks', true, true, '')", "function query_to_xml"),
        ("UPDATE app.tasks SET size = app.work() WHERE id = 1", "function app.work"),
        ("ALTER TABLE app.tasks ADD COLUMN x int DEFAULT app.work()", "function app.work"),
        ("INSERT INTO app.noted VALUES (1)", "trigger note on app.noted"),
        ("COPY app.noted FROM STDIN", "trigger note on app.noted"),
        ("COPY app.tasks TO PROGRAM 'cat'", "program cat"),
        ("SELEC 1", 'SQL that PostgreSQL 18\'s parser refuses: syntax error at or near "SELEC"'),
        ("WITH a AS (" * 600 + "SELECT 1" + ") SELECT 1" * 600, "a statement that is nested too deeply to follow"),
        ("DROP INDEX app.nowhere", "the table of index app.nowhere"),
        ("REINDEX SCHEMA app", "every index of the schema app"),
        ("VACUUM", "every table that the role may vacuum"),
        ("CLUSTER", "every table that was clustered before"),
        ("DROP EXTENSION pgcrypto CASCADE", "what needs extension pgcrypto"),
        ("ALTER EXTENSION pgcrypto UPDATE", "the script of an extension's update"),
        ("REASSIGN OWNED BY a TO b", "every object of a role"),
        ("ALTER SYSTEM SET work_mem = '1GB'", "a statement of the kind AlterSystem"),
    ],
)
def test_what_no_text_shows_is_told_as_unknown(catalog: Catalog, statement: str, unknown: str) -> None:
    assert effects(statement, catalog).unknown == (unknown,)


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT now(), lower('A'), count(*) FROM app.tasks",
        "ALTER TABLE app.tasks ADD x uuid DEFAULT gen_random_uuid()",
        "SELECT setval('app.numbers', 1)",
        "CREATE VIEW app.worked AS SELECT app.work()",
        "SELECT pg_advisory_xact_lock(1)",
        "SET statement_timeout = 0",
        "",
        "-- a comment alone",
    ],
)
def test_what_is_known_is_not_told_as_unknown(catalog: Catalog, statement: str) -> None:
    assert effects(statement, catalog).unknown == ()


def test_several_statements_have_the_strongest_lock_of_each_table(catalog: Catalog) -> None:
    text = "SELECT * FROM app.jobs; CREATE INDEX ON app.jobs (id); ALTER TABLE app.tasks DROP COLUMN size; VALUES (1)"
    assert effects(text, catalog) == Effects(
        (Lock("app.jobs", "SHARE"), Lock("app.tasks", "ACCESS EXCLUSIVE")),
        (),
        ("app.jobs",),
        ("column app.tasks.size",),
    )


def test_a_table_that_the_plan_created_has_known_keys_and_types() -> None:
    made = after("CREATE TABLE app.a (id int PRIMARY KEY, t varchar(10))", None)
    made = after("CREATE TABLE app.b (a_id int REFERENCES app.a); CREATE INDEX b_a ON app.b (a_id)", made)
    assert effects("DROP INDEX app.b_a", made).locks == (Lock("app.b", "ACCESS EXCLUSIVE"),)
    assert {each.table for each in effects("DROP TABLE app.b", made).locks} == {"app.a", "app.b"}
    assert effects("ALTER TABLE app.a ALTER t TYPE varchar(20)", made).rewrites == ()
    made = after("ALTER TABLE app.a RENAME TO c; ALTER TABLE app.c SET SCHEMA old", made)
    assert {each.table for each in effects("DROP TABLE app.b", made).locks} == {"old.c", "app.b"}
    made = after("DROP TABLE app.b", made)
    assert effects("DROP TABLE IF EXISTS app.b", made) == Effects()


def test_columns_follow_their_type_to_another_name() -> None:
    made = after("CREATE TYPE app.mood AS ENUM ('a'); CREATE TABLE app.t (m app.mood, n app.mood[], o text)", None)
    made = after('ALTER TYPE app.mood RENAME TO "Mood"; CREATE TABLE app.u (m app."Mood", n app."Mood"[])', made)
    types = {name: [column.type for column in relation.columns.values()] for name, relation in made.relations.items()}
    assert types == {"app.t": ['app."Mood"', 'app."Mood"[]', "text"], "app.u": ['app."Mood"', 'app."Mood"[]']}
    assert not {"app.mood"} & made.types.keys()


@pytest.mark.parametrize("rename", ["", "ALTER TABLE app.b RENAME COLUMN id TO number"])
def test_a_primary_key_of_an_index_on_a_required_column_scans_no_table(rename: str) -> None:
    made = after("CREATE TABLE app.b (id bigint NOT NULL, n int); CREATE UNIQUE INDEX b_new ON app.b (id)", None)
    made = after(f"CREATE UNIQUE INDEX b_n ON app.b (n); {rename}", made)
    assert effects("ALTER TABLE app.b ADD CONSTRAINT b_pkey PRIMARY KEY USING INDEX b_new", made).scans == ()
    assert effects("ALTER TABLE app.b ADD CONSTRAINT b_pkey PRIMARY KEY USING INDEX b_n", made).scans == ("app.b",)


def test_behind_what_is_not_known_a_table_may_be_there_after_all() -> None:
    made = after("DO $$ BEGIN CREATE TABLE app.hidden (id int); END $$", None)
    assert effects("DROP TABLE IF EXISTS app.hidden", made).destroys == ("table app.hidden",)


def test_a_type_change_of_an_unknown_column_rewrites_the_table() -> None:
    assert effects("ALTER TABLE app.tasks ALTER title TYPE text", None).rewrites == ("app.tasks",)


def test_a_name_without_schema_is_found_along_the_search_path() -> None:
    made = after("SET search_path = app, public; CREATE TABLE tasks (id int)", None)
    assert effects("ALTER TABLE tasks ADD x int", made).locks == (Lock("app.tasks", "ACCESS EXCLUSIVE"),)
    assert effects("CREATE TEMP TABLE tasks (id int)", made).locks == (Lock("pg_temp.tasks", "ACCESS EXCLUSIVE"),)
    made = after("CREATE TEMP TABLE tasks (id int)", made)
    assert effects("DROP TABLE tasks", made).destroys == ("table pg_temp.tasks",)


def test_what_is_made_without_schema_goes_to_the_first_of_the_path() -> None:
    made = after("CREATE TABLE public.tasks (id int); SET search_path = app, public", None)
    assert effects("ALTER TABLE tasks ADD x int", made).locks == (Lock("public.tasks", "ACCESS EXCLUSIVE"),)
    made = after("CREATE TABLE tasks (id int)", made)
    assert effects("ALTER TABLE tasks ADD x int", made).locks == (Lock("app.tasks", "ACCESS EXCLUSIVE"),)


def test_a_name_of_a_with_clause_hides_a_table_but_not_from_its_own_query(catalog: Catalog) -> None:
    assert effects("WITH jobs AS (SELECT 1) SELECT * FROM jobs", catalog).locks == ()
    hidden = "WITH jobs AS (SELECT * FROM jobs) SELECT * FROM jobs"
    assert effects(hidden, catalog).locks == (Lock("app.jobs", "ACCESS SHARE"),)


@pytest.mark.parametrize(
    ("parts", "written"),
    [
        (("app", "tasks"), "app.tasks"),
        (("", "tasks"), "tasks"),
        (("App", "tasks"), '"App".tasks'),
        (("app", "order"), 'app."order"'),
        (("app", "value"), "app.value"),
        (("app", 'odd"name'), 'app."odd""name"'),
    ],
)
def test_a_name_is_written_as_postgresql_prints_it(parts: tuple[str, ...], written: str) -> None:
    assert quoted(*parts) == written


def test_a_session_in_utc_keeps_the_file_of_a_table_whose_times_get_a_zone(catalog: Catalog) -> None:
    change = "ALTER TABLE app.tasks ALTER due TYPE timestamp"
    assert effects(change, catalog).rewrites == ("app.tasks",)
    assert effects("SET TimeZone = 'UTC'; " + change, catalog).rewrites == ()


def test_the_parser_is_loaded_only_when_there_is_a_statement() -> None:
    code = (
        "import sys, pulumi_alembic.sql.effects, pulumi_alembic.sql.catalog;"
        "from pulumi_alembic.sql.parser import library; sys.exit(library.is_loaded())"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
