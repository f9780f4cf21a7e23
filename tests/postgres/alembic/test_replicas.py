"""If a streaming replica falls behind, the preflight refuses, and a batched update waits for it."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import psycopg
import pytest

from pulumi_alembic.errors import DatabaseError
from pulumi_alembic.policy import Policy
from taskdb.local.cluster import Cluster
from taskdb.local.ports import free_port
from tests.conftest import Database, ThrowawayCluster
from tests.postgres.alembic.conftest import Target, prepare
from tests.postgres.alembic.waiting import Told, until

ONE, TWO = "20250101_001", "20250102_002"
# Each test has its own two clusters.
pytestmark = pytest.mark.full

ROWS = 3000
TABLE = f"""
CREATE TABLE t (id int PRIMARY KEY, x int NOT NULL);
INSERT INTO t SELECT n, 0 FROM generate_series(1, {ROWS}) n
"""
UPDATE = "from pulumi_alembic import batched_update; batched_update('t', 'x = x + 1 + (pg_sleep(0.001) IS NULL)::int')"
BEHIND = Policy(preflight=True, max_replica_lag=0.5)


@dataclass(frozen=True)
class Replicated:
    """A migrator's database on a server with a replica, whose replay can be paused and resumed."""

    target: Target
    admin: Database
    replica: psycopg.Connection
    primary: psycopg.Connection

    def replay(self, does: str) -> None:
        self.replica.execute(f"SELECT pg_wal_replay_{does}()".encode())

    def lag(self) -> float:
        """Return the lag that the primary reports, in seconds."""
        row = self.primary.execute("SELECT extract(epoch FROM replay_lag)::float FROM pg_stat_replication").fetchone()
        return row[0] or 0.0 if row else 0.0


@pytest.fixture
def replicated(make_cluster: Callable[..., ThrowawayCluster], empty_target: Target) -> Iterator[Replicated]:
    made = make_cluster()
    cluster, port = made.cluster, free_port()
    superuser = {"host": "127.0.0.1", "user": "postgres", "password": "p", "dbname": "postgres", "autocommit": True}
    cluster.stop()
    postgres = cluster.binaries.program("postgres")
    alter = "ALTER ROLE postgres PASSWORD 'p'\n"
    assert not cluster.account.run(postgres, "--single", "-D", cluster.data, "postgres", stdin=alter).returncode
    with (cluster.data / "pg_hba.conf").open("a") as access:
        access.write("\nhost replication postgres 127.0.0.1/32 scram-sha-256\n")
    standby = Cluster(cluster.folder.with_name(f"{cluster.folder.name}-standby"), cluster.binaries, cluster.account)
    standby.folder.mkdir(mode=0o755)
    cluster.account.own(standby.folder)
    assert cluster.account.run("cp", "-a", cluster.data, standby.data).returncode == 0
    for made_by_us in (standby.data / "standby.signal", standby.log):
        made_by_us.touch()
        cluster.account.own(made_by_us)
    with (standby.data / "postgresql.auto.conf").open("a") as settings:
        settings.write(
            f"primary_conninfo = 'host=127.0.0.1 port={made.server.port} user=postgres password=p "
            "application_name=the_replica'\nwal_receiver_status_interval = 1\n"
        )
    cluster.start(made.server.port)
    standby.start(port)
    admin = Database(made.server, "migrated")
    with Database(made.server, "postgres").connect() as connection:
        connection.execute("CREATE DATABASE migrated")
    target = prepare(admin, empty_target.directory)
    try:
        with (
            psycopg.connect(port=made.server.port, **superuser) as primary,
            psycopg.connect(port=port, **superuser) as replica,
        ):
            until(lambda: primary.execute("SELECT pid FROM pg_stat_replication WHERE state = 'streaming'").fetchone())
            primary.execute(f"GRANT pg_read_all_stats TO {admin.name}_migrator".encode())
            target.write(ONE, None, f"op.execute({TABLE!r})")
            yield Replicated(target, admin, replica, primary)
    finally:
        standby.stop()


def test_preflight_names_a_replica_that_is_behind(replicated: Replicated) -> None:
    replicated.replay("pause")
    replicated.target.write(TWO, ONE)
    replicated.target.migrate(ONE)
    until(lambda: replicated.lag() > 1)
    with pytest.raises(
        DatabaseError, match=r"the replica the_replica is \d+ s behind \(max_replica_lag 0.5 s\)(?s:.*)Nothing was run"
    ):
        replicated.target.migrate(TWO, policy=BEHIND)
    replicated.replay("resume")
    until(lambda: replicated.lag() < 0.5)
    assert replicated.target.migrate(TWO, policy=BEHIND) == TWO


def test_a_batched_update_waits_for_a_replica_that_is_behind(replicated: Replicated) -> None:
    replicated.target.migrate(ONE)
    replicated.target.write(TWO, ONE, UPDATE)
    told = Told()
    with ThreadPoolExecutor() as pool:
        run = pool.submit(replicated.target.migrate, TWO, policy=Policy(max_replica_lag=0.5), on_status=told)
        replicated.replay("pause")
        try:
            told.wait_for("t: waiting for the replica the_replica,", "s behind")
            done = "SELECT count(*) FROM t WHERE x = 1"
            before = replicated.target.query(done)
            assert before < [(ROWS,)]
            assert replicated.target.query(done) == before
        finally:
            replicated.replay("resume")
        assert run.result() == TWO
    assert replicated.target.query(done) == [(ROWS,)]
