"""A backfill pauses while the server cannot keep up, says why, and goes on by itself."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from pulumi_alembic.migrate.backfills.work import work
from pulumi_alembic.migrate.blocks.pauses import LOOK
from pulumi_alembic.policy import Policy
from tests.conftest import Database, ThrowawayCluster
from tests.postgres.alembic.conftest import Target, prepare
from tests.postgres.alembic.test_backfill import ROWS as ALL_ROWS
from tests.postgres.alembic.test_backfill import asks, changed, command, one, pending, worker
from tests.postgres.alembic.waiting import LONGEST, Told, blocker

__all__ = ["one", "pending"]

ONE, TWO = "20250101_001", "20250102_002"
ROWS = 3000
TABLE = f"""
CREATE TABLE t (id int PRIMARY KEY, n int) WITH (autovacuum_vacuum_threshold = 500, autovacuum_vacuum_scale_factor = 0);
INSERT INTO t SELECT generate_series(1, {ROWS})
"""


@pytest.fixture
def alone(make_cluster: Callable[..., ThrowawayCluster], empty_target: Target) -> Target:
    """A backfill of some seconds, of which nothing is done, on a server of its own."""
    made = make_cluster({"autovacuum": "on", "autovacuum_naptime": "1s"})
    admin = Database(made.server, "migrated")
    with Database(made.server, "postgres").connect() as connection:
        connection.execute("CREATE DATABASE migrated")
    target = prepare(admin, empty_target.directory)
    target.write(ONE, None, f"op.execute({TABLE!r})")
    target.write(TWO, ONE, asks("'t', set='n = 1 + (pg_sleep(0.001) IS NULL)::int', where='n IS NULL'"))
    target.migrate(TWO, policy=Policy(backfill_in_update=0.001))
    return target


@pytest.mark.full
def test_it_waits_for_autovacuum(alone: Target) -> None:
    told = Told()
    # Autovacuum leaves a table alone that somebody has locked.
    with ThreadPoolExecutor() as pool, blocker(alone, "LOCK t IN SHARE UPDATE EXCLUSIVE MODE") as session:
        run = pool.submit(work, worker(alone, tell=told))
        told.wait_for("t: waiting for autovacuum: ", " dead rows, of 500 at which it begins")
        done = changed(alone)
        assert 0 < done < ROWS
        assert changed(alone) == done
        session.rollback()
        assert run.result() == []
    assert changed(alone) == ROWS


LIMIT = 64 << 10
POSITION = "SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::float"


@pytest.mark.full
def test_the_wal_per_second_stays_below_the_limit_on_average(alone: Target) -> None:
    told = Told()
    begun, [(before,)] = time.monotonic(), alone.query(POSITION)
    assert work(replace(worker(alone, tell=told), policy=Policy(max_wal_rate=LIMIT))) == []
    seconds, [(behind,)] = time.monotonic() - begun, alone.query(POSITION)
    told.wait_for("t: waiting, because the server wrote ", " kB of WAL per second (limit 64kB/s)")
    assert changed(alone) == ROWS
    # The last second of work, without a pause behind it, can be at several times the limit.
    assert float(str(behind)) - float(str(before)) < LIMIT * (seconds + 8 * LOOK)


def test_it_says_that_the_server_writes_too_much_wal(pending: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other tests write on the same server, so that the rate does not fall below the limit."""
    monkeypatch.setattr("pulumi_alembic.migrate.blocks.pauses.LOOK", 0.001)
    told, limited = Told(), Policy(max_wal_rate=1)
    with ThreadPoolExecutor() as pool:
        run = pool.submit(work, replace(worker(pending, tell=told), policy=limited, seconds=LONGEST))
        told.wait_for("t: waiting, because the server wrote ", " kB of WAL per second (limit 1B/s)")
        done = changed(pending)
        assert 0 < done < ALL_ROWS
        assert changed(pending) == done
        [(id,)] = pending.query("SELECT id FROM migrations.ledger WHERE event = 'backfill'")
        command(pending, "backfill", "pause", str(id))
        assert [left.changed for left in run.result()] == [done]


def test_the_command_has_a_limit_of_its_own(pending: Target) -> None:
    assert "--max-wal-rate must be a whole number with its unit" in command(
        pending, "backfill", "run", "--max-wal-rate", "fast", check=False
    )
    assert "every backfill is verified" in command(pending, "backfill", "run", "--max-wal-rate", "5GB/s")
