"""A batched update does each row once, despite locked rows and killed processes.

If that is impossible, it does nothing.
"""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from pulumi_alembic.database.connection import log_in, open_session
from pulumi_alembic.errors import HistoryError, RevisionFailed
from pulumi_alembic.migrate import planner
from pulumi_alembic.migrate.job import Job
from pulumi_alembic.policy import Policy
from tests.conftest import ALL
from tests.postgres.alembic.conftest import Target
from tests.postgres.alembic.waiting import Told, blocker, until

ONE, TWO, THREE = "20250101_001", "20250102_002", "20250103_003"
ROWS = 20_000
TABLES = f"""
CREATE TABLE t (id int PRIMARY KEY, n int NOT NULL DEFAULT 0, other int NOT NULL DEFAULT 0);
INSERT INTO t SELECT generate_series(1, {ROWS});
CREATE TABLE keyless (n int, maybe int UNIQUE, sure int NOT NULL, part int NOT NULL);
CREATE UNIQUE INDEX ON keyless (part) WHERE part > 0;
CREATE UNIQUE INDEX ON keyless (sure);
CREATE TABLE pairs ("A b" text, day date, n int DEFAULT 0, PRIMARY KEY ("A b", day));
INSERT INTO pairs SELECT chr(65 + x % 26) || '%', date '2025-01-01' + x, 0 FROM generate_series(1, 500) x;
"""


def batched(arguments: str, function: str = "batched_update") -> str:
    return f"from pulumi_alembic import {function}; {function}({arguments})"


@pytest.fixture
def one(empty_target: Target) -> Target:
    empty_target.write(ONE, None, f"op.execute({TABLES!r})")
    empty_target.migrate(ONE)
    return empty_target


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor() as pool:
        yield pool


def counts(target: Target, condition: str = "true") -> list[tuple[object, ...]]:
    return target.query(f"SELECT n, count(*) FROM t WHERE {condition} GROUP BY n ORDER BY n")


def applied(target: Target) -> list[object]:
    return [id for (id,) in target.query("SELECT revision FROM migrations.ledger WHERE event = 'applied' ORDER BY id")]


def walked(target: Target) -> object:
    if target.query("SELECT to_regclass('migrations.batches')") == [(None,)]:
        return None
    return (target.query("SELECT walked FROM migrations.batches ORDER BY intent DESC LIMIT 1") or [(None,)])[0][0]


@contextmanager
def writing(target: Target) -> Iterator[None]:
    """Run a session that updates every row but each thousandth, which tests lock, and inserts and deletes some rows."""
    stop = threading.Event()

    def write() -> None:
        with open_session(target.url) as session:
            session.autocommit = True
            while not stop.is_set():
                session.execute("UPDATE t SET other = other + 1 WHERE id % 1000 = 1 + floor(random() * 999)")
                session.execute("INSERT INTO t (id) SELECT max(id) + 1 FROM t")
                session.execute(f"DELETE FROM t WHERE id = (SELECT max(id) FROM t WHERE id > {ROWS + 5})")

    with ThreadPoolExecutor() as pool:
        writer = pool.submit(write)
        try:
            yield
        finally:
            stop.set()
        writer.result()


@pytest.mark.full
def test_kills_under_load_update_each_row_once(one: Target) -> None:
    one.write(TWO, ONE, batched("'t', 'n = n + 1'"))
    with writing(one):
        for row in (7000, 14000):
            locked = blocker(one, f"SELECT FROM t WHERE id = {row} FOR UPDATE")
            with locked, one.running("alembic", "upgrade", "head"):
                until(lambda row=row: walked(one) == row - 1)  # type: ignore[misc]
            assert counts(one, f"id <= {ROWS}") == [(0, ROWS - row + 1), (1, row - 1)]
        assert one.migrate(TWO) == TWO
    assert counts(one, f"id <= {ROWS}") == [(1, ROWS)]
    assert applied(one) == [ONE, TWO]


def test_only_rows_of_the_condition_are_updated_and_all_are_looked_at(one: Target) -> None:
    one.write(TWO, ONE, batched("""'t', "n = 10 % 4", where="id % 10 = 0 AND 'x%s' LIKE '%s'" """))
    assert one.migrate(TWO) == TWO
    assert counts(one) == [(0, ROWS * 9 // 10), (2, ROWS // 10)]
    assert one.query("SELECT walked, changed FROM migrations.batches") == [(ROWS, ROWS // 10)]


@pytest.mark.few(1)
@pytest.mark.parametrize("table", ["pairs", "app.pairs", '"app"."pairs"'])
def test_a_key_of_several_columns_is_walked_with_odd_names_and_values(one: Target, table: str) -> None:
    one.write(TWO, ONE, batched(f"{table!r}, 'n = n + 1'"))
    assert one.migrate(TWO) == TWO
    assert one.query("SELECT n, count(*) FROM pairs GROUP BY n") == [(1, 500)]


def test_an_empty_table_is_done_at_once(one: Target) -> None:
    one.write(TWO, ONE, batched("'keyless', 'n = 1', key='sure'"))
    assert one.migrate(TWO) == TWO


def test_rows_that_are_added_meanwhile_are_not_chased(one: Target) -> None:
    """Otherwise a writer that is faster than the walk would prevent its end."""
    one.write(TWO, ONE, batched("'t', 'n = n + 1 + 0 * (SELECT count(*) FROM more())'"))
    with blocker(
        one,
        "CREATE FUNCTION more() RETURNS SETOF t LANGUAGE sql AS "
        "'INSERT INTO app.t (id) SELECT max(id) + 1 FROM app.t RETURNING *'; DELETE FROM t WHERE id > 300",
    ) as session:
        session.commit()
    assert one.migrate(TWO) == TWO
    assert counts(one, "id <= 300") == [(1, 300)]
    assert counts(one, "id > 300")[0][0] == 0


@pytest.mark.few(1)
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("'keyless', 'n = 1'", r"the table has no primary key to walk along. Name another unique key.*\('sure',\)"),
        ("'app.keyless', 'n = 1', key='maybe'", r"\(maybe\) is not a key of it"),
        ("'keyless', 'n = 1', key='part'", r"\(part\) is not a key of it"),
        ("'keyless', 'n = 1', key=('sure', 'n')", r"\(sure, n\) is not a key of it"),
    ],
)
def test_without_a_key_it_is_refused_by_the_preview_the_update_and_the_command(
    one: Target, arguments: str, said: str
) -> None:
    """The refusal comes before anything runs, so the revision before it is not applied either."""
    one.write(TWO, ONE, "op.execute('CREATE TABLE two ()')")
    script = one.write(THREE, TWO, batched(arguments))
    for act in (lambda: planner.plan_from_database(Job(one.url, one.directory, THREE)), lambda: one.migrate(THREE)):
        with pytest.raises(HistoryError, match=said) as caught:
            act()
        assert f"{script.name}:6: " in str(caught.value)
    assert "batched_update of" in one.alembic("upgrade", "head", check=False)
    assert one.query("SELECT to_regclass('two')") == [(None,)]


def test_a_table_that_an_earlier_revision_makes_is_looked_at_when_it_is_there(one: Target) -> None:
    one.write(TWO, ONE, "op.execute('CREATE TABLE made (n int); INSERT INTO made VALUES (0)')")
    one.write(THREE, TWO, batched("'made', 'n = 1'"))
    with pytest.raises(RevisionFailed, match="the table has no primary key") as caught:
        one.migrate(THREE)
    assert caught.value.revision == TWO
    assert one.query("SELECT n FROM made") == [(0,)]


@pytest.mark.few(1)
@pytest.mark.parametrize("assignments", ["n = 1, id = id + 1", '(n, "id") = (1, 2)'])
def test_its_own_key_is_nothing_that_it_may_change(one: Target, assignments: str) -> None:
    one.write(TWO, ONE, batched(f"'t', {assignments!r}"))
    with pytest.raises(RevisionFailed, match="walks along id, and so cannot change it"):
        one.migrate(TWO)
    assert counts(one) == [(0, ROWS)]


def test_batches_after_a_statement_of_the_transaction_are_refused(one: Target) -> None:
    one.write(TWO, ONE, "op.execute('CREATE TABLE two ()'); " + batched("'t', 'n = 1'"))
    with pytest.raises(HistoryError, match="split it into two revisions"):
        one.migrate(TWO)


def test_the_next_run_continues_at_the_row_that_stayed_locked(one: Target) -> None:
    one.write(TWO, ONE, batched("'t', 'n = n + 1'"))
    with (
        blocker(one, "SELECT FROM t WHERE id = 5000 FOR UPDATE"),
        pytest.raises(RevisionFailed, match=r"lock timeout(?s:.*)the next run completes its statements"),
    ):
        one.migrate(TWO, policy=Policy(lock_deadline=1))
    assert counts(one) == [(0, ROWS - 4999), (1, 4999)]
    assert one.migrate(TWO) == TWO
    assert counts(one) == [(1, ROWS)]


def test_it_waits_for_a_locked_row_and_goes_on_as_soon_as_it_is_free(one: Target, threads: ThreadPoolExecutor) -> None:
    one.write(TWO, ONE, batched("'t', 'n = n + 1'"))
    with blocker(one, "UPDATE t SET other = 1 WHERE id = 5000"):
        run = threads.submit(one.migrate, TWO)
        until(lambda: walked(one) == 4999)
        assert not run.done()
    assert run.result() == TWO
    assert counts(one) == [(1, ROWS)]


@pytest.mark.full
def test_a_row_that_takes_longer_than_a_batch_may_is_done_by_itself(one: Target) -> None:
    one.write(TWO, ONE, batched("'t', 'n = n + CASE id WHEN 777 THEN length(pg_sleep(0.2)::text) + 1 ELSE 1 END'"))
    assert one.migrate(TWO) == TWO
    assert counts(one) == [(1, ROWS)]


def test_somebody_who_cancels_it_ends_it(one: Target, threads: ThreadPoolExecutor) -> None:
    """A batch that exceeded its time is tried again. A batch that a user cancelled is not."""
    one.write(TWO, ONE, batched("'t', 'n = n + length(pg_sleep(60)::text)', where='id = 300'"))
    run = threads.submit(one.migrate, TWO)
    with log_in(one.url, "beside", autocommit=True, own=False) as beside:
        long = "wait_event = 'PgSleep' AND clock_timestamp() - query_start > '200 ms'"
        cancel = f"SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND {long}"
        until(lambda: beside.execute(cancel).fetchone())
    with pytest.raises(RevisionFailed, match="due to user request"):
        run.result()


FAILS = batched("'t', 'n = n + 100 / (id - 5000)', where='true'")


@pytest.fixture
def half(one: Target) -> Target:
    """An update that was interrupted by a row that its SQL cannot update. Each row counts its updates."""
    with blocker(
        one,
        "CREATE FUNCTION counted() RETURNS trigger LANGUAGE plpgsql AS "
        "'BEGIN NEW.other = OLD.other + 1; RETURN NEW; END';"
        "CREATE TRIGGER c BEFORE UPDATE ON t FOR EACH ROW EXECUTE FUNCTION counted()",
    ) as session:
        session.commit()
    one.write(TWO, ONE, FAILS)
    with pytest.raises(RevisionFailed, match=r"division by zero \(22012\)"):
        one.migrate(TWO)
    [(done,)] = one.query("SELECT walked FROM migrations.batches")
    assert one.query("SELECT other, count(*) FROM t GROUP BY other ORDER BY other") == [(0, ROWS - done), (1, done)]
    return one


def test_other_sql_in_place_of_an_interrupted_one_is_refused_with_the_choice(half: Target) -> None:
    half.write(TWO, ONE, batched("'t', 'n = 7'"))
    with pytest.raises(RevisionFailed) as caught:
        half.migrate(TWO)
    for part in ("interrupted half-way", "n = n + 100 / (id - 5000)", "n = 7", "'continue'", "'restart'"):
        assert part in str(caught.value)


def test_other_sql_continues_behind_what_was_done_where_the_script_says_so(half: Target) -> None:
    half.write(TWO, ONE, batched("'t', 'n = 7', changed='continue'"))
    assert half.migrate(TWO) == TWO
    assert half.query("SELECT other, count(*) FROM t GROUP BY other") == [(1, ROWS)]


def test_other_sql_begins_anew_where_the_script_says_so(half: Target) -> None:
    half.write(TWO, ONE, batched("'t', 'n = 7', changed='restart'"))
    assert half.migrate(TWO) == TWO
    assert counts(half) == [(7, ROWS)]


def test_one_that_is_done_does_not_run_again_where_what_follows_failed(one: Target) -> None:
    one.write(TWO, ONE, f"{batched(repr('t') + ', ' + repr('n = n + 1'))}; op.execute('SELECT 1/0')")
    for _ in range(2):
        with pytest.raises(RevisionFailed, match="22012"):
            one.migrate(TWO)
    assert counts(one) == [(1, ROWS)]


def test_after_its_revision_was_taken_back_it_runs_anew(one: Target) -> None:
    one.write(TWO, ONE, batched("'t', 'n = n + 1'"), batched("'t', 'n = n + 10'"))
    for revision in (TWO, ONE, TWO):
        one.migrate(revision)
    assert counts(one) == [(12, ROWS)]


def test_one_that_is_done_after_its_revision_was_taken_back_does_not_run_again(one: Target) -> None:
    """What was begun since the revision was last applied counts, although it was applied before."""
    back = batched("'t', 'n = 0'")
    one.write(TWO, ONE, batched("'t', 'n = n + 1'"), back)
    one.migrate(TWO)
    one.migrate(ONE)
    one.write(TWO, ONE, batched("'t', 'n = n + 10'") + "; op.execute('SELECT 1/0')", back)
    for _ in range(2):
        with pytest.raises(RevisionFailed, match="22012"):
            one.migrate(TWO)
    assert counts(one) == [(10, ROWS)]


@pytest.mark.full
def test_its_progress_is_told(one: Target) -> None:
    told = Told()
    with blocker(one, "ANALYZE t") as session:
        session.commit()
    # The update takes at least two seconds, and its progress is reported every second.
    slow = "n = n + 1 + CASE WHEN id % 20 = 0 THEN (pg_sleep(0.003) IS NULL)::int ELSE 0 END"
    one.write(TWO, ONE, batched(f"'t', '{slow}'"))
    one.migrate(TWO, on_status=told)
    told.wait_for(f"{TWO}: t: ", " of about 20,000 rows (", " rows/s, ", " s left")


@pytest.mark.full
def test_offline_it_is_printed_as_the_statement_that_it_is(one: Target) -> None:
    one.write(TWO, ONE, batched("'t', 'n = n + 1', where='n = 0'"))
    assert "UPDATE t SET n = n + 1 WHERE n = 0 /* in batches */;" in one.alembic("upgrade", f"{ONE}:{TWO}", "--sql")


KILLS = (5000, 15000) if ALL else (10000,)
"""The rows before which a run is killed."""


@pytest.fixture
def copies(one: Target) -> Target:
    one.write(TWO, ONE, "op.execute('CREATE TABLE copies (id int PRIMARY KEY, n int)')")
    one.migrate(TWO)
    return one


@pytest.mark.full
def test_each_row_is_deleted_once_however_often_it_is_killed(copies: Target) -> None:
    copies.write(THREE, TWO, batched("'t', where='id % 2 = 0'", "batched_delete"))
    for row in KILLS:
        locked = blocker(copies, f"SELECT FROM t WHERE id = {row} FOR UPDATE")
        with locked, copies.running("alembic", "upgrade", "head"):
            until(lambda row=row: walked(copies) == row - 1)  # type: ignore[misc]
        assert copies.query("SELECT count(*) FROM t") == [(ROWS - row // 2 + 1,)]
    assert copies.migrate(THREE) == THREE
    assert copies.query("SELECT count(*), sum(id % 2) FROM t") == [(ROWS // 2, ROWS // 2)]
    assert applied(copies) == [ONE, TWO, THREE]


def test_each_row_is_inserted_once_however_often_it_is_killed(copies: Target) -> None:
    """A second time fails at the key of the copies."""
    arguments = "'copies (id, n)', 'id, n + 1', source='t', where='id % 2 = 0'"
    copies.write(THREE, TWO, batched(arguments, "batched_insert"))
    for row in KILLS:
        with (
            blocker(copies, f"INSERT INTO copies VALUES ({row})") as session,
            copies.running("alembic", "upgrade", "head"),
        ):
            until(lambda row=row: walked(copies) == row - 1)  # type: ignore[misc]
            session.rollback()
    assert copies.migrate(THREE) == THREE
    assert copies.query("SELECT count(*), sum(n), min(id), max(id) FROM copies") == [(ROWS // 2, ROWS // 2, 2, ROWS)]
    assert applied(copies) == [ONE, TWO, THREE]


def test_a_delete_of_each_row_needs_the_permission_that_any_delete_needs(one: Target) -> None:
    one.write(TWO, ONE, batched("'t', where='1 = 1'", "batched_delete"))
    with pytest.raises(RevisionFailed, match=r"it would delete rows of app\.t"):
        one.migrate(TWO)
    assert counts(one) == [(0, ROWS)]
    assert one.migrate(TWO, allow_data_loss=frozenset([TWO])) == TWO
    assert counts(one) == []


@pytest.mark.parametrize(
    "arguments", ["'keyless', where='n = 1'", "'t', 'sure', source='keyless'"], ids=["batched_delete", "batched_insert"]
)
def test_each_of_them_is_refused_by_name_without_a_key(
    one: Target, arguments: str, request: pytest.FixtureRequest
) -> None:
    function = request.node.callspec.id
    one.write(TWO, ONE, batched(arguments, function))
    with pytest.raises(HistoryError, match=f"{function} of app.keyless: the table has no primary key"):
        one.migrate(TWO)
