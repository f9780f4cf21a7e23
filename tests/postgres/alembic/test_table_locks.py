"""The strong locks of a revision are taken together before its work, and block other sessions only briefly."""

import re
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest

from pulumi_alembic.database.connection import open_session
from pulumi_alembic.migrate import table_locks
from pulumi_alembic.policy import Policy
from pulumi_alembic.sql.lock_plan import LockPlan
from tests.postgres.alembic.conftest import Target
from tests.postgres.alembic.waiting import Told, blocker, until

ONE, TWO, THREE = "20250101_001", "20250102_002", "20250103_003"

_QUEUED = """
SELECT query FROM pg_stat_activity a JOIN pg_locks l USING (pid)
WHERE NOT granted AND mode = 'AccessExclusiveLock' AND datname = current_database() AND usename = current_user
    -- The locks are read after the statements.
    AND wait_event_type = 'Lock'
"""
_MODES = "SELECT mode FROM pg_locks WHERE NOT granted AND relation = '{}'::regclass"


@pytest.fixture
def two(empty_target: Target) -> Target:
    """A database at a revision with two tables and a sequence. A pending revision alters both tables."""
    empty_target.write(ONE, None, "op.execute('CREATE TABLE one (id int); CREATE TABLE two (); CREATE SEQUENCE tries')")
    empty_target.migrate(ONE)
    alters = "op.execute('ALTER TABLE one ADD x int'); op.execute(\"SELECT nextval('tries')\"); "
    empty_target.write(TWO, ONE, alters + "op.execute('ALTER TABLE two ADD x int')")
    return empty_target


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor() as pool:
        yield pool


@contextmanager
def watched(target: Target) -> Iterator[list[str]]:
    """Collect the statements that the migrator sends while it queues for a lock that blocks readers."""
    seen: list[str] = []
    stop = threading.Event()

    def watch() -> None:
        with psycopg.connect(target.url, autocommit=True) as session:
            while not stop.wait(0.002):
                seen.extend(query for (query,) in session.execute(_QUEUED))

    with ThreadPoolExecutor() as pool:
        done = pool.submit(watch)
        try:
            yield seen
        finally:
            stop.set()
            done.result()


def limits(seen: list[str]) -> set[int]:
    """Return each statement's limit in milliseconds. A statement without a limit fails here."""
    found = [re.search(r"SET LOCAL statement_timeout = (\d+); LOCK TABLE", query) for query in seen]
    assert all(found), seen
    return {int(match[1]) for match in found if match}


def test_it_queues_for_a_lock_that_stops_readers_25_ms_at_most(two: Target, threads: ThreadPoolExecutor) -> None:
    with watched(two) as seen, blocker(two, "SELECT FROM one"):
        done = threads.submit(two.migrate, TWO)
        until(lambda: len(seen) > 20)
        assert not done.done()
    assert done.result() == TWO
    assert max(limits(seen)) <= 25


def test_in_the_last_third_of_the_deadline_it_queues_for_longer(two: Target, threads: ThreadPoolExecutor) -> None:
    policy = Policy(lock_deadline=4, lock_wait_max=0.15)
    with watched(two) as seen, blocker(two, "SELECT FROM one"):
        done = threads.submit(two.migrate, TWO, policy=policy)
        until(lambda: 150 in limits(seen))
    assert done.result() == TWO
    before = seen[: next(number for number, query in enumerate(seen) if 150 in limits([query]))]
    assert max(limits(before)) <= 25


def test_no_work_begins_before_all_locks_are_there(two: Target, threads: ThreadPoolExecutor) -> None:
    told = Told()
    with blocker(two, "SELECT FROM two"):
        done = threads.submit(two.migrate, TWO, on_status=told)
        told.wait_for("no lock at attempt 1")
        with open_session(two.url) as session:
            session.execute("SET statement_timeout = '30s'")
            session.execute("SELECT FROM one")
    assert done.result() == TWO
    assert two.query("SELECT nextval('tries')") == [(2,)]


def test_a_vacuum_is_waited_for_and_stops_no_reader_or_writer(two: Target, threads: ThreadPoolExecutor) -> None:
    """LOCK TABLE takes VACUUM's lock, because VACUUM itself would not hold it long enough."""
    with blocker(two, "LOCK TABLE one IN SHARE UPDATE EXCLUSIVE MODE"):
        done = threads.submit(two.migrate, TWO)
        until(lambda: two.query(_MODES.format("one")) == [("ShareUpdateExclusiveLock",)])
        with open_session(two.url) as session:
            session.execute("SET lock_timeout = '10ms'")
            session.execute("SELECT FROM one")
            session.execute("INSERT INTO one DEFAULT VALUES")
            session.commit()
        assert not done.done()
    assert done.result() == TWO


def test_unknown_locks_are_reported_once(two: Target, threads: ThreadPoolExecutor) -> None:
    """The revision runs by hand, with the `alembic` command."""
    two.write(TWO, ONE, "op.execute(\"DO $$BEGIN EXECUTE 'ALTER TABLE one ADD x int'; END$$\")")
    until(lambda: not two.query(_MODES.format("one")))
    with blocker(two, "SELECT FROM one"):
        done = threads.submit(two.alembic, "upgrade", "head")
        until(lambda: two.query(_MODES.format("one")) == [("AccessExclusiveLock",)])
    said = f"{TWO}: not all of its locks are known in advance (DO block), so each statement waits for its own, up to"
    assert done.result().count(f"{said} 200 ms") == 1


def test_a_lock_that_the_owner_cannot_take_is_waited_for_as_the_session_does(two: Target) -> None:
    """LOCK TABLE needs a privilege, and ALTER TABLE needs ownership."""
    told = Told()
    with open_session(two.url) as owner, open_session(two.url):
        owner.execute("REVOKE ALL ON one FROM CURRENT_USER")
        owner.commit()
        assert two.migrate(TWO, on_status=told) == TWO
    assert told.wait_for(TWO, "its locks cannot be taken in advance (permission denied for table one)")


def test_a_script_finds_its_own_limits_after_the_locks(two: Target, threads: ThreadPoolExecutor) -> None:
    sets = "op.execute(\"SET statement_timeout = '31s'; SET lock_timeout = '7s'\")"
    reads = "SELECT current_setting('statement_timeout') AS statement, current_setting('lock_timeout') AS lock"
    two.write(
        TWO, ONE, f"{sets}; op.execute('ALTER TABLE one ADD x int'); op.execute(\"CREATE TABLE seen AS {reads}\")"
    )
    told = Told()
    with blocker(two, "SELECT FROM one"):
        done = threads.submit(two.migrate, TWO, on_status=told)
        told.wait_for("no lock at attempt 1")
    assert done.result() == TWO
    assert two.query("SELECT * FROM seen") == [("31s", "7s")]


def test_locks_that_were_queued_for_leave_the_limits_and_the_children_alone(two: Target) -> None:
    with open_session(two.url) as owner:
        owner.execute("CREATE TABLE parent (); CREATE TABLE child () INHERITS (parent)")
    plan = LockPlan(groups=(("ACCESS EXCLUSIVE", ("app.parent",)),))
    with blocker(two, "SELECT FROM child"), open_session(two.url) as session:
        session.execute("SET statement_timeout = '31s'; SET lock_timeout = '7s'")
        table_locks._drain(plan, session)
        assert table_locks._within(plan, session, 5.0, "31s")
        for setting, value in (("statement_timeout", "31s"), ("lock_timeout", "7s")):
            assert session.execute(f"SHOW {setting}".encode()).fetchone() == (value,)


def test_locks_are_searched_for_only_beside_other_sessions(two: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    """The session that holds the migration lock is none of them."""
    searched: list[str] = []
    learn = table_locks.TableLocks.learn

    def learns(locks: table_locks.TableLocks, ahead: table_locks.LooksAhead, *arguments: Any) -> None:
        searched.extend(step.revision.revision for step in ahead.steps)
        learn(locks, ahead, *arguments)

    monkeypatch.setattr(table_locks.TableLocks, "learn", learns)
    assert two.migrate(TWO) == TWO
    assert searched == []
    two.write(THREE, TWO, "op.execute('ALTER TABLE one ADD y int')")
    with open_session(two.url):
        assert two.migrate(THREE) == THREE
    assert searched == [THREE]


def test_a_database_that_moves_between_two_attempts_is_planned_again(two: Target, threads: ThreadPoolExecutor) -> None:
    two.write(THREE, TWO, "op.execute('ALTER TABLE one ADD y int')")
    told = Told()
    with blocker(two, "SELECT FROM two"):
        done = threads.submit(two.migrate, THREE, on_status=told)
        told.wait_for("no lock at attempt 1")
        with open_session(two.url) as by_hand:
            by_hand.execute(f"UPDATE migrations.alembic_version SET version_num = '{TWO}'".encode())
            by_hand.commit()
    assert done.result() == THREE
    assert told.wait_for("planning again")
    assert two.query("SELECT attname FROM pg_attribute WHERE attrelid = 'one'::regclass AND attnum > 1") == [("y",)]
