"""Changes of the catalog that are no drift, and drift of objects that depend on each other or have odd names."""

from __future__ import annotations

import psycopg
import pytest

from pulumi_alembic.drift.difference.compare import difference
from pulumi_alembic.drift.report import psql_script, reported
from tests.postgres.drift.world import World

# Existing objects, and a change that is no drift. The owner of the objects makes both.
QUIET = [
    (
        "CREATE TABLE app.logs (at date PRIMARY KEY) PARTITION BY RANGE (at);"
        "CREATE TABLE app.uses (at date REFERENCES app.logs)",
        "CREATE TABLE app.logs_1 PARTITION OF app.logs FOR VALUES FROM ('2025-01-01') TO ('2026-01-01')",
    ),
    ("", "COMMENT ON TABLE app.events_2025 IS 'the past'; COMMENT ON COLUMN app.events_2025.at IS 'when'"),
    ("", "CREATE STATISTICS app.both ON id, title FROM app.tasks; COMMENT ON STATISTICS app.both IS 'x'"),
    (
        'CREATE TABLE "A.b c" (id int PRIMARY KEY)',
        'ALTER TABLE "A.b c" RENAME CONSTRAINT "A.b c_pkey" TO "A.b c_pkey1"',
    ),
    ("", "CREATE TABLE kept.rows_1 (id int); COMMENT ON TABLE kept.rows_1 IS '{}'"),
]

# Existing objects, a change that their owner makes, and the name of the drift.
BY_OWNER = [
    ("", "COMMENT ON FUNCTION twice(int) IS 'x'", "comment function app.twice(x integer)"),
    ("COMMENT ON FUNCTION twice(int) IS 'x'", "DROP FUNCTION twice(int)", "function app.twice(x integer)"),
    ("", "COMMENT ON PROCEDURE tidy() IS 'x'", "comment procedure app.tidy()"),
    ("", "COMMENT ON TRIGGER touched ON users IS 'x'", "comment trigger app.users.touched"),
    ("", "COMMENT ON POLICY own_tasks ON tasks IS 'x'", "comment policy app.tasks.own_tasks"),
    ("", "COMMENT ON RULE keep ON base_thing IS 'x'", "comment rule app.base_thing.keep"),
    ("", "COMMENT ON CONSTRAINT name_is_short ON users IS 'x'", "comment constraint app.users.name_is_short"),
    ("", "COMMENT ON CONSTRAINT has_at ON DOMAIN email IS 'x'", "comment constraint app.email.has_at"),
    ("", "COMMENT ON INDEX tasks_due IS 'x'", "comment index app.tasks_due"),
    ("", "COMMENT ON TYPE pair IS 'x'; COMMENT ON COLUMN pair.left_side IS 'y'", "comment column app.pair.left_side"),
    ("", "COMMENT ON COLUMN open_tasks.id IS 'x'", "comment column app.open_tasks.id"),
    ("", "COMMENT ON SCHEMA app IS 'x'", "comment schema app"),
    # Dependencies, created in their order, in another order, and as a cycle.
    ("", "CREATE TABLE one (id int PRIMARY KEY); CREATE TABLE two (id int REFERENCES one)", "table app.one"),
    (
        "",
        "CREATE TABLE one (id int PRIMARY KEY, two int); CREATE TABLE two (id int PRIMARY KEY REFERENCES one);"
        "ALTER TABLE one ADD FOREIGN KEY (two) REFERENCES two",
        "table app.one",
    ),
    ("", "CREATE VIEW one AS SELECT 1 AS x; CREATE VIEW two AS SELECT x FROM one", "view app.one"),
    (
        "",
        "CREATE FUNCTION one() RETURNS int LANGUAGE sql AS 'SELECT 1'; CREATE TABLE two (id int DEFAULT one())",
        "table app.two",
    ),
    (
        "CREATE FUNCTION one() RETURNS int LANGUAGE sql AS 'SELECT 1'; CREATE TABLE two (id int DEFAULT one())",
        "DROP TABLE two; DROP FUNCTION one()",
        "table app.two",
    ),
    ("CREATE TYPE two AS ENUM ('x'); CREATE DOMAIN one AS two", "DROP DOMAIN one; DROP TYPE two", "domain app.one"),
    # The parts that a child table has from its parent.
    ("", "ALTER TABLE base_thing ADD COLUMN extra int", "column app.base_thing.extra"),
    ("", "ALTER TABLE base_thing DROP COLUMN a", "column app.base_thing.a"),
    ("", "ALTER TABLE base_thing ALTER COLUMN a TYPE bigint", "column app.base_thing.a"),
    ("", "ALTER TABLE base_thing RENAME COLUMN a TO b2", "column app.base_thing.a"),
    ("", "ALTER TABLE base_thing ADD CONSTRAINT few CHECK (a < 9)", "constraint app.base_thing.few"),
    (
        "ALTER TABLE base_thing ADD CONSTRAINT few CHECK (a < 9)",
        "ALTER TABLE base_thing DROP CONSTRAINT few",
        "constraint app.base_thing.few",
    ),
    ("", "DROP TABLE base_thing CASCADE", "table app.child_thing"),
    # Properties of a table that refer to the index of a constraint.
    (
        "ALTER TABLE users REPLICA IDENTITY USING INDEX users_pkey",
        "ALTER TABLE users REPLICA IDENTITY FULL",
        "table app.users",
    ),
    ("", "ALTER TABLE users REPLICA IDENTITY USING INDEX users_pkey", "constraint app.users.users_pkey"),
    ("", "ALTER TABLE tasks CLUSTER ON tasks_pkey", "constraint app.tasks.tasks_pkey"),
    ("ALTER TABLE tasks CLUSTER ON tasks_pkey", "ALTER TABLE tasks CLUSTER ON tasks_title", "index app.tasks_title"),
    # Objects on something that must be created again.
    (
        "COMMENT ON POLICY own_tasks ON tasks IS 'x'",
        "ALTER POLICY own_tasks ON tasks USING (true)",
        "policy app.tasks.own_tasks",
    ),
    ("COMMENT ON INDEX tasks_due IS 'x'", "ALTER INDEX tasks_due SET (fillfactor = 50)", "index app.tasks_due"),
    (
        "CREATE TRIGGER put INSTEAD OF INSERT ON open_tasks FOR EACH ROW EXECUTE FUNCTION touch();"
        "COMMENT ON TRIGGER put ON open_tasks IS 'x'; GRANT SELECT ON open_tasks TO {ro}",
        "CREATE OR REPLACE VIEW open_tasks AS SELECT id, title, due FROM tasks",
        "view app.open_tasks",
    ),
    (
        "CREATE TRIGGER put INSTEAD OF INSERT ON open_tasks FOR EACH ROW EXECUTE FUNCTION touch()",
        "DROP VIEW open_tasks; CREATE VIEW open_tasks AS SELECT title FROM tasks",
        "view app.open_tasks",
    ),
    (
        "CREATE FUNCTION plus(x int) RETURNS int LANGUAGE sql AS 'SELECT x'; COMMENT ON FUNCTION plus(int) IS 'x'",
        "CREATE OR REPLACE FUNCTION plus(x int DEFAULT 1) RETURNS int LANGUAGE sql AS 'SELECT x'",
        "function app.plus(x integer)",
    ),
    (
        "ALTER VIEW open_tasks SET (security_barrier = true, check_option = local)",
        "ALTER VIEW open_tasks RESET (security_barrier)",
        "view app.open_tasks",
    ),
    # Storage of values.
    ("", "ALTER TABLE users ALTER COLUMN name SET STORAGE EXTERNAL", "column app.users.name"),
    (
        "ALTER TABLE users ALTER COLUMN name SET STORAGE EXTERNAL",
        "ALTER TABLE users ALTER COLUMN name SET STORAGE MAIN",
        "column app.users.name",
    ),
    # Other names.
    ("", "ALTER DOMAIN email RENAME CONSTRAINT has_at TO has_one", "constraint app.email.has_at"),
    ("", "ALTER TYPE pair RENAME ATTRIBUTE left_side TO first", "column app.pair.left_side"),
    ("", 'ALTER TABLE tasks RENAME TO "Jobs.(old"', "table app.tasks"),
    ("", 'ALTER TABLE tasks RENAME COLUMN title TO "My.Title"', "column app.tasks.title"),
    (
        "CREATE FUNCTION number() RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM app.tasks'",
        "ALTER TABLE tasks RENAME TO jobs; CREATE OR REPLACE FUNCTION number() RETURNS bigint LANGUAGE sql AS"
        " 'SELECT count(*) FROM app.jobs'",
        "function app.number()",
    ),
]

ODD = """
CREATE SCHEMA "Odd.Schema"; CREATE TABLE "Odd.Schema"."T.a (b""c" ("Id.x" int PRIMARY KEY, "N (y" text UNIQUE);
CREATE FUNCTION "Odd.Schema"."f(.g"("a b" int) RETURNS int LANGUAGE sql AS 'SELECT 1';
CREATE INDEX "I.(x" ON "Odd.Schema"."T.a (b""c" ("N (y"); COMMENT ON COLUMN "Odd.Schema"."T.a (b""c"."Id.x" IS 'x'
"""
_TABLE = 'table "Odd.Schema"."T.a (b""c"'

# Changes like these that the admin makes.
BY_ADMIN = [
    (ODD, 'DROP TABLE "Odd.Schema"."T.a (b""c"', _TABLE),
    (ODD, 'ALTER TABLE "Odd.Schema"."T.a (b""c" RENAME TO t', _TABLE),
    (ODD, 'ALTER TABLE "Odd.Schema"."T.a (b""c" SET SCHEMA extensions', _TABLE),
    (ODD, 'ALTER TABLE "Odd.Schema"."T.a (b""c" RENAME COLUMN "Id.x" TO id', f'column {_TABLE[6:]}."Id.x"'),
    (ODD, 'COMMENT ON COLUMN "Odd.Schema"."T.a (b""c"."N (y" IS \'x\'', f'comment column {_TABLE[6:]}."N (y"'),
    (ODD, 'ALTER FUNCTION "Odd.Schema"."f(.g"(int) RENAME TO h', 'function "Odd.Schema"."f(.g"("a b" integer)'),
    (ODD, 'DROP SCHEMA "Odd.Schema" CASCADE', 'schema "Odd.Schema"'),
    (ODD, 'ALTER SCHEMA "Odd.Schema" RENAME TO odder', 'schema "Odd.Schema"'),
    ("", "ALTER SCHEMA app RENAME TO elsewhere", "schema app"),
    ("", "ALTER DATABASE {database} IS_TEMPLATE true", "database {database}"),
    ("", "DROP EXTENSION pgcrypto; CREATE EXTENSION pgcrypto SCHEMA other", "extension pgcrypto"),
]


@pytest.mark.few(2)
@pytest.mark.parametrize(("prepared", "statement"), QUIET, ids=lambda value: value[:60])
def test_it_is_no_drift(world: World, prepared: str, statement: str) -> None:
    world.admin("CREATE SCHEMA kept AUTHORIZATION {owner}")
    world.owner(prepared)
    expected = world.read()
    world.owner(statement)
    assert reported(difference(expected, world.read(*expected.roles))) == []


@pytest.mark.few(18)
@pytest.mark.parametrize(
    ("prepared", "statement", "name", "who"),
    [(*each, "owner") for each in BY_OWNER] + [(*each, "admin") for each in BY_ADMIN],
    ids=lambda value: value[:60],
)
def test_it_is_named_and_mended(world: World, prepared: str, statement: str, name: str, who: str) -> None:
    """After the repairing script the fingerprint is the same as before."""
    do = getattr(world, who)
    do(prepared)
    expected = world.read()
    do(statement)
    found = difference(expected, world.read(*expected.roles))
    assert world.text(name) in [each.name for each in reported(found)]
    script = psql_script(found, "")
    world.admin(script)
    left = world.read(*expected.roles)
    assert (reported(difference(expected, left)), left.digest) == ([], expected.digest), script


def test_a_value_that_is_too_long_is_not_cut_off(world: World) -> None:
    """The script stops there, and is rolled back as a whole."""
    world.owner("ALTER TABLE users ADD nick varchar(5)")
    expected = world.read()
    world.owner(
        "ALTER TABLE users ALTER nick TYPE text; UPDATE users SET nick = 'longer than that'; CREATE TABLE more ()"
    )
    script = psql_script(difference(expected, world.read(*expected.roles)), "")
    with pytest.raises(psycopg.errors.StringDataRightTruncation):
        world.admin(script)
    world.owner("UPDATE users SET nick = 'short'")
    world.admin(script)
    assert world.read(*expected.roles).digest == expected.digest


def test_an_order_of_values_that_no_statement_brings_back_is_said_to_be_so(world: World) -> None:
    """This includes a value whose name contains a line break. No part of the name can leave the comment."""
    world.owner("CREATE TYPE ring AS ENUM ('a', 'b'); CREATE TYPE other.ring AS ENUM ('b', 'a')")
    expected = world.read()
    world.owner("ALTER TYPE mood ADD VALUE E'x\nDROP TABLE app.users;'; ALTER TYPE ring RENAME TO away")
    world.owner("ALTER TYPE other.ring SET SCHEMA app")
    script = psql_script(difference(expected, world.read(*expected.roles)), "")
    assert "-- PostgreSQL changes no order of values" in script
    assert "-- PostgreSQL takes no value out of an enum: x DROP TABLE app.users; can only go with the type" in script
