"""A backfill continues beside the application until a scan finds no more of its rows, even if processes are killed."""

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pulumi_alembic.database.connection import connect
from pulumi_alembic.errors import BackfillError, HistoryError, RevisionFailed
from pulumi_alembic.migrate import planner
from pulumi_alembic.migrate.backfills import store
from pulumi_alembic.migrate.backfills.work import Worker, work
from pulumi_alembic.policy import Policy
from pulumi_alembic.review.build import review_from_database
from pulumi_alembic.review.lint.settings import Settings
from pulumi_alembic.review.plan_text import summary
from pulumi_alembic.scripts.origin import Origin
from pulumi_alembic.scripts.phases import WITH_DEPLOY, Contracts
from tests import formats, loaded
from tests.postgres.alembic.conftest import Target
from tests.postgres.alembic.waiting import LONGEST, Told, blocker, until

ONE, TWO, THREE = "20250101_001", "20250102_002", "20250103_003"
ROWS = 5_000
TABLES = f"""
CREATE TABLE t (id int PRIMARY KEY, n int, seen int NOT NULL DEFAULT 0);
INSERT INTO t SELECT generate_series(1, {ROWS});
CREATE TABLE keyless (n int);
CREATE TABLE "Odd %s" ("A b" text, day date, n int, PRIMARY KEY ("A b", day));
INSERT INTO "Odd %s" SELECT chr(65 + x % 26) || '%', date '2025-01-01' + x FROM generate_series(1, 500) x;
"""
# Each row counts how often it was set.
SET, WHERE = "n = 10 % 4, seen = seen + 1", "n IS NULL"
IN_UPDATE = Policy(backfill_in_update=0.001)
"""Nothing is done in the update."""
TO_ITS_END = Policy(backfill_in_update=300)
"""All is done in the update, even on a busy machine."""


def asks(arguments: str) -> str:
    return f"from pulumi_alembic import backfill; backfill({arguments})"


OF_T = asks(f"'t', set='{SET}', where='{WHERE}'")


@pytest.fixture
def one(empty_target: Target) -> Target:
    empty_target.write(ONE, None, f"op.execute({TABLES.replace('%', '%%')!r} % ())")
    empty_target.migrate(ONE)
    return empty_target


@pytest.fixture
def pending(one: Target) -> Target:
    """A database where the revision is applied, and none of its rows is done."""
    one.write(TWO, ONE, OF_T, "op.execute('UPDATE t SET n = NULL, seen = 0')")
    assert one.migrate(TWO, policy=IN_UPDATE) == TWO
    return one


def worker(target: Target, **changes: object) -> Worker:
    known = {"tell": lambda text: None, "done": lambda text: None} | changes
    return Worker(target.url, Policy(lock_deadline=30), origin=Origin(), **known)  # type: ignore[arg-type]


def seen(target: Target) -> list[tuple[object, ...]]:
    return target.query("SELECT n, seen, count(*) FROM t GROUP BY n, seen ORDER BY seen")


def states(target: Target) -> list[str]:
    with connect(target.url) as connection:
        return [each.state.value for each in store.read(connection)]


def command(target: Target, *arguments: str, check: bool = True) -> str:
    done = loaded.run(
        [Path(sys.executable).with_name("pulumi-alembic"), *arguments, "--directory", target.directory],
        env={"PATH": "/usr/bin:/bin", "DATABASE_URL": target.url},
    )
    assert not check or done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_the_update_works_at_it_and_says_what_is_left(one: Target) -> None:
    one.write(TWO, ONE, OF_T)
    told = Told()
    assert one.migrate(TWO, policy=TO_ITS_END, on_backfill=told) == TWO
    assert seen(one) == [(2, 1, ROWS)]
    assert any("of app.t" in text and f"verified, {ROWS:,} rows set" in text for text in told.texts), told.texts
    assert states(one) == ["verified"]


def test_what_the_update_had_no_time_for_goes_on_by_command(pending: Target) -> None:
    assert seen(pending) == [(None, 0, ROWS)]
    [listed] = formats.read("backfill", command(pending, "backfill", "status", "--json"))["backfills"]
    assert (listed["table"], listed["state"], listed["changed"]) == ("app.t", "pending", 0)
    assert f"verified, {ROWS:,} rows set" in command(pending, "backfill", "run", "--full-speed")
    assert seen(pending) == [(2, 1, ROWS)]
    assert "every backfill is verified" in command(pending, "backfill", "run")
    assert "backfill app.t" in command(pending, "history")


def test_without_any_the_commands_say_so(one: Target) -> None:
    assert command(one, "backfill", "run") == command(one, "backfill", "status") == "no backfills\n"


def test_a_key_of_several_columns_with_odd_names_and_values(one: Target) -> None:
    with blocker(one, 'INSERT INTO "Odd %s" SELECT repeat($$x$$, x), now() FROM generate_series(1, 1000) x') as session:
        session.commit()
    one.write(TWO, ONE, asks("""'"Odd %s"', set="n = 10 % 4", where="n IS NULL AND '%s' LIKE '%'" """))
    assert one.migrate(TWO, policy=TO_ITS_END) == TWO
    assert one.query("""SELECT n, count(*) FROM "Odd %s" GROUP BY n""") == [(2, 1500)]
    assert states(one) == ["verified"]


RUN = ("pulumi-alembic", "backfill", "run")


def changed(target: Target) -> int:
    with connect(target.url) as connection:
        return sum(each.changed for each in store.read(connection))


def test_each_row_is_set_once_however_often_it_is_killed(pending: Target) -> None:
    for row in (1000, 3000):
        with blocker(pending, f"SELECT FROM t WHERE id = {row} FOR UPDATE"), pending.running(*RUN):
            until(lambda row=row: changed(pending) == row - 1)  # type: ignore[misc]
    assert work(worker(pending)) == []
    assert seen(pending) == [(2, 1, ROWS)]


def test_it_says_that_rows_are_locked(pending: Target) -> None:
    told = Told()
    with ThreadPoolExecutor() as pool, blocker(pending, "SELECT FROM t WHERE id = 1000 FOR UPDATE") as session:
        run = pool.submit(work, worker(pending, tell=told))
        told.wait_for("app.t: waiting for rows that another session has locked")
        session.rollback()
        assert run.result() == []
    assert seen(pending) == [(2, 1, ROWS)]


def test_it_says_once_that_others_wait_for_its_rows(pending: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    told = Told()
    monkeypatch.setattr("pulumi_alembic.migrate.blocks.walk._WAITED_FOR", "walked <= 1000")
    # It is said again after some seconds, which a slow machine can need.
    monkeypatch.setattr("pulumi_alembic.migrate.blocks.pauses._SAY", LONGEST)
    assert work(worker(pending, tell=told)) == []
    said = [text for text in told.texts if "another session waits" in text]
    assert said == ["app.t: smaller batches, because another session waits for their rows"]


def test_rows_that_come_in_meanwhile_are_found_by_the_scan_and_set(pending: Target) -> None:
    """Such rows are one after the previous last row, and one whose value was removed after the walk had passed it."""
    with (
        blocker(pending, f"SELECT FROM t WHERE id = {ROWS - 10} FOR UPDATE") as session,
        pending.running(*RUN) as process,
    ):
        until(lambda: changed(pending) == ROWS - 11)
        session.execute(f"INSERT INTO t VALUES ({ROWS + 1}); UPDATE t SET n = NULL WHERE id = 5")
        session.commit()
        until(lambda: process.poll() is not None)
        assert process.returncode == 0
    assert pending.query("SELECT count(*) FROM t WHERE n IS NULL") == [(0,)]
    assert states(pending) == ["verified"]


@pytest.mark.full
def test_the_last_row_is_deleted_meanwhile(pending: Target) -> None:
    delete = f"SELECT FROM t WHERE id = {ROWS - 10} FOR UPDATE; DELETE FROM t WHERE id = {ROWS}"
    with blocker(pending, delete) as session, pending.running(*RUN) as process:
        until(lambda: changed(pending) == ROWS - 11)
        session.commit()
        until(lambda: process.poll() is not None)
        assert process.returncode == 0
    assert seen(pending) == [(2, 1, ROWS - 1)]


def test_several_sessions_share_a_large_table(one: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pulumi_alembic.migrate.backfills.work._LARGE", 1000)
    with blocker(one, "ANALYZE t") as session:
        session.commit()
    one.write(TWO, ONE, OF_T)
    one.migrate(TWO, policy=IN_UPDATE)
    assert work(worker(one, sessions=3)) == []
    assert seen(one) == [(2, 1, ROWS)]
    assert one.query("SELECT count(*), sum(changed) FROM migrations.batches") == [(8, ROWS)]


def test_a_paused_one_is_left_alone_and_a_cancelled_one_for_good(pending: Target) -> None:
    [(id,)] = pending.query("SELECT id FROM migrations.ledger WHERE event = 'backfill'")
    command(pending, "backfill", "pause", str(id))
    assert "paused" in command(pending, "backfill", "run", check=False)
    assert seen(pending) == [(None, 0, ROWS)]
    assert "is paused" in command(pending, "backfill", "pause", str(id), check=False)
    command(pending, "backfill", "resume", str(id))
    assert states(pending) == ["pending"]
    assert "cancelled" in command(pending, "backfill", "cancel", str(id), "--reason", "not needed")
    assert work(worker(pending)) == []
    assert seen(pending) == [(None, 0, ROWS)]
    assert "cancelled, 0 rows set: not needed" in " ".join(command(pending, "history").split())
    assert "there is no backfill 12345" in command(pending, "backfill", "resume", "12345", check=False)


def test_a_pause_ends_a_run_within_a_batch(pending: Target) -> None:
    [(id,)] = pending.query("SELECT id FROM migrations.ledger WHERE event = 'backfill'")
    with blocker(pending, "SELECT FROM t WHERE id = 100 FOR UPDATE"), pending.running(*RUN) as process:
        until(lambda: changed(pending) == 99)
        command(pending, "backfill", "pause", str(id))
        until(lambda: process.poll() is not None)
        assert process.returncode == 1


def test_a_revision_that_was_taken_back_has_none(pending: Target) -> None:
    assert states(pending) == ["pending"]
    pending.migrate(ONE)
    assert states(pending) == []
    pending.migrate(TWO, policy=TO_ITS_END)
    assert states(pending) == ["verified"]


def test_a_condition_that_stays_true_fails_the_revision(one: Target) -> None:
    one.write(TWO, ONE, "op.execute('CREATE TABLE two ()'); " + asks("'t', set='seen = 1', where='id > 0'"))
    with pytest.raises(RevisionFailed, match="`where` is still true for a row that was set"):
        one.migrate(TWO)
    assert one.query("SELECT to_regclass('two')") == [(None,)]
    assert states(one) == []


@pytest.mark.parametrize(
    ("arguments", "error", "said"),
    [
        (
            "'keyless', set='n = 1', where='n IS NULL'",
            HistoryError,
            "backfill of app.keyless: the table has no primary key",
        ),
        ("'t', set='id = 1', where='n IS NULL'", RevisionFailed, "it walks along id, and so cannot change it"),
        ("'t', set='nn = 1', where='n IS NULL'", RevisionFailed, '"nn" of relation "t" does not exist'),
    ],
)
def test_what_cannot_work_is_refused(one: Target, arguments: str, error: type[Exception], said: str) -> None:
    one.write(TWO, ONE, asks(arguments))
    with pytest.raises(error, match=said):
        one.migrate(TWO)
    assert states(one) == []


def test_a_row_that_its_sql_cannot_do_ends_it_with_the_reason_and_no_value(pending: Target) -> None:
    with blocker(pending, "ALTER TABLE t ADD CHECK (id <> 4000 OR n IS NULL)") as session:
        session.commit()
    with pytest.raises(BackfillError, match="violates check constraint") as caught:
        work(worker(pending))
    assert "4000" not in str(caught.value)
    assert "pulumi-alembic backfill run" in str(caught.value)
    assert states(pending) == ["pending"]


def test_a_table_that_is_gone_is_told_with_the_command_and_no_update_fails(pending: Target) -> None:
    pending.write(THREE, TWO, "op.execute('ALTER TABLE t RENAME TO u')", "op.execute('ALTER TABLE u RENAME TO t')")
    told = Told()
    assert pending.migrate(THREE, on_backfill=told) == THREE
    assert any("no such table any more" in text and "backfill cancel" in text for text in told.texts), told.texts
    assert "no such table any more with the key (id)" in command(pending, "backfill", "run", check=False)


def test_a_scan_that_fails_ends_the_backfill_and_not_the_update(one: Target) -> None:
    one.write(TWO, ONE, asks(f"'t', set='{SET}', where='n IS NULL OR (n = 2 AND 1 / (id - 4000) = 7)'"))
    told = Told()
    assert one.migrate(TWO, policy=TO_ITS_END, on_backfill=told) == TWO
    assert any("division by zero (22012)" in text and "backfill run" in text for text in told.texts), told.texts
    with pytest.raises(BackfillError, match="division by zero"):
        work(worker(one))


def test_a_trigger_that_undoes_it_is_no_endless_loop(pending: Target) -> None:
    with blocker(
        pending,
        "CREATE FUNCTION undo() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.n = NULL; RETURN NEW; END';"
        "CREATE TRIGGER undo BEFORE UPDATE ON t FOR EACH ROW WHEN (OLD.id = 7) EXECUTE FUNCTION undo();"
        "DELETE FROM t WHERE id > 10",
    ) as session:
        session.commit()
    with pytest.raises(BackfillError, match=r"still come in|not changed by it"):
        work(worker(pending))


def test_an_old_table_of_positions_is_upgraded(pending: Target) -> None:
    with blocker(
        pending,
        "CREATE TABLE migrations.batches (intent bigint PRIMARY KEY, position text[], final text[], "
        "walked bigint NOT NULL DEFAULT 0, changed bigint NOT NULL DEFAULT 0, "
        "moved_at timestamptz NOT NULL DEFAULT clock_timestamp());"
        "INSERT INTO migrations.batches VALUES (0, '{1}', '{1}')",
    ) as session:
        session.commit()
    assert work(worker(pending)) == []
    assert pending.query("SELECT intent, part FROM migrations.batches ORDER BY intent LIMIT 1") == [(0, 0)]


def contract(target: Target) -> None:
    script = target.write(THREE, TWO, "op.execute('ALTER TABLE t ALTER n SET NOT NULL')")
    script.write_text(script.read_text().replace("\ndef upgrade", "\nphase = 'contract'\ndef upgrade", 1))


def test_a_contract_waits_until_the_backfill_before_it_is_verified(pending: Target) -> None:
    contract(pending)
    job = pending.job(THREE, contracts=Contracts(WITH_DEPLOY))
    held = planner.read_plan_context(job).plan
    assert not held.steps and "backfill run" in held.waits[THREE]
    work(worker(pending))
    assert [step.id for step in planner.read_plan_context(job).plan.steps] == [THREE]


def test_a_contract_in_the_same_run_begins_when_the_backfill_is_verified(one: Target) -> None:
    """The contract has no waiting time here, because nothing can be deployed in between."""
    one.write(TWO, ONE, OF_T)
    contract(one)
    assert one.migrate(THREE, policy=IN_UPDATE) == THREE
    assert seen(one) == [(2, 1, ROWS)]
    assert states(one) == ["verified"]


def test_a_small_table_is_done_in_the_revision(one: Target) -> None:
    one.write(TWO, ONE, "op.execute('DELETE FROM t WHERE id > 1000'); " + OF_T)
    assert one.migrate(TWO, policy=IN_UPDATE) == TWO
    assert seen(one) == [(2, 1, 1000)]
    assert states(one) == ["verified"]
    assert "verified, 1,000 rows set" in " ".join(command(one, "history").split())


def test_the_preview_names_what_is_set_after_the_revision(one: Target) -> None:
    one.write(TWO, ONE, "op.execute('CREATE TABLE two ()'); " + OF_T)
    _, review = review_from_database(one.job(TWO), Settings.parse({}))
    assert "    backfills t, after the revision" in "\n".join(summary(review))


def test_offline_it_is_printed_as_the_statement_that_it_is(one: Target) -> None:
    one.write(TWO, ONE, asks("'t', set='n = 1', where='n IS NULL'"))
    assert "UPDATE t SET n = 1 WHERE n IS NULL /* backfill */;" in one.alembic("upgrade", f"{ONE}:{TWO}", "--sql")
