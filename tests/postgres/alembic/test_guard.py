"""No row is deleted silently: a revision that would delete rows says how many, and changes nothing."""

import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from pulumi_alembic.database.connection import log_in
from pulumi_alembic.errors import DataLoss, PolicyError, RevisionFailed
from pulumi_alembic.migrate.data_loss.settings import ALLOW_DATA_LOSS, allowed
from pulumi_alembic.migrate.planner import read_revision
from pulumi_alembic.policy import Policy
from pulumi_alembic.provider import MigrationsProvider
from pulumi_alembic.review.plan_review import PlanReview
from pulumi_alembic.sql.parser import identifier, library
from tests.postgres.alembic.conftest import Target
from tests.postgres.alembic.owner import connect
from tests.postgres.alembic.waiting import blocker, until, wants_lock

ONE, TWO, THREE = "20250101_001", "20250102_002", "20250103_003"

SCHEMA = """
CREATE TABLE parents (id int PRIMARY KEY, name text);
CREATE TABLE children (id int PRIMARY KEY, parent int REFERENCES parents ON DELETE CASCADE);
CREATE TABLE nobody (id int);
CREATE TABLE parts (id int, at int) PARTITION BY RANGE (at);
CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (10);
CREATE TABLE parts_2 PARTITION OF parts FOR VALUES FROM (10) TO (20);
CREATE TYPE mood AS ENUM ('well', 'ill');
CREATE TABLE "Odd.One" (id int, "a.b" mood);
CREATE FUNCTION empty_all() RETURNS int LANGUAGE plpgsql AS 'BEGIN TRUNCATE children; RETURN 1; END';
CREATE FUNCTION "Empty.All"() RETURNS int LANGUAGE sql AS 'SELECT empty_all()';
CREATE TABLE old (id int);
CREATE TABLE older () INHERITS (old);
CREATE TABLE watched (id int);
CREATE FUNCTION take() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN DELETE FROM children WHERE id < 5; RETURN NULL; END';
CREATE TRIGGER takes AFTER INSERT ON watched EXECUTE FUNCTION take();
CREATE VIEW names AS SELECT name FROM parents;
INSERT INTO parents SELECT n, CASE WHEN n > 2 THEN 'name' END FROM generate_series(1, 5) n;
INSERT INTO children SELECT n, 1 + n % 5 FROM generate_series(1, 1200) n;
INSERT INTO parts SELECT n, n FROM generate_series(0, 14) n;
INSERT INTO older VALUES (1), (2);
INSERT INTO "Odd.One" VALUES (1, 'well'), (2, NULL), (3, NULL);
CREATE TYPE pair AS (a int, b int);
CREATE TABLE pairs (id int, pair pair);
INSERT INTO pairs VALUES (1, ROW(1, NULL)), (2, ROW(NULL, NULL)), (3, NULL)
"""

LOST = {
    "DROP TABLE children": "1,200 rows of app.children",
    "DROP TABLE IF EXISTS app.children": "1,200 rows of app.children",
    "DROP TABLE parts": "10 rows of app.parts_1, 5 rows of app.parts_2",
    "DROP TABLE parts_2": "5 rows of app.parts_2",
    "ALTER TABLE parts DROP COLUMN id": "15 values of app.parts.id",
    "ALTER TABLE parents DROP COLUMN name CASCADE": "3 values of app.parents.name",
    'ALTER TABLE "Odd.One" DROP COLUMN "a.b"': '1 value of app."Odd.One"."a.b"',
    "DROP TYPE mood CASCADE": '1 value of app."Odd.One"."a.b"',
    "TRUNCATE parents CASCADE": "5 rows of app.parents, 1,200 rows of app.children",
    "TRUNCATE nobody; DELETE FROM children": "1,200 rows of app.children",
    "ALTER TABLE pairs DROP COLUMN pair": "2 values of app.pairs.pair",
    "DROP TABLE IF EXISTS nobody, children RESTRICT": "1,200 rows of app.children",
    "DROP TABLE old CASCADE": "2 rows of app.older",
    "DO $$ BEGIN EXECUTE 'DROP TABLE ' || 'children'; END $$": "1,200 rows of app.children",
    "DO $$ BEGIN ALTER TABLE parents DROP name CASCADE; END $$": "3 values of app.parents.name",
    "SELECT empty_all()": "1,200 rows of app.children",
    'SELECT "Empty.All"()': "1,200 rows of app.children",
    "WITH gone AS (DELETE FROM children RETURNING id) SELECT count(*) FROM gone": "1,200 rows of app.children",
}
LOST |= {
    "DELETE FROM parts": "10 rows of app.parts_1, 5 rows of app.parts_2",
    "DELETE FROM old": "2 rows of app.older",
    "WITH gone AS (DELETE FROM parts RETURNING 1) SELECT 1 FROM gone": "10 rows of app.parts_1, 5 rows of app.parts_2",
    "DELETE FROM children WHERE true": "1,200 rows of app.children",
    "PREPARE p AS DELETE FROM children; EXECUTE p": "1,200 rows of app.children",
    "DO $$ BEGIN TRUNCATE children; INSERT INTO children VALUES (1, 1); END $$": "1,199 rows of app.children",
    "DO $$ BEGIN DELETE FROM children WHERE id > 1100; END $$": "100 rows of app.children",
    "INSERT INTO watched VALUES (1)": "4 rows of app.children",
}

KEPT = {
    "an empty table": "DROP TABLE nobody",
    "a table that is not there": "DROP TABLE IF EXISTS nothing",
    "a view": "DROP VIEW names",
    "one that is not there, and an empty one": "DROP TABLE IF EXISTS nothing, nobody",
    "a column that is not there": "ALTER TABLE IF EXISTS parents DROP COLUMN IF EXISTS nothing",
    "an index": "CREATE INDEX i ON children (parent); DROP INDEX i",
    "a column without a value": "ALTER TABLE nobody DROP COLUMN id",
    "rows that a condition picks": "DELETE FROM children WHERE id < 10",
    "values that are written over": "UPDATE parents SET name = 'other'",
    "a block that drops what is empty": "DO $$ BEGIN DROP TABLE nobody; END $$",
    "a block that takes nothing": "DO $$ BEGIN UPDATE parents SET name = 'x'; CREATE TABLE more (id int); END $$",
    "a block that writes every row anew": "DO $$ BEGIN ALTER TABLE parents ALTER id TYPE bigint; END $$",
    "a block that puts back what it took": "DO $$ BEGIN DELETE FROM nobody; INSERT INTO nobody VALUES (1); END $$",
    "a table of the session's own": "CREATE TEMPORARY TABLE t AS SELECT * FROM parents; DROP TABLE t",
}


@pytest.fixture
def filled(empty_target: Target) -> Target:
    empty_target.write(ONE, None, f"op.execute({SCHEMA!r})")
    empty_target.migrate(ONE)
    return empty_target


def rows(target: Target) -> list[tuple[object, ...]]:
    return target.query(
        "SELECT (SELECT count(*) FROM parents), (SELECT count(name) FROM parents), (SELECT count(*) FROM children), "
        '(SELECT count(id) FROM parts), (SELECT count("a.b") FROM "Odd.One")'
    )


def refused_with(target: Target, policy: Policy) -> str:
    with pytest.raises(RevisionFailed) as caught:
        target.migrate(TWO, policy=policy)
    return str(caught.value)


def refused(target: Target) -> str:
    """Return the error of a run to TWO, which leaves everything unchanged."""
    before = rows(target)
    with pytest.raises(RevisionFailed) as caught:
        target.migrate(TWO)
    assert read_revision(target.url) == ONE
    assert rows(target) == before
    return str(caught.value)


@pytest.mark.few(13)
@pytest.mark.parametrize("statement", LOST)
def test_what_would_be_lost_is_counted_and_stays(filled: Target, statement: str) -> None:
    filled.write(TWO, ONE, f"op.execute({statement!r})")
    message = refused(filled)
    assert f"it would delete {LOST[statement]}" in message
    assert "line 6" in message
    assert message.endswith(f"then delete the rest:\n  {ALLOW_DATA_LOSS}={TWO} pulumi up")
    assert filled.migrate(TWO, allow_data_loss=frozenset([TWO])) == TWO


@pytest.mark.few(5)
@pytest.mark.parametrize("what", KEPT)
def test_where_nothing_is_lost_nothing_is_refused(filled: Target, what: str) -> None:
    filled.write(TWO, ONE, f"op.execute({KEPT[what]!r})")
    assert filled.migrate(TWO) == TWO


def test_what_is_allowed_to_one_revision_is_not_to_another(filled: Target) -> None:
    filled.write(TWO, ONE, "op.execute('DROP TABLE children')")
    with pytest.raises(RevisionFailed, match="1,200 rows"):
        filled.migrate(TWO, allow_data_loss=frozenset([ONE]))


def test_statements_of_python_are_seen(filled: Target) -> None:
    """This includes statements with parameters, and statements that the text of the script does not contain."""
    filled.write(
        TWO,
        ONE,
        "import sqlalchemy as sa\n"
        "    bind = op.get_bind()\n"
        "    asked = sa.text('SELECT relname FROM pg_class WHERE relname = :n')\n"
        "    for name, in bind.execute(asked, {'n': 'children'}):\n"
        "        op.drop_table(name)",
    )
    assert "1,200 rows of app.children" in refused(filled)


def test_a_script_that_goes_on_after_it_does_not_end_well(filled: Target) -> None:
    filled.write(
        TWO,
        ONE,
        "try:\n        op.execute('DROP TABLE children')\n    except Exception:\n        op.execute('SELECT 1')",
    )
    assert "1,200 rows of app.children" in refused(filled)


def test_the_alembic_command_is_guarded_too(filled: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    filled.write(TWO, ONE, "op.execute('DROP TABLE children')")
    printed = filled.alembic("upgrade", "head", check=False)
    assert "it would delete 1,200 rows of app.children" in printed
    assert f"then delete the rest:\n  {ALLOW_DATA_LOSS}={TWO} alembic upgrade head" in printed
    assert read_revision(filled.url) == ONE
    monkeypatch.setenv(ALLOW_DATA_LOSS, TWO)
    filled.alembic("upgrade", "head")
    assert read_revision(filled.url) == TWO


@pytest.mark.few(1)
@pytest.mark.parametrize(
    ("statement", "lost"),
    [
        ("DROP TABLE nobody", r"about 300,000 rows of app\.nobody"),
        # If a column has no value, finding that out takes equally long.
        ("ALTER TABLE nobody DROP COLUMN nothing", r"about 300,000 values of app\.nobody\.nothing"),
    ],
)
def test_counting_that_takes_too_long_is_given_up(filled: Target, statement: str, lost: str) -> None:
    """During the lock no other session can read, so counting takes at most `count_timeout`."""
    with connect(filled.url) as connection:
        connection.execute(
            "ALTER TABLE nobody ADD nothing int; INSERT INTO nobody SELECT generate_series(1, 300000); ANALYZE nobody"
        )
        connection.commit()
    filled.write(TWO, ONE, f"op.execute({statement!r})")
    with pytest.raises(RevisionFailed, match=f"it would delete {lost}"):
        filled.migrate(TWO, policy=Policy(count_timeout=0.001))


@pytest.mark.full
def test_readers_wait_no_longer_than_counting_may_take(filled: Target) -> None:
    """Compare with a count of the whole table.

    The least of three runs counts, because a busy machine delays every process.
    """
    with connect(filled.url) as connection:
        connection.execute("INSERT INTO nobody SELECT generate_series(1, 1500000)")
        connection.commit()
        filled.write(TWO, ONE, "op.execute('DROP TABLE nobody')")
        counting, waited = [], []
        for _ in range(3):
            counting.append(seconds(lambda: connection.execute("SELECT count(*) FROM nobody").fetchall()))
            connection.rollback()
            with ThreadPoolExecutor(1) as aside:
                message = aside.submit(refused_with, filled, Policy(count_timeout=0.005))
                waited.append(0.0)
                while not message.done():
                    waited[-1] = max(waited[-1], seconds(lambda: connection.execute("SELECT FROM nobody LIMIT 1")))
                    connection.rollback()
            assert "it would delete" in message.result()
    assert min(waited) < min(counting) / 2


def seconds(act: Callable[[], object]) -> float:
    begun = time.perf_counter()
    act()
    return time.perf_counter() - begun


def test_what_a_script_set_is_so_after_it_was_looked(filled: Target) -> None:
    filled.write(
        TWO,
        ONE,
        "op.execute(\"SET LOCAL statement_timeout = '7s'\"); op.drop_table('nobody')\n"
        "    op.execute(\"CREATE TABLE was AS SELECT current_setting('statement_timeout')"
        " || current_setting('row_security') x\")",
    )
    filled.migrate(TWO)
    assert filled.query("SELECT x FROM was") == [("7son",)]


def test_rows_that_a_policy_hides_would_go_too(filled: Target) -> None:
    with connect(filled.url) as connection:
        connection.execute(
            "CREATE POLICY none ON children USING (false); ANALYZE children; "
            "ALTER TABLE children ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY"
        )
        connection.commit()
    filled.write(TWO, ONE, "op.execute('DROP TABLE children')")
    assert "it would delete about 1,200 rows of app.children" in refused(filled)


@pytest.mark.few(2)
@pytest.mark.parametrize(
    ("statement", "table", "lost"),
    [
        ("DROP TABLE children", "children", "1,201 rows"),
        ("TRUNCATE children", "children", "1,201 rows"),
        ("DELETE FROM children", "children", "1,201 rows"),
        ("DROP TABLE empty", "empty", "1 row"),
        ("ALTER TABLE empty DROP COLUMN id", "empty", "1 value"),
    ],
)
def test_rows_that_somebody_is_about_to_commit_are_counted_too(
    filled: Target, statement: str, table: str, lost: str
) -> None:
    """Rows are counted when no other session can write any more, so no row is added before the run ends."""
    with connect(filled.url) as connection:
        connection.execute("CREATE TABLE empty (id int, parent int)")
        connection.commit()
    filled.write(TWO, ONE, f"op.execute({statement!r})")
    with ThreadPoolExecutor(1) as aside, blocker(filled, f"INSERT INTO {table} VALUES (0, 1)") as writer:
        message = aside.submit(refused_with, filled, Policy(lock_timeout=30.0))
        until(lambda: wants_lock(filled, table))
        writer.commit()
        assert f"it would delete {lost} of app.{table}" in message.result()


@pytest.mark.full
def test_a_person_ends_a_look_that_waits(filled: Target) -> None:
    """pg_cancel_backend ends the count, and the run does not take it for the end of the time limit."""
    filled.write(TWO, ONE, "op.execute('DROP TABLE nobody')")
    with ThreadPoolExecutor(1) as aside, blocker(filled, "INSERT INTO nobody VALUES (0)"):
        message = aside.submit(refused_with, filled, Policy(lock_timeout=30.0, lock_deadline=30.0, count_timeout=60.0))
        until(lambda: wants_lock(filled, "nobody"))
        with log_in(filled.url) as login:
            # Other databases of the server have waiting sessions too.
            here = "database = (SELECT oid FROM pg_database WHERE datname = current_database())"
            login.execute(f"SELECT pg_cancel_backend(pid) FROM pg_locks WHERE NOT granted AND {here}".encode())
        assert "canceling statement due to user request" in message.result()


def planned(target: Target, revision: str, **properties: Any) -> dict[str, Any]:
    """Return the inputs of the resource as a preview completes them."""
    news = {"url": target.url, "directory": str(target.directory), "target": revision, "__urn": "urn", **properties}
    answer = MigrationsProvider().check({}, news)
    assert answer.failures == []
    return dict(answer.inputs)


def test_an_update_refuses_before_the_first_of_its_revisions(filled: Target) -> None:
    """The check of the plan's statements comes before the first of them."""
    filled.write(TWO, ONE, "op.execute('CREATE TABLE another (id int)')")
    filled.write(THREE, TWO, "op.execute('ALTER TABLE parents DROP COLUMN name CASCADE'); op.drop_table('children')")
    inputs = planned(filled, THREE)
    before = rows(filled)
    with pytest.raises(DataLoss) as caught:
        MigrationsProvider().create(inputs)
    assert str(caught.value) == (
        "the plan deletes data, and this stack does not allow it. Nothing was run:\n"
        f"  upgrade {THREE}: 3 values of app.parents.name, 1,200 rows of app.children\n"
        f"  Save what is needed, then delete the rest:\n  {ALLOW_DATA_LOSS}={THREE} pulumi up"
    )
    assert (read_revision(filled.url), rows(filled)) == (ONE, before)
    outs = MigrationsProvider().create({**inputs, "__allow_data_loss": [THREE]}).outs
    assert outs is not None and outs["revision"] == THREE


def test_the_preview_counts_deleted_rows_which_are_not_in_the_digest(filled: Target) -> None:
    filled.write(TWO, ONE, "op.drop_table('children'); op.drop_table('nobody')")
    first = planned(filled, TWO)
    [revision] = PlanReview.from_json(json.loads(first["__plan"])).revisions
    assert revision.losses == ("1,200 rows of app.children",)
    with connect(filled.url) as connection:
        connection.execute("DELETE FROM children WHERE id > 1")
        connection.commit()
    second = planned(filled, TWO)
    [revision] = PlanReview.from_json(json.loads(second["__plan"])).revisions
    assert revision.losses == ("1 row of app.children",)
    assert first["digest"] == second["digest"]


@pytest.mark.full
def test_the_preview_waits_for_nobody_to_count(filled: Target) -> None:
    filled.write(TWO, ONE, "op.drop_table('children')")
    with connect(filled.url) as connection:
        connection.execute("ANALYZE children")
        connection.commit()
        connection.execute("LOCK TABLE children IN ACCESS EXCLUSIVE MODE")
        [revision] = PlanReview.from_json(json.loads(planned(filled, TWO)["__plan"])).revisions
    assert revision.losses == ("about 1,200 rows of app.children",)


@pytest.mark.parametrize("text", ["all", "20250126", f"{TWO}; DROP TABLE x"])
def test_only_revision_ids_allow_a_loss(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(PolicyError, match="which is no revision id such as 20250126_003"):
        allowed([text])
    monkeypatch.setenv(ALLOW_DATA_LOSS, text)
    with pytest.raises(PolicyError, match="which is no revision id"):
        allowed([])


def test_the_variable_may_name_several(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ALLOW_DATA_LOSS, f"{TWO},{THREE}")
    assert allowed([ONE]) == {ONE, TWO, THREE}


def test_an_update_loads_the_parser_only_for_a_statement_that_can_lose_rows(empty_target: Target) -> None:
    """Each update is a new process, and most updates lose nothing."""
    empty_target.write(ONE, None, 'op.execute("CREATE TABLE app.t (id int); INSERT INTO app.t VALUES (1)")')
    empty_target.write(TWO, ONE, 'op.execute("ALTER TABLE t ADD COLUMN a int"); op.execute("CREATE INDEX ON t (a)")')
    empty_target.write(THREE, TWO, 'op.execute("DELETE FROM t WHERE id = 2")')
    library._functions.cache_clear()
    identifier.cache_clear()
    empty_target.migrate(TWO)
    assert not library.is_loaded()
    empty_target.migrate(THREE)
    assert library.is_loaded()
