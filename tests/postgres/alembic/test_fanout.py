"""Many databases of one server as one resource: in waves, each with its own ledger and lock, and all reported."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from pulumi.output import Unknown

from pulumi_alembic.database.migration_lock import KEY
from pulumi_alembic.errors import DatabaseError
from pulumi_alembic.fanout.job import FanoutJob
from pulumi_alembic.fanout.plan.databases import Listing, address, unpack
from pulumi_alembic.fanout.survey import survey
from pulumi_alembic.fanout.worker_pool.pool import WorkerPool
from pulumi_alembic.stack import shown
from pulumi_alembic.stack.log import Log
from pulumi_alembic.stack.plugin_errors import HalfDone
from tests.conftest import Database
from tests.postgres.alembic.conftest import Target, write_for_tenants
from tests.postgres.alembic.stack import Refused, Stack
from tests.postgres.alembic.tenants import Tenants, tenants_of
from tests.postgres.alembic.test_contracts import applied_earlier, contract
from tests.postgres.alembic.waiting import until

ONE, TWO, THREE = "20250101_001", "20250102_002", "20250103_003"

# In one worker, because each of these tests starts as many processes as there are cores.


@pytest.fixture
def tenants(database: Database, empty_target: Target) -> Iterator[Tenants]:
    """Create four databases at base, and two revisions for them.

    The second fails in a database with a table `broken`.
    """
    write_for_tenants(empty_target, ONE, TWO)
    with tenants_of(database, empty_target, 4) as made:
        yield made


@pytest.fixture
def ten(tenants: Tenants) -> Tenants:
    """Create six more databases."""
    for _ in range(6):
        tenants.add()
    return tenants


@pytest.fixture
def stack(tenants: Tenants) -> Stack:
    """One resource for all databases."""
    return Stack(tenants.target.url)


def up(stack: Stack, tenants: Tenants, target: str = TWO, **settings: Any) -> bool:
    return stack.up(tenants.target.directory, target, **({"databases": list(tenants.names)} | settings))


def preview(stack: Stack, tenants: Tenants, target: str = TWO, **settings: Any) -> dict[str, Any]:
    return stack.preview(tenants.target.directory, target, **({"databases": list(tenants.names)} | settings))


def break_(tenants: Tenants, *numbers: int) -> None:
    """Make the second revision fail in these databases."""
    for number in numbers:
        tenants.run(tenants.names[number], "CREATE TABLE app.broken ()")


def mend(tenants: Tenants, *numbers: int) -> None:
    for number in numbers:
        tenants.run(tenants.names[number], "DROP TABLE app.broken")


@pytest.mark.full
def test_ten_databases_are_brought_to_the_head_each_with_its_own_ledger(ten: Tenants, stack: Stack) -> None:
    assert preview(stack, ten)["plan"] == f"10 databases: base → {TWO}"
    assert up(stack, ten)
    assert ten.revisions == [TWO] * 10
    for name in ten.names:
        rows = ten.at(name).query("SELECT revision, stack FROM migrations.ledger ORDER BY id")
        assert rows == [(ONE, "dev"), (TWO, "dev")]
    assert (stack.outputs["revision"], stack.outputs["revisions"]) == (TWO, {TWO: 10})
    assert preview(stack, ten)["plan"] == f"at {TWO}: nothing pending"
    assert not up(stack, ten)


@pytest.mark.full
def test_equal_plans_are_shown_once_and_their_statements_too(tenants: Tenants, stack: Stack, said: list[str]) -> None:
    tenants.at(tenants.names[1]).migrate(ONE)
    tenants.at(tenants.names[2]).migrate(TWO)
    shown = preview(stack, tenants)
    assert shown["plan"] == f"2 databases: base → {TWO}; 1: {ONE} → {TWO}; 1: already there"
    assert set(shown["statements"]) == {f"upgrade {ONE}", f"upgrade {TWO}"}
    [text] = said
    assert text.count("CREATE") == 0 and text.count(f"↑ {ONE} script") == 1
    assert f"1 database ({tenants.names[1]}): {ONE} → {TWO}, 1 upgrade" in text
    assert shown["digest"] in text


def test_a_canary_that_fails_leaves_all_others_untouched(ten: Tenants, stack: Stack) -> None:
    break_(ten, 0)
    with pytest.raises(HalfDone) as failed:
        up(stack, ten)
    assert ten.revisions == [ONE] + ["base"] * 9
    text = str(failed.value)
    assert text.startswith("wave 1 of 4, the canary, 1 database: 1 database failed, and 9 databases after it were")
    assert f"{ten.names[0]}: revision {TWO} failed on upgrade" in text
    assert text.endswith("\n  pulumi up --stack dev")
    assert stack.outputs["revisions"] == {"base": 9, ONE: 1}
    assert list(stack.outputs["failures"]) == [ten.names[0]]


@pytest.mark.full
def test_a_wave_that_fails_ends_whole_and_the_next_update_goes_on(ten: Tenants, stack: Stack) -> None:
    break_(ten, 2, 4)
    with pytest.raises(HalfDone) as failed:
        up(stack, ten, waves={"canary": 2, "wave": 4})
    assert ten.revisions == [TWO, TWO, ONE, TWO, ONE, TWO] + ["base"] * 4
    assert "wave 2 of 3, 4 databases: 2 databases failed, and 4 databases after it were" in str(failed.value)
    assert stack.outputs["revisions"] == {TWO: 4, "base": 4, ONE: 2}
    mend(ten, 2, 4)
    assert preview(stack, ten)["plan"] == f"4 databases: base → {TWO}; 2: {ONE} → {TWO}; 4: already there"
    assert up(stack, ten)
    assert ten.revisions == [TWO] * 10
    assert (stack.outputs["revisions"], stack.outputs["failures"]) == ({TWO: 10}, {})


@pytest.mark.full
def test_the_same_error_of_many_is_told_once(tenants: Tenants, stack: Stack) -> None:
    break_(tenants, *range(1, 4))
    with pytest.raises(HalfDone) as failed:
        up(stack, tenants, waves={"wave": 100})
    assert f"3 databases ({', '.join(tenants.names[1:])}): " in str(failed.value)
    assert str(failed.value).count("PostgreSQL: broken") == 1


@pytest.mark.full
def test_a_killed_worker_is_a_failed_database_and_no_hang(tenants: Tenants, stack: Stack) -> None:
    tenants.target.write(
        THREE,
        TWO,
        "op.execute('CREATE TABLE three (id int)')\n"
        f"    if op.get_bind().exec_driver_sql('SELECT current_database()').scalar() == {tenants.names[2]!r}:\n"
        "        import os; os.kill(os.getpid(), 9)",
    )
    with pytest.raises(HalfDone) as failed:
        up(stack, tenants, THREE, waves={"canary": 1, "wave": 3, "parallel": 2})
    assert f"{tenants.names[2]}: the process that worked on it was ended by signal 9" in str(failed.value)
    assert tenants.revisions == [TWO if number == 2 else THREE for number in range(4)]
    assert stack.outputs["revisions"][THREE] == 3
    tenants.target.write(THREE, TWO, "op.execute('CREATE TABLE three (id int)')")


@pytest.mark.full
def test_what_moves_while_the_plans_are_judged_is_looked_at_anew(
    tenants: Tenants, stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = WorkerPool.run

    def moving(pool: WorkerPool, task: str, *items: Any, **more: Any) -> Iterator[tuple[int, dict[str, Any]]]:
        if task == "review" and tenants.revisions[0] == "base":
            tenants.at(tenants.names[0]).migrate(ONE)
        return run(pool, task, *items, **more)

    monkeypatch.setattr(WorkerPool, "run", moving)
    assert preview(stack, tenants)["plan"] == f"3 databases: base → {TWO}; 1: {ONE} → {TWO}"
    assert up(stack, tenants) and tenants.revisions == [TWO] * 4


def workers(tenants: Tenants, pool: WorkerPool) -> list[int]:
    """Read all databases once more, and return the ids of the forks that have done it."""
    assert [
        error
        for _, answer in pool.run("look", [(name, None) for name in tenants.names], 2)
        if (error := answer.get("error"))
    ] == []
    assert pool._process
    found = subprocess.run(
        ["ps", "--ppid", str(pool._process.pid), "-o", "pid="], capture_output=True, text=True
    ).stdout
    return sorted(map(int, found.split()))


@pytest.mark.full
def test_the_workers_stay_and_one_that_dies_between_two_batches_is_replaced(tenants: Tenants) -> None:
    with WorkerPool(job(tenants, TWO)) as pool:
        before = workers(tenants, pool)
        assert len(before) == 2 and workers(tenants, pool) == before
        os.kill(before[0], signal.SIGKILL)
        until(lambda: before[0] not in members(os.getpgid(before[1])))
        after = workers(tenants, pool)
        assert len(after) == 2 and before[0] not in after and before[1] in after


@pytest.mark.full
def test_two_updates_at_once_run_each_revision_once(tenants: Tenants) -> None:
    """Both updates have read the databases before either runs.

    An update that reads during the other's run must begin again.
    """
    stacks = [Stack(tenants.target.url) for _ in range(2)]
    errors: list[BaseException] = []
    looked = threading.Barrier(2)

    def run(stack: Stack) -> None:
        try:
            up(stack, tenants, between=looked.wait)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=[stack]) for stack in stacks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert tenants.revisions == [TWO] * 4
    for name in tenants.names:
        assert tenants.at(name).query("SELECT count(*) FROM migrations.ledger") == [(2,)]
    assert [stack.outputs["revisions"] for stack in stacks] == [{TWO: 4}] * 2


def test_a_database_in_which_somebody_migrates_is_waited_for_and_named(
    tenants: Tenants, stack: Stack, said: list[str]
) -> None:
    with tenants.connect(tenants.names[0]) as other:
        other.execute("SELECT pg_advisory_lock(%s)", [KEY])
        with pytest.raises(HalfDone, match="another migration is running"):
            up(stack, tenants, policy={"migration_wait": "300ms"})
    assert any(f"{tenants.names[0]}: waiting for another migration" in each for each in said)
    assert tenants.revisions == ["base"] * 4


def test_what_would_be_lost_in_any_of_them_is_refused_before_the_first(tenants: Tenants, stack: Stack) -> None:
    for name in tenants.names:
        tenants.at(name).migrate(TWO)
    for number in (1, 3):
        tenants.run(tenants.names[number], "INSERT INTO app.two VALUES (1)")
    lost = f"1 row of app.two in {tenants.names[1]} and as much in 1 more"
    review = json.loads(preview(stack, tenants, ONE)["__plans"])[0]["plan"]
    assert review["revisions"][0]["losses"] == [lost]
    with pytest.raises(Exception, match="the plan deletes data") as refused:
        up(stack, tenants, ONE)
    assert lost in str(refused.value)
    assert tenants.revisions == [TWO] * 4


@pytest.mark.full
def test_what_may_be_lost_is_lost_in_all_of_them(tenants: Tenants, stack: Stack) -> None:
    up(stack, tenants)
    for number in (1, 3):
        tenants.run(tenants.names[number], "INSERT INTO app.two VALUES (1)")
    with pytest.raises(Exception, match="the plan deletes data"):
        up(stack, tenants, ONE)
    assert up(stack, tenants, ONE, __allow_data_loss=[TWO])
    assert tenants.revisions == [ONE] * 4


def test_an_approval_of_some_databases_is_none_of_one_more(tenants: Tenants, stack: Stack) -> None:
    approval = {"require_approval": True, "databases": tenants.names[:1]}
    digest = preview(stack, tenants, **approval)["digest"]
    approval["databases"] = tenants.names[:2]
    with pytest.raises(Exception, match="the plan is not the one that was approved: database changed since"):
        up(stack, tenants, **approval, __approved=digest)
    assert tenants.revisions == ["base"] * 4


@pytest.mark.full
def test_only_what_was_approved_runs_in_exactly_those_databases(tenants: Tenants, stack: Stack) -> None:
    approval = {"require_approval": True}
    with pytest.raises(Exception, match="the pending revisions are not approved"):
        up(stack, tenants, **approval)
    digest = preview(stack, tenants, **approval)["digest"]
    tenants.add()
    with pytest.raises(Exception, match="the plan is not the one that was approved: database changed since"):
        up(stack, tenants, **approval, __approved=digest)
    assert tenants.revisions == ["base"] * 5
    tenants.drop(tenants.names[-1])
    assert up(stack, tenants, **approval, __approved=digest)
    assert tenants.revisions == [TWO] * 4


def test_one_that_moved_behind_the_approval_is_left_alone(tenants: Tenants, stack: Stack) -> None:
    """The database moves after the approval and before its turn, while the canary delays the update."""
    digest = preview(stack, tenants, require_approval=True)["digest"]
    with tenants.connect(tenants.names[0]) as other:
        other.execute("SELECT pg_advisory_lock(%s)", [KEY])
        waits = threading.Event()
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(Log, "info", lambda self, text: waits.set() if "waiting for" in text else None)
            failed: list[BaseException] = []

            def run() -> None:
                try:
                    up(stack, tenants, require_approval=True, __approved=digest)
                except BaseException as error:
                    failed.append(error)

            thread = threading.Thread(target=run)
            thread.start()
            assert waits.wait(60)
            tenants.at(tenants.names[1]).migrate(ONE)
            other.execute("SELECT pg_advisory_unlock(%s)", [KEY])
            thread.join()
    [error] = failed
    assert f"{tenants.names[1]}: the plan is not the one that was approved" in str(error)
    assert tenants.revisions[:3] == [TWO, ONE, TWO]


QUERY = "SELECT datname FROM pg_database WHERE starts_with(datname, '{}') ORDER BY datname"


def asked(tenants: Tenants, **settings: Any) -> dict[str, Any]:
    """Return the settings of a fan-out by a query, instead of a list."""
    return {"query": QUERY.format(tenants.prefix), "query_timeout": "10s", **settings}


def stack_up(stack: Stack, tenants: Tenants, target: str = TWO, **settings: Any) -> bool:
    return stack.up(tenants.target.directory, target, **asked(tenants, **settings))


@pytest.mark.full
def test_a_query_names_the_databases_and_new_ones_are_a_change(tenants: Tenants, stack: Stack, said: list[str]) -> None:
    assert stack_up(stack, tenants)
    assert tenants.revisions == [TWO] * 4
    assert not stack_up(stack, tenants)
    new, gone = tenants.add(), tenants.names[2]
    tenants.drop(gone)
    said.clear()
    assert stack.preview(tenants.target.directory, TWO, **asked(tenants))["plan"] == (
        f"1 database: base → {TWO}; 3: already there"
    )
    assert f"new since the last update: {new}" in said[0]
    assert f"no longer among them, and left as they are: {gone}" in said[0]
    assert stack_up(stack, tenants)
    assert tenants.revision(new) == TWO
    assert stack.outputs["revisions"] == {TWO: 4}


@pytest.mark.full
def test_a_list_without_one_that_was_there_leaves_that_as_it_is(
    tenants: Tenants, stack: Stack, said: list[str]
) -> None:
    up(stack, tenants, ONE)
    said.clear()
    left = tenants.names[-1]
    assert up(stack, tenants, databases=tenants.names[:-1])
    assert tenants.revisions == [TWO] * 3 + [ONE]
    preview(stack, tenants, databases=tenants.names[:-2])
    assert f"no longer among them, and left as they are: {tenants.names[-2]}" in said[-1] and left not in said[-1]


@pytest.mark.few(4)
@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ("SELECT NULL::text", "the query for the databases, number 1 is NULL"),
        ("SELECT 7", "number 1 is 7: the name of a database is a text"),
        ("SELECT 'a', 'b'", "gives 2 columns: it gives one"),
        ("SELECT 'a' UNION ALL SELECT 'a'", "'a' is there twice, as number 1 and number 2"),
        ("SELECT repeat('x', 64)", "has 64 bytes"),
        ("SELECT 'a' WHERE false", "there is not one database"),
        ("SELECT datname FROM pg_databases", r"relation .pg_databases. does not exist \(42P01\)"),
        ("SELECT 'no_such_database_here'", "does not exist on the server: create it first"),
        ("SELECT 'template1'", "it is migrated by no stack"),
        ("SELECT pg_sleep(60)::text", r"it was ended after 0.2 s. Give it longer: Query\(…, timeout="),
        ("CREATE TABLE app.made (id int)", "read-only transaction"),
        ("INSERT INTO app.made VALUES (1) RETURNING 'a'", "permission denied|read-only transaction"),
        ("SELECT 'a'; COMMIT; CREATE TABLE app.made (id int)", "multiple commands"),
        ("COMMIT", "the query for the databases fails"),
        ("SELECT", "gives 0 columns"),
        ("rubbish ''", "syntax error"),
    ],
)
def test_a_query_that_returns_rubbish_is_refused_before_anything_changes(
    empty_target: Target, statement: str, reason: str
) -> None:
    empty_target.write(ONE, None)
    stack = Stack(empty_target.url)
    with pytest.raises(Refused, match=reason):
        stack.preview(empty_target.directory, ONE, query=statement, query_timeout="200ms")
    assert empty_target.query("SELECT to_regclass('app.made') IS NULL") == [(True,)]


@pytest.mark.full
def test_a_query_is_asked_at_the_address_of_its_own(tenants: Tenants, stack: Stack, database: Database) -> None:
    other = "postgresql://nobody:geheim@127.0.0.1:1/x"
    with pytest.raises(Refused, match="the query for the databases: cannot connect") as refused:
        stack_up(stack, tenants, __query_url=other)
    assert "geheim" not in str(refused.value)
    stack_up(stack, tenants, __query_url=address(tenants.target.url, tenants.names[0]))
    assert tenants.revisions == [TWO] * 4


def test_all_missing_databases_are_named_before_anything_changes(tenants: Tenants, stack: Stack) -> None:
    with pytest.raises(Refused, match="2 databases of 6 cannot be migrated, and nothing was changed") as refused:
        up(stack, tenants, databases=[*tenants.names, "no_such_1", "no_such_2"])
    assert "2 databases (no_such_1, no_such_2)" in str(refused.value)
    assert "does not exist on the server: create it first, or remove it from the list" in str(refused.value)
    assert tenants.revisions == ["base"] * 4


def test_what_a_database_lacks_is_said_before_anything_changes(tenants: Tenants, stack: Stack) -> None:
    for number in (1, 2):
        tenants.run(tenants.names[number], "DROP SCHEMA migrations")
    with tenants.connect(tenants.names[3]) as admin:
        admin.execute(f'ALTER DATABASE "{tenants.names[3]}" IS_TEMPLATE true')
        try:
            with pytest.raises(Refused) as refused:
                up(stack, tenants)
        finally:
            admin.execute(f'ALTER DATABASE "{tenants.names[3]}" IS_TEMPLATE false')
    assert f"2 databases ({tenants.names[1]}, {tenants.names[2]})" in str(refused.value)
    said = "the schema migrations, for the migration tables, does not exist. As an admin: CREATE SCHEMA migrations "
    assert said in str(refused.value)
    assert f"{tenants.names[3]}: it is a template" in str(refused.value)
    assert [tenants.revision(tenants.names[number]) for number in (0, 3)] == ["base", "base"]


@pytest.mark.full
def test_a_database_at_an_unknown_revision_is_refused_and_named(tenants: Tenants, stack: Stack) -> None:
    up(stack, tenants)
    checkout = tenants.target.directory.parent / "older" / "migrations"
    shutil.copytree(tenants.target.directory, checkout, ignore=shutil.ignore_patterns("__pycache__", f"{TWO}_*"))
    with pytest.raises(Refused) as refused:
        stack.preview(checkout, ONE, databases=tenants.names, on_unknown_revision="refuse")
    assert f"4 databases ({', '.join(tenants.names)}): " in str(refused.value)
    assert "on_unknown_revision is refuse" in str(refused.value)
    assert stack.up(checkout, ONE, databases=tenants.names)
    assert tenants.revisions == [ONE] * 4


def test_a_wrong_password_is_one_error_and_no_thousand(tenants: Tenants, stack: Stack) -> None:
    stack.url = stack.url.replace("_migrator:", "_migrator:x")
    with pytest.raises(Refused, match="password authentication failed") as refused:
        up(stack, tenants)
    assert str(refused.value).count("password") == 1


@pytest.mark.full
def test_a_password_that_the_update_changes_is_looked_at_with_the_old_one(tenants: Tenants, stack: Stack) -> None:
    up(stack, tenants, ONE)
    stack.url = stack.url.replace("_migrator:", "_migrator:x")
    assert preview(stack, tenants)["plan"] == f"4 databases: {ONE} → {TWO}"


@pytest.mark.full
def test_databases_that_are_still_to_come_are_planned_from_base(tenants: Tenants, stack: Stack) -> None:
    up(stack, tenants, ONE)
    shown = preview(stack, tenants, databases=[*tenants.names, Unknown(), Unknown()])
    assert shown["plan"] == f"4 databases: {ONE} → {TWO}; 2: base → {TWO}"
    stack.lose()
    assert preview(stack, tenants, url=Unknown())["plan"] == f"4 databases: base → {TWO}"
    assert preview(stack, tenants, databases=Unknown())["plan"] == "the databases are not known yet"


@pytest.mark.full
def test_a_database_that_does_not_exist_yet_cannot_be_approved(tenants: Tenants, stack: Stack, said: list[str]) -> None:
    preview(stack, tenants, databases=[*tenants.names, Unknown()], require_approval=True)
    assert "will be another one, since an approval names each database, and 1 is still to come" in said[-1]
    assert "`pulumi up --stack dev` makes them, and ends before it migrates" in said[-1]
    preview(stack, tenants, require_approval=True)
    assert "to come" not in said[-1]


@pytest.mark.full
def test_a_refresh_reads_them_all_and_what_was_moved_by_hand_is_a_change(tenants: Tenants, stack: Stack) -> None:
    up(stack, tenants)
    stack.refresh()
    assert stack.outputs["revision"] == TWO
    tenants.at(tenants.names[3]).migrate(ONE)
    stack.refresh()
    assert stack.outputs["revisions"] == {TWO: 3, ONE: 1}
    assert stack.inputs["target"] == f"{TWO} (3), {ONE} (1)"
    assert preview(stack, tenants)["plan"] == f"1 database: {ONE} → {TWO}; 3: already there"
    assert up(stack, tenants) and tenants.revisions == [TWO] * 4


@pytest.mark.full
def test_a_refresh_says_which_are_gone_and_keeps_what_it_cannot_read(
    tenants: Tenants, stack: Stack, said: list[str]
) -> None:
    up(stack, tenants)
    tenants.drop(tenants.names[-1])
    said.clear()
    stack.refresh()
    assert said == ["1 database of 4 are not there any more"]
    assert stack.outputs["revisions"] == {TWO: 3}
    tenants.run(tenants.names[0], "DROP SCHEMA migrations CASCADE")
    stack.refresh()
    assert "not read, the state keeps the last reading" in said[-1] and tenants.names[0] in said[-1]
    assert stack.outputs["revisions"] == {TWO: 3}


@pytest.mark.full
def test_the_state_of_a_query_is_as_large_for_ten_as_for_two(ten: Tenants) -> None:
    up(Stack(ten.target.url), ten)

    def size(prefix: str) -> int:
        stack = Stack(ten.target.url)
        stack.up(ten.target.directory, TWO, query=QUERY.format(prefix), query_timeout="10s")
        return len(json.dumps([stack.inputs, stack.outputs]))

    assert size(ten.prefix) - size(f"{ten.prefix}00") < 150


@pytest.mark.full
def test_the_names_of_a_list_are_kept_packed(tenants: Tenants, stack: Stack) -> None:
    up(stack, tenants, __applying=True)
    assert unpack(stack.inputs["__databases"]) == tuple(tenants.names)
    assert stack.inputs["databases"].startswith("4 databases, v1:")
    assert tenants.names[2] not in json.dumps([stack.inputs, stack.outputs])


def job(tenants: Tenants, target: str) -> FanoutJob:
    return FanoutJob(tenants.target.job(target, "pulumi up"))


BLOCKED = """
import sys
from pulumi_alembic.fanout.worker_pool.pool import WorkerPool
from pulumi_alembic.fanout.job import FanoutJob

with WorkerPool(FanoutJob.from_line(sys.stdin.buffer.readline())) as crowd:
    names = sys.argv[1:]
    for answer in crowd.run("migrate", [(name, {"key": "", "approved": False, "configure": ""}) for name in names], 2):
        print(answer)
"""


@pytest.mark.full
@pytest.mark.parametrize(
    ("whom", "number"),
    [("provider", signal.SIGKILL), ("group", signal.SIGINT), ("helper", signal.SIGTERM), ("helper", signal.SIGKILL)],
)
def test_nothing_goes_on_for_a_provider_that_is_gone(tenants: Tenants, whom: str, number: int) -> None:
    """No process and no session remains, and the server rolls back uncommitted changes."""
    tenants.target.write(THREE, TWO, "op.execute('CREATE TABLE three (id int)'); op.execute('SELECT pg_sleep(600)')")
    provider = subprocess.Popen(
        [sys.executable, "-c", BLOCKED, *tenants.names[:2]],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    assert provider.stdin
    provider.stdin.write(job(tenants, THREE).to_line() + b"\n")
    provider.stdin.flush()
    try:
        until(lambda: sleeping(tenants) == 2)
        group = members(provider.pid)
        assert len(group) == 4, "the provider, its helper and two that migrate"
        helper = next(pid for pid in group if parent(pid) == provider.pid)
        match whom:
            case "provider":
                provider.send_signal(number)
            case "group":
                os.killpg(provider.pid, number)
            case "helper":
                os.kill(helper, number)
        provider.wait(30)
        until(lambda: not members(provider.pid))
        until(lambda: sleeping(tenants) == 0)
    finally:
        provider.stdin.close()
        provider.kill()
    assert tenants.revisions[:2] == [TWO, TWO]


def sleeping(tenants: Tenants) -> int:
    """Count the databases in the middle of the third revision. The login sees its own sessions."""
    with psycopg.connect(tenants.target.url) as connection:
        [(number,)] = connection.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND starts_with(datname, %s)",
            [tenants.prefix],
        ).fetchall()
        return int(number)


def members(group: int) -> list[int]:
    """Return the living processes of a process group."""
    found = subprocess.run(["ps", "-eo", "pid=,pgid=,stat="], capture_output=True, text=True, check=True).stdout
    rows = [line.split() for line in found.splitlines()]
    return [int(pid) for pid, of, state in rows if int(of) == group and not state.startswith("Z")]


def parent(pid: int) -> int:
    found = subprocess.run(["ps", "-o", "ppid=", "-p", str(pid)], capture_output=True, text=True).stdout.strip()
    return int(found or 0)


@pytest.mark.full
def test_a_preview_with_nothing_pending_loads_neither_alembic_nor_a_parser(
    tenants: Tenants, stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    up(stack, tenants)
    for name in ("alembic", "sqlalchemy", "postgast"):
        (tmp_path / f"{name}.py").write_text(f"raise ImportError('{name} is loaded')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with WorkerPool(job(tenants, TWO)) as pool:
        found = survey(pool, Listing.of(tenants.names, ""), 2)
    assert found.plan == f"at {TWO}: nothing pending"
    with WorkerPool(job(tenants, ONE)) as pool, pytest.raises(DatabaseError, match="ended"):
        list(pool.run("review", [(tenants.names[0], "")], 1))


@pytest.mark.usefixtures("processes")
def test_a_url_is_in_no_argument_and_no_environment(tenants: Tenants) -> None:
    """Every user of the machine can read both."""
    with WorkerPool(job(tenants, TWO)) as pool:
        list(pool.run("look", [(tenants.names[0], None)], 1))
        shown = subprocess.run(["ps", "eww", "-eo", "args"], capture_output=True, text=True, check=True).stdout
        assert "pulumi_alembic.fanout" in shown
        assert tenants.target.url.split(":")[2].split("@")[0] not in shown


@pytest.mark.full
def test_tenants_at_different_phases_are_groups_of_their_own(tenants: Tenants, stack: Stack) -> None:
    """A contract runs where its time has come."""
    contract(tenants.target, THREE, TWO, "op.execute('DROP TABLE one')", "op.execute('CREATE TABLE one (id int)')")
    older, newer, later, empty = tenants.names
    for name in (older, newer, later):
        tenants.at(name).migrate(TWO)
    applied_earlier(tenants.at(older), TWO, 25)
    shown = preview(stack, tenants, THREE, contract="24h")
    assert shown["held"].keys() == {THREE}
    assert shown["plan"] == f"1 database: {TWO} → {THREE}; 1: base → {TWO}; 2: at {TWO} with 1 revision held"
    assert up(stack, tenants, THREE, contract="24h")
    assert tenants.revisions == [THREE, TWO, TWO, TWO]
    assert stack.outputs["revisions"] == {THREE: 1, TWO: 3}
    assert not up(stack, tenants, THREE, contract="24h")
    applied_earlier(tenants.at(later), TWO, 25)
    applied_earlier(tenants.at(empty), TWO, 25)
    assert up(stack, tenants, THREE, contract="24h")
    assert tenants.revisions == [THREE, TWO, THREE, THREE]


def test_a_tenant_that_is_due_since_the_preview_waits(
    tenants: Tenants, stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    contract(tenants.target, THREE, TWO, "op.execute('DROP TABLE one')", "op.execute('CREATE TABLE one (id int)')")
    assert up(stack, tenants, THREE, contract="24h")
    for name, hours in zip(tenants.names, (25, 27, 25, 27), strict=True):
        applied_earlier(tenants.at(name), TWO, hours)
    two_hours_ago = (datetime.now(UTC) - timedelta(hours=2)).isoformat()
    monkeypatch.setattr(shown, "noted_target", lambda urn: two_hours_ago)
    assert up(stack, tenants, THREE, contract="24h", __applying=True)
    assert tenants.revisions == [TWO, THREE, TWO, THREE]
