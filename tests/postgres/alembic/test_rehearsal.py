"""A rehearsal runs pending revisions in a scratch database and shows their effects. The target is not affected."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from operator import itemgetter
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
from psycopg import sql
from pulumi.output import Unknown

from pulumi_alembic.database.connection import log_in
from pulumi_alembic.database.pg_programs import Programs, find_client
from pulumi_alembic.errors import NotRehearsed
from pulumi_alembic.migrate.job import Job
from pulumi_alembic.provider import MigrationsProvider
from pulumi_alembic.review.build import review_from_database
from pulumi_alembic.review.lint import Settings
from pulumi_alembic.review.plan_review import RESTORES, PlanReview
from pulumi_alembic.review.rehearsal import copying, scratch_run
from pulumi_alembic.review.rehearsal.dump import dump
from pulumi_alembic.review.rehearsal.scratch import _key, _prefix, at, database_of, scratch
from pulumi_alembic.review.rendering import Rendered
from pulumi_alembic.sql.effects import effects
from taskdb.local import Server
from tests.conftest import Database
from tests.faults.striking import Striker, Way
from tests.postgres.alembic.catalog import OBJECTS
from tests.postgres.alembic.conftest import Target
from tests.postgres.alembic.owner import connect
from tests.postgres.alembic.rendering_cases import FAILS, RENDERED, RUNS_PYTHON, SETUP
from tests.postgres.alembic.test_effects import CASES, SCHEMA, catalog_of, told
from tests.postgres.alembic.test_rendering import ONE, TWO, at_one, differences, directory, name, sent_by, write
from tests.postgres.alembic.waiting import LONGEST, blocker, until, writes

__all__ = ["at_one", "directory"]

THREE = "20250103_003"


def scratches(server: Server, name: str) -> list[str]:
    """Return the existing scratch databases of the target with this name."""
    with Database(server, "postgres").connect() as admin:
        found = admin.execute("SELECT datname FROM pg_database WHERE starts_with(datname, %s)", [_prefix(name)])
        return [each for (each,) in found]


@pytest.fixture(autouse=True)
def _needs_pg_dump(server: Server) -> None:
    with Database(server, "postgres").connect() as admin:
        if find_client(admin.info.server_version // 10000) is None:
            pytest.skip("no pg_dump for this server")


@pytest.fixture
def admin_url(server: Server) -> str:
    return f"postgresql://{server.username}:{server.password}@{server.host}:{server.port}/postgres"


def rehearsed(target: Target, admin: str, revision: str = TWO) -> PlanReview:
    _, review = review_from_database(Job(target.url, target.directory, revision), Settings(), admin=admin)
    assert review.not_rehearsed == ""
    assert review.rehearsed
    return review


PLANS = 5
EMPTY = """
DO $$
DECLARE one record;
BEGIN
    FOR one IN
        SELECT DISTINCT format('TABLE IF EXISTS %s', c.oid::regclass) AS name FROM pg_class c
        WHERE relkind = 'r' AND relnamespace::regnamespace::text IN ('app', 'archive')
        UNION ALL SELECT format('SEQUENCE IF EXISTS %s', oid::regclass) FROM pg_class
        WHERE relkind = 'S' AND relnamespace::regnamespace::text IN ('app', 'archive')
        UNION ALL SELECT format('ROUTINE %s', oid::regprocedure) FROM pg_proc
        WHERE pronamespace::regnamespace::text IN ('app', 'archive')
        UNION ALL SELECT format('TYPE IF EXISTS %s', oid::regtype) FROM pg_type
        WHERE typtype IN ('e', 'd') AND typnamespace::regnamespace::text IN ('app', 'archive')
        ORDER BY 1 DESC
    LOOP
        EXECUTE format('DROP %s CASCADE', one.name);
    END LOOP;
END $$;
"""
"""Drops all objects that a case created or used."""


@pytest.mark.few(1)
@pytest.mark.parametrize("cases", [list(RENDERED)[number::PLANS] for number in range(PLANS)], ids=itemgetter(0))
def test_what_is_concluded_is_what_is_sent(
    cases: list[str],
    directory: Path,
    at_one: Callable[[], Target],
    admin_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each statement was measured, except those outside a transaction. Nothing else was sent, and none failed.

    The cases are revisions of one plan. A revision after each leaves the tables of the first one, without a row.
    """
    monkeypatch.setattr(scratch_run, "LIMIT", 10 * scratch_run.LIMIT)
    target = at_one()
    setup = SETUP[: SETUP.index("INSERT")]
    bodies = [body for case in cases for body in (RENDERED[case], f"op.execute({EMPTY!r})\nop.execute({setup!r})")]
    ids = [ONE, *(f"20250102_{number:03}" for number in range(2, len(bodies) + 2))]
    for down, id, body in zip(ids, ids[1:], bodies, strict=False):
        write(directory, id, down, body)
    revisions = rehearsed(target, admin_url, ids[-1]).revisions
    assert len(revisions) == 2 * len(cases)
    for case, revision in zip(cases, revisions[::2], strict=True):
        assert revision.rehearsed is not None, case
        assert revision.rehearsed.fails == "", case
        assert revision.rehearsed.sent == (), case
        assert all(each.measured is not None or each.outside for each in revision.statements), case


OUTSIDE = {
    "another program": "uses the system (pipe)",
    "a connection of its own": "opens a connection of its own",
    "an engine of its own": "opens a connection of its own",
}
BY_CHANCE = {"the time", "the time from a name", "chance", "COPY by the cursor", "the connection's name"}
"""Cases that send other values in each run, or whose values cannot be read on the way to the server."""


@pytest.mark.few(2)
@pytest.mark.parametrize("case", [each for each in RUNS_PYTHON if each not in OUTSIDE])
def test_what_runs_python_is_shown_as_the_server_got_it(
    case: str, directory: Path, at_one: Callable[[], Target], admin_url: str
) -> None:
    """The preview shows what an update of a database without rows sends."""
    write(directory, TWO, ONE, RUNS_PYTHON[case][0])
    target = at_one()
    run(target, "TRUNCATE t, parent")
    [revision] = rehearsed(target, admin_url).revisions
    assert revision.runs_python
    assert revision.rehearsed is not None
    assert revision.rehearsed.fails == ""
    shown = Rendered(tuple((each.sql, each.outside) for each in revision.rehearsed.sent))
    if case not in BY_CHANCE:
        assert differences(sent_by(target, TWO), shown) == []


@pytest.mark.few(1)
@pytest.mark.parametrize("case", OUTSIDE)
def test_what_reaches_outside_of_its_session_is_not_rehearsed(
    case: str, directory: Path, at_one: Callable[[], Target], admin_url: str
) -> None:
    write(directory, TWO, ONE, RUNS_PYTHON[case][0])
    target = at_one()
    _, review = review_from_database(Job(target.url, directory, TWO), Settings(), admin=admin_url)
    assert not review.rehearsed
    assert OUTSIDE[case] in review.not_rehearsed


@pytest.mark.few(2)
@pytest.mark.parametrize("case", FAILS)
def test_a_revision_that_fails_is_said_to_fail(
    case: str, directory: Path, at_one: Callable[[], Target], admin_url: str
) -> None:
    """The preview gives the reason, and does not fail itself."""
    write(directory, TWO, ONE, FAILS[case][0])
    [revision] = rehearsed(at_one(), admin_url).revisions
    assert revision.rehearsed is not None
    assert revision.rehearsed.fails != ""


def test_the_reason_of_a_failure_is_the_servers(directory: Path, at_one: Callable[[], Target], admin_url: str) -> None:
    write(directory, TWO, ONE, 'op.execute("ALTER TABLE t ADD z int")\nop.execute("ALTER TABLE gone ADD z int")')
    target = at_one()
    write(directory, THREE, TWO, 'op.execute("CREATE TABLE later ()")')
    two, three = rehearsed(target, admin_url, THREE).revisions
    assert two.rehearsed is not None
    assert two.rehearsed.fails == 'line 9, PostgreSQL: relation "gone" does not exist (42P01)'
    assert [each.measured is not None for each in two.statements] == [True, False]
    assert three.rehearsed is None


@pytest.mark.full
def test_measured_locks_and_rewrites_are_those_concluded(empty_target: Target, admin_url: str, server: Server) -> None:
    """Compare for the whole table of cases of the static analysis, each in its own savepoint.

    There are no rows, so row locks of the analysis can stay unseen. They are not reported as measured.
    """
    statements = [each for each in CASES if "%" not in each]
    empty_target.write(ONE, None, f"op.execute({SCHEMA!r})")
    body = "\n    ".join(
        [
            "bind = op.get_bind()",
            f"for statement in {statements!r}:",
            "    nested = bind.begin_nested()",
            # Some cases name a row that does not exist.
            "    try: bind.exec_driver_sql(statement)",
            "    except Exception: pass",
            "    nested.rollback()",
        ]
    )
    with Database(server, urlsplit(empty_target.url).path[1:]).connect() as admin:
        owner = sql.Identifier(f"{urlsplit(empty_target.url).path[1:]}_owner")
        admin.execute(sql.SQL("CREATE SCHEMA app2 AUTHORIZATION {}").format(owner))
    empty_target.migrate(ONE)
    empty_target.write(TWO, ONE, body)
    [revision] = rehearsed(empty_target, admin_url).revisions
    assert revision.rehearsed is not None
    assert revision.rehearsed.fails == ""
    with connect(empty_target.url) as connection:
        catalog = catalog_of(connection)
        if connection.info.server_version < 140000:
            # PostgreSQL 13 takes a weaker lock on the partition, and the analysis states the stronger one.
            statements = [each for each in statements if " DETACH PARTITION " not in each]
    seen = {each.sql: each for each in revision.sends if each.sql in statements and each.measured}
    assert len(seen) > 0.9 * len(statements)
    different = {}
    for statement, each in seen.items():
        assert each.measured is not None
        found = effects(statement, catalog)
        if (told(found), set(found.rewrites)) != (told(each.does), set(each.measured.rewrites)):
            different[statement] = (told(found), found.rewrites, told(each.measured), each.measured.rewrites)
    assert different == {}
    # Foreign keys lock rows only when they look for them.
    unseen = {each.sql for each in seen.values() if each.unseen}
    assert {"DELETE FROM app.tasks", "UPDATE app.tasks SET user_id = 2"} <= unseen
    assert all(each.startswith(("INSERT", "UPDATE", "DELETE")) for each in unseen)


def run(target: Target, statement: str) -> None:
    """Run a statement as the owner, and commit it."""
    with connect(target.url) as connection:
        connection.execute(statement.encode())
        connection.commit()


@pytest.fixture
def two(directory: Path, at_one: Callable[[], Target]) -> Target:
    """A database with a pending revision that writes rows and alters a table."""
    write(directory, TWO, ONE, 'op.execute("INSERT INTO t (name) VALUES (1)")\nop.execute("ALTER TABLE t ADD z int")')
    return at_one()


def test_a_rehearsal_changes_nothing_and_leaves_nothing(two: Target, admin_url: str, server: Server) -> None:
    """This holds for the target and for the server. The digest equals that of a preview that does not rehearse."""
    what = {
        "objects": OBJECTS,
        "sequences": "SELECT sequencename, last_value FROM pg_sequences ORDER BY 1",
        "ledger": "SELECT id, revision, event FROM migrations.ledger ORDER BY 1",
    }
    written, before = writes(two), {key: two.query(query) for key, query in what.items()}
    review = rehearsed(two, admin_url)
    [revision] = review.revisions
    assert revision.rehearsed is not None
    assert revision.rehearsed.made == ("column app.t.z",)
    assert revision.rehearsed.way_back == "does not restore the same schema"
    assert revision.rehearsed.left == ("+ column app.t.z integer",)
    assert (writes(two), {key: two.query(query) for key, query in what.items()}) == (written, before)
    assert scratches(server, name(two)) == []
    _, static = review_from_database(Job(two.url, two.directory, TWO), Settings())
    assert review.digest == static.digest


@pytest.mark.full
def test_rights_on_the_owners_schema_are_granted_by_its_owner(two: Target, admin_url: str, server: Server) -> None:
    """As in a stack, the admin becomes the owner only through the migrator, and so does not have the owner's rights."""
    run(two, "GRANT USAGE ON SCHEMA app TO PUBLIC")
    owner, migrator = (sql.Identifier(f"{name(two)}_{each}") for each in ("owner", "migrator"))
    with Database(server, "postgres").connect() as admin:
        admin.execute(sql.SQL("GRANT {} TO CURRENT_USER").format(migrator))
        admin.execute(sql.SQL("REVOKE {} FROM CURRENT_USER").format(owner))
        try:
            rehearsed(two, admin_url)
        finally:
            admin.execute(sql.SQL("GRANT {} TO CURRENT_USER").format(owner))


def test_a_large_schema_is_copied_in_many_transactions(
    two: Target, admin_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Roles and settings of the dump stay valid between transactions. A single one would need a lock on each table."""
    monkeypatch.setattr(copying, "_AT_ONCE", 1)
    rehearsed(two, admin_url)


def test_a_way_back_that_leads_back_is_said_to(target: Target, admin_url: str) -> None:
    """The plan is the project's own revisions, from an empty database."""
    review = rehearsed(target, admin_url, "20250126_003")
    assert [each.rehearsed and each.rehearsed.way_back for each in review.revisions] == [RESTORES] * 3


def test_a_rename_is_said_to_be_one(empty_target: Target, admin_url: str) -> None:
    empty_target.write(
        ONE, None, "op.execute('CREATE TABLE cogs (id serial PRIMARY KEY, teeth int CHECK (teeth > 0))')"
    )
    empty_target.migrate(ONE)
    up = "op.rename_table('cogs', 'gears'); op.alter_column('gears', 'teeth', new_column_name='size')"
    down = "op.alter_column('gears', 'size', new_column_name='teeth'); op.rename_table('gears', 'cogs')"
    empty_target.write(TWO, ONE, up, down)
    [revision] = rehearsed(empty_target, admin_url).revisions
    seen = revision.rehearsed
    assert seen is not None
    assert (seen.made, seen.dropped, seen.changed) == ((), (), ())
    assert seen.renamed == ("table app.cogs to app.gears", "column app.cogs.teeth to app.gears.size")


@pytest.mark.full
def test_a_lock_in_the_way_is_not_waited_for(two: Target, admin_url: str, server: Server) -> None:
    with ThreadPoolExecutor() as pool, blocker(two, "LOCK TABLE t IN ACCESS EXCLUSIVE MODE"):
        done = pool.submit(review_from_database, Job(two.url, two.directory, TWO), Settings(), admin=admin_url)
        _, review = done.result(LONGEST)
    assert review.not_rehearsed.startswith("a lock was in the way of the copy of the schema: pid ")
    assert scratches(server, name(two)) == []


def test_who_waits_for_the_copy_of_the_schema_ends_it(two: Target, tmp_path: Path) -> None:
    """A program that would hold its lock for a minute replaces pg_dump."""
    slow = tmp_path / "pg_dump"
    holding = f"BEGIN; LOCK TABLE app.t IN ACCESS SHARE MODE; SELECT pg_sleep({LONGEST})"
    slow.write_text(f"#!/bin/sh\nPGOPTIONS='-c role={name(two)}_owner' exec psql -X -c '{holding}'\n")
    slow.chmod(0o755)
    guarding = log_in(two.url, autocommit=True)
    with ThreadPoolExecutor() as pool, connect(two.url) as session, guarding as guard:
        dumping = pool.submit(dump, two.url, guard, f"{name(two)}_owner", Programs(tmp_path, "15"))
        held = "SELECT count(*) FROM pg_locks WHERE relation = 'app.t'::regclass AND mode = 'AccessShareLock'"
        until(lambda: two.query(held) == [(1,)])
        session.execute("LOCK TABLE t IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(NotRehearsed, match="somebody waited"):
            dumping.result()


def test_what_a_killed_rehearsal_left_is_dropped_and_a_living_one_is_not(
    two: Target, admin_url: str, server: Server
) -> None:
    """Two simultaneous rehearsals are both alive."""
    dead, living = (f"{_prefix(name(two))}{each}" for each in ("deaddead", "alivealv"))
    with psycopg.connect(admin_url, autocommit=True) as admin:
        for each in (dead, living):
            admin.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(each)))
        admin.execute("SELECT pg_advisory_lock(%s)", [_key(living)])
        rehearsed(two, admin_url)
        assert scratches(server, name(two)) == [living]
        admin.execute("SELECT pg_advisory_unlock(%s)", [_key(living)])
    rehearsed(two, admin_url)
    assert scratches(server, name(two)) == []


KILLS = int(os.environ.get("REHEARSAL_KILLS", "12"))
"""The number of previews that are killed, each at another statement of its rehearsal."""

_PREVIEWS = """
import sys
from pathlib import Path
from pulumi_alembic.migrate.job import Job
from pulumi_alembic.review.build import review_from_database
from pulumi_alembic.review.lint import Settings
url, directory, revision, admin = sys.argv[1:]
while True:
    _, review = review_from_database(Job(url, Path(directory), revision), Settings(), admin=admin)
    assert review.rehearsed, review.not_rehearsed
    print("rehearsed", flush=True)
"""


@pytest.mark.few("7")
@pytest.mark.parametrize("number", range(KILLS))
def test_nothing_is_left_where_the_preview_is_killed(two: Target, admin_url: str, server: Server, number: int) -> None:
    """The kills are spread evenly over a rehearsal's statements. Afterwards the next preview rehearses again."""
    with Striker(server.host, server.port) as striker:
        target, admin = (url.replace(f":{server.port}/", f":{striker.port}/") for url in (two.url, admin_url))
        with subprocess.Popen(
            [sys.executable, "-c", _PREVIEWS, target, two.directory, TWO, admin],
            env=os.environ | {"PGSSLMODE": "disable", "PGGSSENCMODE": "disable"},
            stdout=subprocess.PIPE,
        ) as process:
            assert process.stdout is not None

            def kill(_: Way) -> bool:
                process.kill()
                return False

            striker.strike = kill
            process.stdout.readline()
            life = len(striker.statements)
            last = life + life * (2 * number + 1) // (2 * KILLS)
            # The next rehearsal has already begun.
            striker.planned = lambda statements: len(statements) >= last
        # The process that watches the killed one also connects through this proxy.
        until(lambda: not scratches(server, name(two)))
    rehearsed(two, admin_url)


@pytest.mark.full
def test_a_scratch_database_that_cannot_be_dropped_keeps_nobody_waiting(
    two: Target, admin_url: str, server: Server
) -> None:
    """The process that watches the rehearsal drops the database as soon as it can."""
    with Database(server, "postgres").connect() as admin, ThreadPoolExecutor() as pool:
        client = find_client(admin.info.server_version // 10000)
        assert client is not None
        ends = ExitStack()
        with ends:
            made = ends.enter_context(scratch(admin_url, two.url, lambda _: client))
            with admin.transaction():
                # The comment holds a lock on the database that is dropped.
                admin.execute(sql.SQL("COMMENT ON DATABASE {} IS 'in the way'").format(sql.Identifier(made.name)))
                pool.submit(ends.close).result(LONGEST)
                assert scratches(server, name(two)) == [made.name]
    until(lambda: not scratches(server, name(two)))


@pytest.mark.few("False")
@pytest.mark.parametrize("killed", [False, True])
def test_no_scratch_database_outlives_a_target_that_is_dropped_meanwhile(
    make_database: Callable[[], Database], admin_url: str, server: Server, killed: bool
) -> None:
    """An example is the destroy of a stack during a preview, even if that preview is killed afterwards."""
    database = make_database()
    target = at(admin_url, database.name)
    with Database(server, "postgres").connect() as admin:
        client = find_client(admin.info.server_version // 10000)
        assert client is not None
        with scratch(admin_url, target, lambda _: client) as made:
            admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(database.name)))
            assert scratches(server, database.name) == [made.name]
            if killed:
                held = "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted"
                admin.execute(held + " AND (classid::bigint << 32 | objid::bigint) = %s", [_key(made.name)])
        if not killed:
            assert scratches(server, database.name) == []
        admin.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(database.name)))
    until(lambda: not scratches(server, database.name))


def test_a_database_is_named_in_a_url_as_urls_name_it() -> None:
    name = "a b%/ä"
    assert database_of(at("postgresql://u:p@h:1/x", name)) == name
    assert psycopg.conninfo.conninfo_to_dict(at("postgresql://u:p@h:1/x", name))["dbname"] == name


def test_a_preview_rehearses_and_keeps_the_admins_login_to_itself(two: Target, admin_url: str) -> None:
    news = {
        "url": two.url,
        "directory": str(two.directory),
        "target": TWO,
        "__urn": "urn",
        "__rehearse_with": admin_url,
    }
    answer = MigrationsProvider().check({}, news)
    assert answer.failures == []
    assert '"rehearsed": true' in answer.inputs["__plan"]
    assert admin_url not in str(answer.inputs)
    assert "__rehearse_with" not in answer.inputs


def test_an_admin_that_may_make_no_database_is_a_reason_and_no_error(two: Target) -> None:
    _, review = review_from_database(Job(two.url, two.directory, TWO), Settings(), admin=two.url)
    assert review.not_rehearsed == "no scratch database: permission denied to create database"
    assert [each.runs_python for each in review.revisions] == [""]


@pytest.mark.full
def test_what_belongs_to_the_whole_server_is_not_touched(
    directory: Path, at_one: Callable[[], Target], admin_url: str
) -> None:
    """This holds for a statement whose text shows it, and for one whose text does not."""
    target = at_one()
    plain = "ALTER ROLE CURRENT_USER SET work_mem = '1MB'"
    for body in (plain, f"DO $$BEGIN {plain}; END$$"):
        write(directory, TWO, ONE, f"op.execute({body!r})")
        _, review = review_from_database(Job(target.url, directory, TWO), Settings(), admin=admin_url)
        assert review.not_rehearsed.startswith("it changes what all databases of the server have in common")
    found = target.query(f"SELECT rolconfig FROM pg_roles WHERE rolname = '{name(target)}_owner'")
    assert found == [(None,)]


@pytest.mark.few("pg_sleep")
@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("while True: pass", "it takes longer than 1 s"),
        ("op.execute('SELECT pg_sleep(3600)')", "it takes longer than 1 s"),
        ("import time; time.sleep(3600)", "uses the time (sleep)"),
    ],
)
def test_what_never_ends_is_ended_and_not_rehearsed(
    monkeypatch: pytest.MonkeyPatch, two: Target, admin_url: str, server: Server, body: str, reason: str
) -> None:
    monkeypatch.setattr(scratch_run, "LIMIT", 1.0)
    write(two.directory, THREE, TWO, f"op.get_bind().execute(sa.text('SELECT 1')).scalar()\n{body}")
    _, review = review_from_database(Job(two.url, two.directory, THREE), Settings(), admin=admin_url)
    assert review.not_rehearsed == reason
    assert scratches(server, name(two)) == []


@pytest.mark.few(1)
@pytest.mark.parametrize(
    ("admin", "reason"),
    [
        ("postgresql://admin:hunter2@127.0.0.1:1/postgres", "cannot connect: connection failed"),
        ("postgresql://admin:hunter2@[::1/postgres", "the URL of the login to rehearse with is none"),
        ("nonsense", "the database URL is not one that PostgreSQL understands"),
    ],
)
def test_an_admin_that_cannot_be_reached_is_a_reason_and_no_error(two: Target, admin: str, reason: str) -> None:
    _, review = review_from_database(Job(two.url, two.directory, TWO), Settings(), admin=admin)
    assert review.not_rehearsed.startswith(reason)
    assert "hunter2" not in review.not_rehearsed


def test_an_admin_that_is_not_known_yet_does_not_rehearse(two: Target) -> None:
    news = {
        "url": two.url,
        "directory": str(two.directory),
        "target": TWO,
        "__urn": "urn",
        "__rehearse_with": Unknown(),
    }
    answer = MigrationsProvider().check({}, news)
    assert answer.failures == []
    review = PlanReview.from_json(json.loads(answer.inputs["__plan"]))
    assert (review.rehearsed, review.not_rehearsed) == (False, "")


PAST = {
    "a cursor that it makes itself": "psycopg.Cursor(raw).execute({plain!r})",
    "a cursor that it makes itself, outside": (
        "raw.commit(); raw.autocommit = True; psycopg.Cursor(raw).execute({plain!r})"
    ),
    "libpq": "raw.pgconn.exec_({plain!r}.encode())",
    "libpq, and a commit": "raw.pgconn.exec_({plain!r}.encode() + b'; COMMIT; BEGIN')",
    "libpq behind another name": "getattr(raw, 'pg' + 'conn').exec_({plain!r}.encode())",
    "on the way back": "pass",
    "a signal": "op.execute('SELECT pg_terminate_backend(0)')",
    "a signal in a block": "op.execute('DO $$BEGIN PERFORM pg_catalog.pg_cancel_backend(0); END$$')",
    "C": "import ctypes; ctypes.CDLL(None).getpid()",
}
"""Ways to bypass the session. Each reaches something outside its database."""


@pytest.mark.few("libpq, and a commit", "a signal in a block")
@pytest.mark.parametrize("case", PAST)
def test_no_way_past_the_session_reaches_the_whole_server(
    case: str, directory: Path, at_one: Callable[[], Target], admin_url: str
) -> None:
    plain = "ALTER ROLE CURRENT_USER SET work_mem = '7MB'"
    reach = f"import psycopg\nraw = op.get_bind().connection.driver_connection\n{PAST[case]}"
    body = reach.format(plain=plain)
    target = at_one()
    back = f"op.get_bind().connection.driver_connection.execute({plain!r})" if "back" in case else "pass"
    write(directory, TWO, ONE, body, back)
    _, review = review_from_database(Job(target.url, directory, TWO), Settings(), admin=admin_url)
    assert review.not_rehearsed != ""
    assert not review.rehearsed
    found = target.query(f"SELECT rolconfig FROM pg_roles WHERE rolname = '{name(target)}_owner'")
    assert found == [(None,)]


def test_who_may_become_somebody_powerful_does_not_rehearse(two: Target, admin_url: str, server: Server) -> None:
    with Database(server, "postgres").connect() as admin:
        powerful, owner = (sql.Identifier(f"{name(two)}_{each}") for each in ("powerful", "owner"))
        admin.execute(sql.SQL("CREATE ROLE {} CREATEDB ROLE {}").format(powerful, owner))
        try:
            _, review = review_from_database(Job(two.url, two.directory, TWO), Settings(), admin=admin_url)
        finally:
            admin.execute(sql.SQL("DROP ROLE {}").format(powerful))
    assert (
        review.not_rehearsed
        == f"{name(two)}_powerful, which the login may become, may change more than its own database"
    )
