"""A revision that cannot get its locks is rolled back and tried again, and blocks other sessions only briefly."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from urllib.parse import urlsplit

import pytest

from pulumi_alembic.database.connection import open_session
from pulumi_alembic.errors import RevisionFailed
from pulumi_alembic.policy import Policy
from tests.conftest import Database
from tests.postgres.alembic.conftest import Target
from tests.postgres.alembic.proxy import CutAtCommit
from tests.postgres.alembic.waiting import Told, blocker, until, wants_lock

ONE, TWO, THREE = "20250101_001", "20250102_002", "20250103_003"
READS = "SELECT FROM one"
HOLDS, WAITS = "SELECT pg_advisory_lock(7)", "SELECT pg_advisory_xact_lock(7)"
"""A lock that no run takes in advance: the statement itself waits for it."""
FAILS_AT_FIRST = "op.execute(\"DO $$BEGIN IF nextval('tries') < 3 THEN {}; END IF; END$$\")"

# The owner cannot end a session of the login, not even its own session.
KILLS = "RESET ROLE; PERFORM pg_terminate_backend(pg_backend_pid())"


@pytest.fixture
def two(empty_target: Target) -> Target:
    """A database at a revision with two tables and a sequence. A pending revision alters the first table."""
    empty_target.write(ONE, None, "op.execute('CREATE TABLE one (id int); CREATE TABLE two (); CREATE SEQUENCE tries')")
    empty_target.migrate(ONE)
    empty_target.write(TWO, ONE, "op.execute('ALTER TABLE one ADD x int')")
    return empty_target


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor() as pool:
        yield pool


def applied(target: Target) -> list[object]:
    return [id for (id,) in target.query("SELECT revision FROM migrations.ledger WHERE event = 'applied' ORDER BY id")]


def read(target: Target) -> None:
    """Read the table that is being altered, and fail if that takes half a minute."""
    with open_session(target.url) as session:
        session.execute("SET statement_timeout = '30s'")
        assert session.execute("SELECT count(*) FROM one").fetchone() == (0,)


def test_a_blocked_revision_says_who_blocks_and_is_applied_when_that_has_ended(
    two: Target, threads: ThreadPoolExecutor
) -> None:
    told = Told()
    with blocker(two, READS) as session:
        done = threads.submit(two.migrate, TWO, on_status=told)
        text = told.wait_for(TWO, "no lock at attempt", f"pid {session.info.backend_pid} (user {session.info.user}")
        assert "application the report, idle in transaction, last query at" in text
        assert not done.done()
    assert done.result() == TWO
    assert applied(two) == [ONE, TWO]


def test_a_reader_gets_through_while_the_revision_still_waits(two: Target, threads: ThreadPoolExecutor) -> None:
    """Without a limit, the readers behind the revision would wait for the session that blocks it."""
    told = Told()
    with blocker(two, READS):
        done = threads.submit(two.migrate, TWO, on_status=told, policy=Policy(lock_timeout=1))
        until(lambda: wants_lock(two, "one"))
        read(two)
        told.wait_for("no lock at attempt 1")
        until(lambda: wants_lock(two, "one"))
        read(two)
        assert not done.done()
    assert done.result() == TWO


@pytest.mark.parametrize("direction", ["up", "down"])
def test_every_transaction_begins_with_the_limit(empty_target: Target, direction: str) -> None:
    note = "op.execute(\"INSERT INTO notes SELECT '{}', current_setting('lock_timeout')\"); "
    sets = "op.execute(\"SET lock_timeout = '7s'\"); "
    empty_target.write(ONE, None, "op.execute('CREATE TABLE notes (id text, lock_timeout text)')")
    empty_target.write(TWO, ONE, note.format(2) + sets + note.format("own"), note.format(2))
    empty_target.write(THREE, TWO, note.format(3), note.format(3) + sets + note.format("own"))
    empty_target.migrate(ONE)
    for revision in [THREE] if direction == "up" else [THREE, ONE]:
        with open_session(empty_target.url) as session:
            session.execute("DELETE FROM notes")
        empty_target.migrate(revision)
    seen = empty_target.query("SELECT id, lock_timeout FROM notes ORDER BY id")
    assert seen == [("2", "200ms"), ("3", "200ms"), ("own", "7s")]


def test_after_the_deadline_the_blocker_is_named_and_nothing_is_applied(two: Target, database: Database) -> None:
    two.write(TWO, ONE, "op.execute('CREATE TABLE half ()'); op.execute('ALTER TABLE one ADD x int')")
    policy = Policy(lock_timeout=0.2, lock_deadline=1)
    with blocker(two, READS) as session:
        with pytest.raises(RevisionFailed) as caught:
            two.migrate(TWO, policy=policy)
        whom = f"pid {session.info.backend_pid} (user"
    for part in (TWO, "55P03", "no lock at attempt", whom, "rolled back", "run:\n  pulumi up"):
        assert part in str(caught.value)
    assert caught.value.revision == ONE
    assert two.query("SELECT to_regclass('half')") == [(None,)]
    assert two.migrate(TWO) == TWO


def test_a_blocker_that_this_role_may_not_look_at_is_still_named(two: Target, database: Database) -> None:
    with open_session(two.url) as owner:
        owner.execute(f"GRANT USAGE ON SCHEMA app TO {database.server.username}; GRANT SELECT ON one TO PUBLIC")
    with database.connect(autocommit=False) as admin:
        admin.execute("SELECT FROM app.one")
        with pytest.raises(RevisionFailed) as caught:
            two.migrate(TWO, policy=Policy(lock_timeout=0.2, lock_deadline=0.5))
        assert f"pid {admin.info.backend_pid} (user {admin.info.user}" in str(caught.value)
    assert "what it does is hidden from this role" in str(caught.value)


@pytest.mark.parametrize("code", ["55P03", "40P01", "40001"])
def test_what_the_same_again_may_cure_is_run_again_whole(two: Target, code: str) -> None:
    fails = FAILS_AT_FIRST.format(f"RAISE SQLSTATE '{code}'")
    two.write(TWO, ONE, f"op.execute('CREATE TABLE whole ()'); {fails}")
    assert two.migrate(TWO) == TWO
    assert two.query("SELECT nextval('tries')") == [(4,)]
    assert applied(two) == [ONE, TWO]


def test_what_would_fail_again_is_run_once(two: Target) -> None:
    two.write(TWO, ONE, FAILS_AT_FIRST.format("RAISE SQLSTATE '57014'"))
    with pytest.raises(RevisionFailed, match="Correct the script"):
        two.migrate(TWO)
    assert two.query("SELECT nextval('tries')") == [(2,)]


def test_a_deadlock_is_survived(two: Target, threads: ThreadPoolExecutor) -> None:
    two.write(
        TWO, ONE, "op.execute(\"SET LOCAL lock_timeout = '30s'\"); op.execute('LOCK one'); op.execute('LOCK two')"
    )
    told = Told()
    with blocker(two, "LOCK two") as session:
        done = threads.submit(two.migrate, TWO, on_status=told)
        until(lambda: wants_lock(two, "two"))
        session.execute("LOCK one")  # the revision waited first, so it detects the deadlock, and is rolled back
        told.wait_for("no lock at attempt 1")
    assert done.result() == TWO


def test_after_a_lost_connection_the_revision_is_run_again(two: Target) -> None:
    kills = FAILS_AT_FIRST.replace("3", "2").format(KILLS)
    two.write(TWO, ONE, f"op.execute('CREATE TABLE whole ()'); {kills}")
    assert two.migrate(TWO) == TWO
    assert applied(two) == [ONE, TWO]


@pytest.mark.parametrize("committed", [True, False])
def test_a_connection_cut_at_the_commit_is_no_failure_and_runs_nothing_twice(two: Target, committed: bool) -> None:
    """The client sees the same error, whether the server has committed or not."""
    two.write(TWO, ONE, "op.execute(\"SELECT nextval('tries')\")")
    url = urlsplit(two.url)
    with CutAtCommit(url.hostname or "", url.port or 0, TWO, committed=committed) as proxy:
        cut = replace(two, url=two.url.replace(f":{url.port}/", f":{proxy.port}/"))
        # The provider would plan again, but the command must know what it has done.
        assert "tries again as soon as the server answers" in cut.alembic("upgrade", "+1")
        assert proxy.cuts == 1
    assert applied(two) == [ONE, TWO]
    assert two.query("SELECT nextval('tries')") == [(2 if committed else 3,)]


def test_a_revision_that_loses_its_connection_again_is_given_up(two: Target) -> None:
    """The statement itself can be the cause of the server's crash."""
    two.write(TWO, ONE, FAILS_AT_FIRST.replace("3", "9").format(KILLS))
    with pytest.raises(RevisionFailed, match=f"the database is at {ONE}"):
        two.migrate(TWO)
    assert two.query("SELECT nextval('tries')") == [(3,)]


def test_a_command_that_counts_from_the_heads_counts_once(two: Target) -> None:
    """If `+2` were counted again after the first of the two revisions, it would mean another revision."""
    two.write(THREE, TWO, FAILS_AT_FIRST.format("RAISE SQLSTATE '55P03'"))
    two.write("20250104_004", THREE)
    assert "tries again for" in two.alembic("upgrade", "+2")
    assert applied(two) == [ONE, TWO, THREE]


def test_a_running_statement_is_told_with_the_one_in_its_way(two: Target, threads: ThreadPoolExecutor) -> None:
    two.write(TWO, ONE, f"op.execute(\"SET LOCAL lock_timeout = '30s'\"); op.execute('{WAITS}')")
    told = Told()
    with blocker(two, HOLDS) as session:
        done = threads.submit(two.migrate, TWO, on_status=told)
        text = told.wait_for(f"waiting for pid {session.info.backend_pid}")
        assert text.startswith(f"{TWO}: {WAITS} (1 s), waiting for")
    assert done.result() == TWO


def test_a_watching_session_that_is_lost_loses_no_migration(two: Target, threads: ThreadPoolExecutor) -> None:
    two.write(TWO, ONE, f"op.execute(\"SET LOCAL lock_timeout = '30s'\"); op.execute('{WAITS}')")
    told = Told()
    with blocker(two, HOLDS):
        done = threads.submit(two.migrate, TWO, on_status=told)
        told.wait_for("waiting for pid")
        with open_session(two.url) as session:
            session.execute("RESET ROLE")
            session.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'alembic watch' "
                "AND datname = current_database()"
            )
    assert done.result() == TWO


def test_no_thread_is_left_behind(two: Target) -> None:
    two.migrate(TWO)
    assert "watch" not in [thread.name for thread in threading.enumerate()]
