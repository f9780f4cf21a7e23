"""A rehearsal of a large schema copies only the tables that the plan can touch, and has the same result as with all."""

from __future__ import annotations

import random
import re
from contextlib import suppress
from dataclasses import replace

import psycopg
import pytest
from psycopg import sql

from pulumi_alembic.database.connection import connect
from pulumi_alembic.migrate.job import Job
from pulumi_alembic.review.build import review_from_database
from pulumi_alembic.review.lint import Settings
from pulumi_alembic.review.plan_review import PlanReview
from pulumi_alembic.review.rehearsal import rehearse, subset
from pulumi_alembic.review.rehearsal.pattern import matching
from pulumi_alembic.review.rehearsal.source import read_source
from pulumi_alembic.review.rehearsal.subset import Subset, mentions_of, relations_to_copy
from pulumi_alembic.sql.catalog import Catalog
from pulumi_alembic.sql.parser import identifier
from taskdb.local import Server
from tests.conftest import Database
from tests.postgres.alembic import test_effects
from tests.postgres.alembic.conftest import Target
from tests.postgres.alembic.owner import connect as connect_as_script
from tests.postgres.alembic.test_effects import CASES, catalog_of
from tests.postgres.alembic.test_rehearsal import _needs_pg_dump, admin_url

__all__ = ["_needs_pg_dump", "admin_url"]

ONE, TWO = "20250101_001", "20250102_002"

SCHEMA = (
    test_effects.SCHEMA[: test_effects.SCHEMA.index("INSERT")]
    + """
CREATE TABLE app.plain (id int PRIMARY KEY);
CREATE TABLE app.alone (id int);
CREATE TABLE app.elsewhere (id int DEFAULT nextval('app.numbers'));
CREATE TABLE app.asks (id int);
CREATE POLICY known ON app.asks USING (EXISTS (SELECT FROM app.plain WHERE plain.id = asks.id));
CREATE TABLE app.logged (id int);
CREATE RULE log AS ON INSERT TO app.logged DO ALSO INSERT INTO app.plain VALUES (new.id);
CREATE TABLE app.holder (row app.single);
CREATE TYPE app.pair AS (one app.empty, other int);
CREATE TABLE app.pairs (pair app.pair[]);
CREATE FUNCTION app.of(app.derived) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT 1';
CREATE TABLE app.renamed (id int PRIMARY KEY);
ALTER INDEX app.renamed_pkey RENAME TO fresh_pkey;
CREATE STATISTICS app.counted ON id, at FROM app.loose_events;
CREATE TABLE app.days_2023 PARTITION OF app.days FOR VALUES FROM ('2023-01-01') TO ('2024-01-01');
CREATE VIEW app.every_day AS SELECT at FROM app.days;
CREATE SCHEMA other CREATE TABLE plain (id int);
"""
)
"""One more object for each kind of dependency, in addition to the schema for the effects of statements."""

COPIED_ANYWAY = {"empty", "derived", "base"}
"""Types and functions need the first two, and the last one is a parent."""

TOUCHED = {
    "ALTER TABLE alone ADD x int": {"alone"},
    # Views, and views of views. A foreign key at both ends, and the objects that the other end needs.
    "ALTER TABLE comments ADD x int": {"comments", "comments_id_seq", "tasks", "users"},
    "ALTER TABLE tasks ADD x int": {
        *("tasks", "tasks_id_seq", "users", "comments", "comments_id_seq", "marks"),
        *("open_tasks", "first_tasks", "totals"),
    },
    "DROP VIEW open_tasks": {"open_tasks", "first_tasks", "tasks", "users"},
    "COMMENT ON MATERIALIZED VIEW totals IS ''": {"totals", "tasks", "users"},
    # All parts of a partitioned table, and all objects that refer to one part.
    "ALTER TABLE events_2024 ADD CHECK (id > 0)": {"events", "events_2024", "events_2025", "events_rest", "users"},
    "COMMENT ON TABLE days_2024 IS ''": {"days", "days_2024", "days_2023", "every_day"},
    "DROP INDEX tasks_title": {
        *("tasks", "tasks_id_seq", "users", "comments", "comments_id_seq", "marks"),
        *("open_tasks", "first_tasks", "totals"),
    },
    "ALTER SEQUENCE numbers INCREMENT 2": {"numbers", "elsewhere"},
    "ALTER TABLE elsewhere ADD x int": {"numbers", "elsewhere"},
    # Another table's policy or rule reads it, and needs it.
    "ALTER TABLE plain ADD x int": {"plain", "asks", "logged"},
    "ALTER TABLE asks ADD x int": {"plain", "asks"},
    "ALTER TABLE logged ADD x int": {"plain", "logged"},
    # Columns of its row type, including those within another type and an array.
    "ALTER TABLE single ADD x int": {"single", "holder"},
    "ALTER TABLE holder ADD x int": {"single", "holder"},
    "ALTER TABLE empty ADD x int": {"pairs"},
    # Names in quotes, in a literal, and in the body of a function.
    'ALTER TABLE app."Odd Name" ADD x int': {"Odd Name", "users"},
    "SELECT 'app.\"Odd Name\"'::regclass": {"Odd Name", "users"},
    "CREATE FUNCTION f() RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT id FROM Alone; END": {"alone"},
    "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT id FROM app.alone'": {"alone"},
    # The default name of the primary key is the name of another table's index.
    "CREATE TABLE fresh (id int PRIMARY KEY)": {"renamed"},
    "CREATE INDEX fresh_pkey ON alone (id)": {"renamed", "alone"},
    "CREATE TABLE numbers ()": {"numbers", "elsewhere"},
    "TRUNCATE comments; SELECT 1": {"comments", "comments_id_seq", "tasks", "users"},
}
"""The relations that each statement can touch, or that these need, without those that are copied anyway."""

UNKNOWN = [
    "DO $$BEGIN PERFORM 1; END$$",
    "SELECT rolled()",
    "UPDATE noted SET body = ''; no SQL",
    "GRANT SELECT ON ALL TABLES IN SCHEMA app TO PUBLIC",
    "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC",
    "DROP SCHEMA app CASCADE",
    "DROP TYPE status",
    "DROP FUNCTION note() CASCADE",
    "ALTER DOMAIN label ADD CHECK (VALUE <> '')",
    "ALTER TYPE pair ADD ATTRIBUTE x int",
    "ALTER TYPE status RENAME TO state",
    "DROP EXTENSION IF EXISTS hstore",
    "CREATE EXTENSION hstore",
    "REASSIGN OWNED BY CURRENT_USER TO CURRENT_USER",
    "ANALYZE",
]
"""Statements that can touch relations that they do not mention. The whole schema is copied for them."""


@pytest.fixture
def one(empty_target: Target, server: Server) -> Target:
    """A database at a revision with every kind of dependency."""
    with Database(server, empty_target.url.rpartition("/")[2]).connect() as admin:
        owner = sql.Identifier(f"{admin.info.dbname}_owner")
        admin.execute(sql.SQL("GRANT CREATE ON DATABASE {} TO {}").format(sql.Identifier(admin.info.dbname), owner))
    empty_target.write(ONE, None, f"op.execute({SCHEMA!r})")
    empty_target.migrate(ONE)
    return empty_target


def catalog(target: Target) -> Catalog:
    with connect_as_script(target.url) as session:
        return catalog_of(session)


def copied(target: Target, statement: str, there: Catalog) -> set[str]:
    """Return the relations that a rehearsal of the statement copies, without those of the migration itself."""
    found = mentions_of([statement], there)
    assert found is not None, statement
    with connect(target.url) as session:
        ids = [*relations_to_copy(session, found)]
        rows = session.execute(f"{RELATIONS} WHERE c.oid = ANY (%s) AND relkind <> 'c'", [ids])
        return {name.removeprefix("app.") for (name,) in rows if not name.startswith("migrations.")}


def test_what_a_statement_can_touch_is_copied_and_no_more(one: Target) -> None:
    there = catalog(one)
    found = {statement: copied(one, statement, there) for statement in TOUCHED}
    assert {key: names - COPIED_ANYWAY for key, names in found.items()} == TOUCHED
    assert all(names >= COPIED_ANYWAY for names in found.values())
    assert [each for each in UNKNOWN if mentions_of([each], there)] == []


CHARACTERS = "ab-^]\\[$ .*?\"'|(){}+A\u00e9"

RELATIONS = "SELECT nspname || '.' || relname FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace"
LOCKED = """
SELECT nspname || '.' || relname FROM pg_locks JOIN pg_class c ON c.oid = relation
JOIN pg_namespace n ON n.oid = relnamespace
WHERE pid = pg_backend_pid() AND relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND nspname IN ('app', 'other')
"""


@pytest.mark.full
def test_a_statement_locks_nothing_that_is_not_copied(one: Target) -> None:
    """Run each statement of the tests of effects in a database with all tables."""
    there = catalog(one)
    locked: dict[str, set[str]] = {}
    with connect_as_script(one.url) as session:
        before = {name.removeprefix("app.") for (name,) in session.execute(RELATIONS)}
        for statement in (each for each in (*CASES, *TOUCHED) if "%" not in each):
            with suppress(psycopg.Error):
                session.execute(statement.encode())
                locked[statement] = before & {name.removeprefix("app.") for (name,) in session.execute(LOCKED)}
            session.rollback()
    missing = {}
    for statement, names in locked.items():
        if mentions_of([statement], there) is not None:
            left = names - copied(one, statement, there)
            missing |= {statement: left} if left else {}
    assert missing == {}
    assert sum(map(bool, locked.values())) > 100


def test_pg_dump_leaves_out_all_other_tables(empty_target: Target) -> None:
    """Names of tables consist of random characters."""
    chance = random.Random(0)
    names = sorted({"".join(chance.choices(CHARACTERS, k=chance.randint(1, 5))) for _ in range(100)})
    with connect(empty_target.url) as session:
        for name in names:
            session.execute(sql.SQL("CREATE TABLE app.{} ()").format(sql.Identifier(name)))
        session.commit()
    wanted = {*chance.sample(names, 50)}
    pattern = f"app.{matching({*names} - wanted, wanted)}"
    source = read_source(empty_target.url, [], lambda _: Subset(0, 0, (pattern,)))
    assert {name for name in names if f"CREATE TABLE app.{identifier(name)} (" in source.definitions} == wanted


PLANS = {
    "applies": ("ALTER TABLE tasks ADD x int", "ALTER TABLE tasks DROP x"),
    "a view needs it": ("DROP VIEW open_tasks", "SELECT 1"),
    "a policy needs it": ("DROP TABLE plain", "SELECT 1"),
    "a column has its rows": ("ALTER TABLE single ALTER id TYPE bigint", "SELECT 1"),
    "the name is taken": ("CREATE INDEX fresh_pkey ON alone (id)", "SELECT 1"),
    "a name is generated": ("CREATE TABLE fresh (id int PRIMARY KEY)", "DROP TABLE fresh"),
    "others go with it": ("DROP TABLE plain CASCADE", "CREATE TABLE plain (id int PRIMARY KEY)"),
    "the downgrade touches another": ("ALTER TABLE alone ADD x int", "ALTER TABLE alone DROP x; DROP TABLE loose"),
    "the downgrade fails": ("ALTER TABLE alone ADD x int", "DROP VIEW open_tasks"),
    **{each: (each, "SELECT 1") for each in random.Random(1).sample([each for each in CASES if "%" not in each], 20)},
}
"""The statements of an upgrade and of its downgrade."""


@pytest.mark.few("a policy needs it", "the downgrade touches another")
@pytest.mark.parametrize("plan", PLANS)
def test_some_tables_show_what_all_of_them_show(
    plan: str, one: Target, admin_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Refusals, locks, changes and downgrade are equal if the plan names the objects that it touches."""
    upgrade, downgrade = (f"op.execute({each!r})" for each in PLANS[plan])
    one.write(TWO, ONE, upgrade, downgrade)
    whole = rehearsed(one, admin_url)
    monkeypatch.setattr(rehearse, "LARGE", 0)
    some = rehearsed(one, admin_url)
    assert replace(some, copied="") == whole
    assert whole.copied == ""
    assert re.fullmatch(r"\d+ of \d+ tables", some.copied) or plan in CASES


@pytest.mark.few(1)
@pytest.mark.parametrize(
    ("upgrade", "fails"),
    [
        ("SELECT * FROM alone", ""),
        ("CREATE FUNCTION g() RETURNS int LANGUAGE sql AS 'SELECT id FROM alone'", ""),
        ("ALTER TABLE nowhere ADD x int", 'relation "nowhere" does not exist'),
    ],
)
def test_what_the_copy_lacks_is_looked_for_in_the_whole_schema(
    upgrade: str, fails: str, one: Target, admin_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    one.write(TWO, ONE, f"op.execute({upgrade!r})")
    monkeypatch.setattr(rehearse, "LARGE", 0)
    monkeypatch.setattr(subset, "_MENTIONED", "SELECT oid FROM pg_class WHERE false")
    [revision] = rehearsed(one, admin_url).revisions
    assert revision.rehearsed is not None
    assert fails in revision.rehearsed.fails
    assert bool(fails) == bool(revision.rehearsed.fails)


def rehearsed(target: Target, admin: str) -> PlanReview:
    _, review = review_from_database(Job(target.url, target.directory, TWO), Settings(), admin=admin)
    assert review.rehearsed, review.not_rehearsed
    return review
