"""A server or pool over which migrating is impossible or unwise is refused with the reason, before anything runs."""

import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest

from pulumi_alembic.database.connection import log_in, open_session
from pulumi_alembic.database.migration_lock import hold
from pulumi_alembic.errors import DatabaseError
from pulumi_alembic.migrate import planner
from pulumi_alembic.migrate.job import Job
from pulumi_alembic.policy import Policy
from taskdb.local.account import Account
from taskdb.local.ports import free_port
from tests.conftest import Database, ThrowawayCluster
from tests.postgres.alembic.conftest import Target, prepare
from tests.postgres.alembic.waiting import Told, blocker, until

ONE = "20250101_001"
PGBOUNCER = shutil.which("pgbouncer")


@pytest.fixture
def one(empty_target: Target) -> Target:
    empty_target.write(ONE, None, "op.execute('CREATE TABLE one ()')", "op.execute('DROP TABLE one')")
    return empty_target


def tables(target: Target) -> list[tuple[object, ...]]:
    return target.query("SELECT relname FROM pg_class WHERE relnamespace = 'app'::regnamespace AND relkind = 'r'")


@pytest.fixture
def pooled(one: Target, open_folder: Path, request: pytest.FixtureRequest) -> Iterator[Target]:
    """Connect the target through a pgbouncer whose pool_mode is the test's parameter."""
    if PGBOUNCER is None:
        pytest.skip("no pgbouncer on the PATH")
    url = urlsplit(one.url)
    port = free_port()
    configuration = open_folder / "pgbouncer.ini"
    configuration.write_text(
        f"[databases]\n* = host={url.hostname} port={url.port} user={url.username} password={url.password}\n"
        f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n"
        f"auth_type = any\npool_mode = {request.param}\nignore_startup_parameters = extra_float_digits\n"
    )
    account = Account.for_new_server()
    process = subprocess.Popen(
        [PGBOUNCER, configuration],
        user=account.uid,
        group=account.gid,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    through = replace(one, url=one.url.replace(f":{url.port}/", f":{port}/"))
    until(lambda: answers(through.url))
    yield through
    process.kill()
    process.wait()
    # Sessions of the pool would prevent the drop of the database.
    until(lambda: one.query("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()") == [(1,)])


def answers(url: str) -> bool:
    try:
        psycopg.connect(url).close()
    except psycopg.OperationalError as error:
        return "refused" not in str(error)
    return True


@pytest.mark.parametrize("pooled", ["transaction"], indirect=True)
def test_a_pool_that_changes_the_session_between_transactions_is_refused(pooled: Target, one: Target) -> None:
    for attempt in (
        lambda: pooled.migrate(ONE),
        lambda: planner.plan_from_database(Job(pooled.url, pooled.directory, ONE)),
    ):
        with pytest.raises(DatabaseError, match=r"gives each transaction another session \(pgbouncer: pool_mode"):
            attempt()
    assert "gives each transaction another session" in pooled.alembic("upgrade", "head", check=False)
    assert tables(one) == []


@pytest.mark.parametrize("pooled", ["transaction"], indirect=True)
def test_such_a_pool_is_known_also_while_others_use_it(pooled: Target) -> None:
    """With other clients, a connection can get a session that it did not have before, or another client's session."""
    with psycopg.connect(pooled.url) as busy, psycopg.connect(pooled.url) as idle:
        busy.execute("SELECT 1")
        idle.execute("SELECT 1")
        idle.rollback()
        for _ in range(5):
            with pytest.raises(DatabaseError, match="gives each transaction another session"):
                log_in(pooled.url)


@pytest.mark.parametrize("pooled", ["session"], indirect=True)
def test_a_pool_in_session_mode_is_as_good_as_the_server(pooled: Target, one: Target) -> None:
    assert pooled.migrate(ONE) == ONE
    assert tables(one) == [("one",)]


@pytest.mark.parametrize("of", ["ROLE {}_migrator", "DATABASE {}"])
def test_where_transactions_are_read_only_it_says_so(one: Target, database: Database, of: str) -> None:
    with database.connect() as admin:
        admin.execute(f"ALTER {of.format(database.name)} SET default_transaction_read_only = on")
    source = "user" if "ROLE" in of else "database"
    reason = rf"default_transaction_read_only is on \(set by: {source}\)"
    with pytest.raises(DatabaseError, match=reason):
        one.migrate(ONE)
    with pytest.raises(DatabaseError, match=reason):
        planner.plan_from_database(Job(one.url, one.directory, ONE))
    with pytest.raises(DatabaseError, match=reason), hold(one.url, Policy(), "pulumi-alembic restore", print):
        pass
    assert planner.read_revision(one.url) == "base"
    with database.connect() as admin:
        admin.execute("SET default_transaction_read_only = off")
        admin.execute(f"ALTER {of.format(database.name)} RESET default_transaction_read_only")


@pytest.mark.full
def test_a_replica_is_refused_and_can_be_read(make_cluster: Callable[..., ThrowawayCluster], one: Target) -> None:
    primary = make_cluster()
    database = Database(primary.server, "migrated")
    with Database(primary.server, "postgres").connect() as admin:
        admin.execute("CREATE DATABASE migrated")
    target = prepare(database, one.directory)
    assert target.migrate(ONE) == ONE
    primary.cluster.stop()
    (primary.cluster.data / "standby.signal").touch()
    primary.cluster.start(primary.server.port)
    assert planner.read_revision(target.url) == ONE
    for attempt in (
        lambda: target.migrate("base"),
        lambda: planner.plan_from_database(Job(target.url, target.directory, "base")),
    ):
        with pytest.raises(DatabaseError, match="this is a read-only replica"):
            attempt()
    assert "this is a read-only replica" in target.alembic("downgrade", "base", check=False)
    assert tables(target) == [("one",)]


@pytest.mark.full
def test_preflight_names_what_is_too_old(one: Target) -> None:
    policy = Policy(preflight=True, max_transaction_age=0.001)
    with blocker(one, "SELECT 1") as session:
        with pytest.raises(DatabaseError, match="Nothing was run") as caught:
            one.migrate(ONE, policy=policy)
        whom = f"pid {session.info.backend_pid} (user {session.info.user}, application the report) has been in a"
    assert whom in str(caught.value)
    assert tables(one) == []


@pytest.mark.full
def test_preflight_names_a_forgotten_prepared_transaction(
    make_cluster: Callable[..., ThrowawayCluster], one: Target
) -> None:
    server = make_cluster({"max_prepared_transactions": "5"}).server
    with Database(server, "postgres").connect() as admin:
        admin.execute("CREATE DATABASE migrated")
    target = prepare(Database(server, "migrated"), one.directory)
    with open_session(target.url) as session:
        session.execute("CREATE TABLE forgotten ()")
        session.execute("PREPARE TRANSACTION 'left behind'")
    with pytest.raises(DatabaseError, match="the prepared transaction 'left behind' of migrated_"):
        target.migrate(ONE, policy=Policy(preflight=True, max_transaction_age=0.001))
    assert tables(target) == []


@pytest.mark.full
def test_preflight_sees_the_own_sessions_of_a_login_that_becomes_the_owner(one: Target, database: Database) -> None:
    with database.connect() as admin:
        admin.execute(f"ALTER ROLE {database.name}_migrator SET role = {database.name}_owner".encode())
    old = Policy(preflight=True, max_transaction_age=0.001)
    with (
        blocker(one, "SELECT 1") as session,
        pytest.raises(DatabaseError, match=f"pid {session.info.backend_pid} .* has been in a transaction for"),
    ):
        one.migrate(ONE, policy=old)
    assert tables(one) == []


def test_preflight_says_what_it_cannot_see_and_how_it_could(one: Target, database: Database) -> None:
    told = Told()
    with database.connect():
        one.migrate(ONE, policy=Policy(preflight=True), on_status=told)
    login = f"{database.name}_migrator"
    told.wait_for("this role cannot see the age of 1 session. As", f"GRANT pg_read_all_stats TO {login}")


def test_preflight_wants_connections_left(one: Target) -> None:
    with pytest.raises(DatabaseError, match=r"connections are free \(min_free_connections 100000\)"):
        one.migrate(ONE, policy=Policy(preflight=True, min_free_connections=100_000))
    assert tables(one) == []


def test_preflight_lets_a_quiet_server_pass(one: Target) -> None:
    assert one.migrate(ONE, policy=Policy(preflight=True)) == ONE
