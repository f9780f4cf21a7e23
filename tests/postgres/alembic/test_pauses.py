"""A backfill pauses while the server cannot keep up, says why, and goes on by itself."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from pulumi_alembic.migrate.backfills.work import work
from pulumi_alembic.policy import Policy
from tests.conftest import Database, ThrowawayCluster
from tests.postgres.alembic.conftest import Target, prepare
from tests.postgres.alembic.test_backfill import asks, changed, worker
from tests.postgres.alembic.waiting import Told, blocker

ONE, TWO = "20250101_001", "20250102_002"
ROWS = 3000
TABLE = f"""
CREATE TABLE t (id int PRIMARY KEY, n int) WITH (autovacuum_vacuum_threshold = 500, autovacuum_vacuum_scale_factor = 0);
INSERT INTO t SELECT generate_series(1, {ROWS})
"""
# A server of its own.
pytestmark = pytest.mark.full


@pytest.fixture
def pending(make_cluster: Callable[..., ThrowawayCluster], empty_target: Target) -> Target:
    """A backfill of some seconds, of which nothing is done."""
    made = make_cluster({"autovacuum": "on", "autovacuum_naptime": "1s"})
    admin = Database(made.server, "migrated")
    with Database(made.server, "postgres").connect() as connection:
        connection.execute("CREATE DATABASE migrated")
    target = prepare(admin, empty_target.directory)
    target.write(ONE, None, f"op.execute({TABLE!r})")
    target.write(TWO, ONE, asks("'t', set='n = 1 + (pg_sleep(0.001) IS NULL)::int', where='n IS NULL'"))
    target.migrate(TWO, policy=Policy(backfill_in_update=0.001))
    return target


def test_it_waits_for_autovacuum(pending: Target) -> None:
    told = Told()
    # Autovacuum leaves a table alone that somebody has locked.
    with ThreadPoolExecutor() as pool, blocker(pending, "LOCK t IN SHARE UPDATE EXCLUSIVE MODE") as session:
        run = pool.submit(work, worker(pending, tell=told))
        told.wait_for("t: waiting for autovacuum: ", " dead rows, of 500 at which it begins")
        done = changed(pending)
        assert 0 < done < ROWS
        assert changed(pending) == done
        session.rollback()
        assert run.result() == []
    assert changed(pending) == ROWS
