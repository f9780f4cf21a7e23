"""A revision is retried after an error that can disappear, until its deadline."""

import psycopg
import pytest
import sqlalchemy.exc

from pulumi_alembic.database.retry import Retries
from pulumi_alembic.policy import Policy

BUSY = psycopg.errors.LockNotAvailable("canceling statement due to lock timeout")
GONE = psycopg.OperationalError("consuming input failed: server closed the connection unexpectedly")


class Clock:
    """Shows the time that it was set to."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def retries(clock: Clock) -> Retries:
    """Return retries in the first attempt at a revision, which has 10 s."""
    made = Retries(Policy(lock_deadline=10), clock)
    made.begin("one")
    return made


@pytest.mark.parametrize(
    "error",
    [BUSY, psycopg.errors.DeadlockDetected(), psycopg.errors.SerializationFailure()],
    ids=lambda error: type(error).__name__,
)
def test_a_lock_a_deadlock_and_a_serialization_failure_are_tried_again(retries: Retries, error: psycopg.Error) -> None:
    for raised in (error, sqlalchemy.exc.OperationalError("ALTER TABLE …", None, error)):
        pause = retries.pause(raised)
        assert pause is not None
        assert 0.3 < pause < 0.9


@pytest.mark.parametrize(
    "error",
    [
        psycopg.errors.UndefinedTable(),
        psycopg.errors.QueryCanceled(),
        psycopg.errors.DiskFull(),
        ValueError("no"),
        SystemExit(3),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_would_fail_again_is_not(retries: Retries, error: BaseException) -> None:
    assert retries.pause(error) is None


def test_no_pause_ends_behind_the_deadline_and_none_begins_there(retries: Retries, clock: Clock) -> None:
    retries.pause(BUSY)
    clock.now += 9.9
    assert retries.pause(BUSY) == pytest.approx(0.1)
    clock.now += 0.1
    assert retries.pause(BUSY) is None


def test_the_time_begins_with_the_first_failure(retries: Retries, clock: Clock) -> None:
    """An index can build for an hour before the first lock cannot be taken."""
    clock.now += 3600
    assert retries.pause(BUSY) is not None


def test_each_revision_has_its_own_time(retries: Retries, clock: Clock) -> None:
    retries.pause(BUSY)
    clock.now += 11
    retries.begin("one")
    assert retries.pause(BUSY) is None
    retries.begin("two")
    assert retries.pause(BUSY) is not None
    assert retries.attempts == 1


@pytest.mark.parametrize(
    "error", [GONE, psycopg.errors.AdminShutdown(), psycopg.errors.CrashShutdown()], ids=["cut", "shut", "crashed"]
)
def test_a_lost_connection_is_tried_again_at_once_and_once(retries: Retries, error: psycopg.Error) -> None:
    """A statement that crashes the server would otherwise crash it until the deadline."""
    assert retries.pause(error) == 0
    retries.begin("one")
    assert retries.pause(error) is None
    retries.begin("two")
    assert retries.pause(error) == 0


def test_a_wait_for_locks_counts_from_its_beginning_if_it_fails(clock: Clock, retries: Retries) -> None:
    retries.wait(begins=True)
    clock.now += 4
    assert retries.left == pytest.approx(6)
    assert retries.pause(BUSY) is not None
    retries.begin("one")
    clock.now += 7
    assert retries.pause(BUSY) is None


def test_a_wait_for_locks_that_ends_with_them_leaves_the_work_all_of_its_time(clock: Clock, retries: Retries) -> None:
    retries.wait(begins=True)
    clock.now += 4
    retries.wait(begins=False)
    clock.now += 60
    assert retries.pause(BUSY) is not None
    assert retries.left == pytest.approx(10)
