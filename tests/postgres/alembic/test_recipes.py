"""Recipes write revisions on which old and new code run, and whose downgrades restore schema and rows."""

from __future__ import annotations

import os
import random
import shlex
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa
from alembic.autogenerate import produce_migrations, render_python_code
from alembic.runtime.migration import MigrationContext
from click.testing import CliRunner
from sqlalchemy.dialects import postgresql

from pulumi_alembic.commands.cli import group
from pulumi_alembic.database.connection import Connection
from pulumi_alembic.database.fingerprint import read_lines
from pulumi_alembic.migrate.alembic_run import enter
from pulumi_alembic.migrate.backfills.work import work
from pulumi_alembic.migrate.recipes.suggestions import suggest
from pulumi_alembic.review import static_lint
from pulumi_alembic.review.after_contracts import compare
from pulumi_alembic.review.lint.settings import Settings
from pulumi_alembic.scripts.history import History
from pulumi_alembic.scripts.revision import CONTRACT
from tests.conftest import ALL, Database
from tests.faults.campaign import Launcher
from tests.faults.striking import Striker, Way
from tests.forks import Ended
from tests.postgres.alembic.conftest import Target
from tests.postgres.alembic.owner import connect
from tests.postgres.alembic.recipe_cases import CASES, ROWS, SCHEMA
from tests.postgres.alembic.test_backfill import worker
from tests.postgres.alembic.waiting import until

ONE = "20250101_001"


@pytest.fixture
def shop(empty_target: Target, database: Database, monkeypatch: pytest.MonkeyPatch) -> Target:
    with database.connect() as admin:
        admin.execute(f'CREATE SCHEMA kept AUTHORIZATION "{database.name}_owner"'.encode())
    folder = empty_target.directory.parent
    (folder / "pyproject.toml").write_text(
        '[tool.alembic]\nscript_location = "%(here)s/migrations"\nfile_template = "%%(rev)s_%%(slug)s"\n'
    )
    monkeypatch.chdir(folder)
    monkeypatch.setenv("DATABASE_URL", empty_target.url)
    empty_target.write(ONE, None, f"op.execute({SCHEMA!r})")
    assert invoke("manifest")[0] == 0
    empty_target.migrate(ONE)
    return empty_target


def invoke(*words: str) -> tuple[int, str]:
    done = CliRunner().invoke(group, list(words))
    return done.exit_code, done.output + (str(done.exception) if done.exception else "")


def schema(target: Target) -> tuple[str, ...]:
    with connect(target.url) as session:
        return read_lines(session)


def rows(target: Target) -> list[tuple[object, ...]]:
    return (
        target.query(
            "SELECT t.id, title, note, points, owner, email FROM tasks t JOIN users u ON u.id = owner ORDER BY t.id"
        )
        + target.query(
            "SELECT t.id, name, parent, b.id, b.team FROM teams t JOIN members m ON t.id = m.team "
            "JOIN badges b ON (b.team, b.person) = (m.team, m.person) ORDER BY t.id"
        )
        + target.query("SELECT id, email, bio FROM profiles JOIN people ON id = owner ORDER BY owner")
    )


def insert(target: Target, rows: int) -> None:
    with connect(target.url) as session:
        session.execute((ROWS % {"rows": rows}).encode())
        session.commit()


def recipe(name: str) -> list[str]:
    """Write the revisions of this case, and return their ids."""
    code, printed = invoke("new", name.partition(" ")[0], *CASES[name].words)
    assert code == 0, printed
    return [Path(line).name[:12] for line in printed.splitlines()]


def run_code(target: Target, statements: tuple[str, ...]) -> None:
    with connect(target.url) as session:
        for number, statement in enumerate(statements):
            done = session.execute(statement.encode(), {"id": 1 + number % 2, "n": 100 + number})
            assert done.description is None or {*done.fetchall()} <= {(True,)}, statement
        session.rollback()


@pytest.mark.few("rename-column")
@pytest.mark.parametrize("name", CASES)
def test_both_versions_run_and_each_step_can_be_undone(shop: Target, name: str) -> None:
    case = CASES[name]
    insert(shop, 5)
    before, there = schema(shop), rows(shop)
    ids = recipe(name)
    history = History.load(shop.directory)
    history.require_manifest()
    assert len(ids) == case.revisions
    findings = static_lint.lint_scripts(shop.directory, ids, Settings())
    assert [each.text for each in findings if not each.finding.excused] == []

    for number, id in enumerate(ids):
        contract = history.revisions[id].phase == CONTRACT
        if not contract:
            shop.migrate(id)
            run_code(shop, (*case.old, *case.new))
            run_code(shop, (*case.new, *case.old))
        else:
            if number == 0:
                run_code(shop, case.old)
            shop.migrate(id)
        if id == ids[-1]:
            run_code(shop, case.new)
        shop.migrate(ONE)
        assert (schema(shop), rows(shop)) == (before, there)
        shop.migrate(id)


class Application:
    """Code of one version. It repeats its statements within the block, and reports its errors at the end."""

    def __init__(self, target: Target, statements: tuple[str, ...], rows: int) -> None:
        self._target = target
        self._statements = statements
        self._rows = rows
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work)
        self._done = 0
        self.wrong: list[str] = []

    def __enter__(self) -> Application:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        assert self.wrong == []

    def goes_on(self) -> None:
        """Return when each of its statements has run several more times."""
        enough = self._done + 10 * len(self._statements)
        until(lambda: self._done > enough or self.wrong)
        assert self.wrong == []

    def _work(self) -> None:
        draw = random.Random(7)
        with connect(self._target.url) as session:
            session.autocommit = True
            while not self._stop.wait(0.001):
                statement = self._statements[self._done % len(self._statements)]
                values = {"id": draw.randint(1, self._rows), "n": draw.randint(1, self._rows)}
                try:
                    done = session.execute(statement.encode(), values)
                    if done.description is not None and not {*done.fetchall()} <= {(True,)}:
                        self.wrong.append(f"{statement} with {values} reads something else")
                except psycopg.Error as error:
                    self.wrong.append(f"{statement}: {error}")
                self._done += 1


@pytest.mark.few("rename-column of what can be NULL-2000")
@pytest.mark.parametrize("rows", [2_000, pytest.param(200_000, marks=pytest.mark.full)])
@pytest.mark.parametrize("name", CASES)
def test_both_versions_are_served_at_a_steady_load(shop: Target, name: str, rows: int) -> None:
    """Old code runs until the contracts, new code from the backfill on.

    Then the contracts are downgraded, with old code.
    """
    case = CASES[name]
    insert(shop, rows)
    ids = recipe(name)
    history = History.load(shop.directory)
    expands = [id for id in ids if history.revisions[id].phase != CONTRACT]
    with Application(shop, case.old, rows) as old:
        for id in [*expands, *[ONE, *expands] * bool(expands)]:
            shop.migrate(id)
            old.goes_on()
        if expands:
            assert work(worker(shop)) == []
            with Application(shop, case.new, rows) as new:
                new.goes_on()
                old.goes_on()
    with connect(shop.url) as session:
        session.execute(case.fix.encode())
        session.commit()
    with Application(shop, case.new, rows) as new:
        for id in ids[len(expands) :]:
            shop.migrate(id)
            new.goes_on()
        if expands:
            shop.migrate(expands[-1])
            with Application(shop, case.old, rows) as old:
                new.goes_on()
                old.goes_on()


@pytest.fixture(scope="module")
def launcher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launcher]:
    started = Launcher(tmp_path_factory.mktemp("launcher"))
    yield started
    started.close()


@pytest.mark.timeout(4 * 3600 if ALL else 300)
@pytest.mark.few("change-type")
@pytest.mark.parametrize("name", CASES)
def test_the_next_run_completes_what_a_kill_at_any_statement_interrupts(
    shop: Target,
    launcher: Launcher,
    database: Database,
    record_property: Callable[[str, object], None],
    name: str,
) -> None:
    """Each kill is followed by a complete run, and that by a kill on the way in the other direction.

    The longest recipe has 1,100 statements both ways, which take an hour on two busy cores.
    """
    insert(shop, 5)
    there, ids = rows(shop), recipe(name)
    server, draw = database.server, random.Random(7)

    def run(target: str, port: int = server.port, on_started: Callable[[int], object] = lambda pid: None) -> Ended:
        url = shop.url.replace(f":{server.port}/", f":{port}/")
        return launcher.run(on_started, target=target, may_lose=[], directory=str(shop.directory), url=url)

    counts, schemas = dict[str, int](), dict[str, tuple[str, ...]]()
    for target in (ids[-1], ONE):
        with Striker(server.host, server.port) as undisturbed:
            assert run(target, undisturbed.port).code == 0
        counts[target], schemas[target] = len(undisturbed.statements), schema(shop)

    def strike(target: str, number: int) -> str:
        """Kill the run at its statement with this number, and return the statement. Empty if it has fewer."""
        started = Future[int]()

        def kill(_: Way) -> bool:
            os.kill(started.result(60), signal.SIGKILL)
            return False

        with Striker(server.host, server.port, lambda asked: len(asked) == number, "during", kill) as striker:
            killed = run(target, striker.port, started.set_result)
        assert killed.code == (-signal.SIGKILL if striker.struck else 0), f"{number}, {striker.struck}: {killed}"
        return striker.struck

    tried = 0
    for number in range(1, max(counts.values()) + 1) if ALL else [draw.randint(1, min(counts.values()))]:
        for target in counts:
            struck = strike(target, number) if number <= counts[target] else ""
            tried += bool(struck)
            again = run(target)
            assert (again.code, schema(shop)) == (0, schemas[target]), f"{number}, {struck}: {again}"
            if target == ONE:
                assert rows(shop) == there, f"{number}, {struck}"
            else:
                run_code(shop, CASES[name].new)
    record_property("faults tried", tried)
    record_property("faults survived", tried)
    assert tried == (sum(counts.values()) if ALL else len(counts))


REFUSED = {
    'type "intt" does not exist': ("add-not-null-column", "tasks", "rank", "intt", "0"),
    'column "point" does not exist': ("add-check", "tasks", "positive", "point > 0"),
    "syntax error": ("add-check", "tasks", "positive", "points >"),
    "by which values are set in batches and preserved": ("drop-column", "bare", "a"),
    "no table tax": ("drop-column", "tax", "title"),
    "has no column titel. It has: id, stamp, title": ("rename-column", "tasks", "titel", "name"),
    "has a column note already": ("rename-column", "tasks", "title", "note"),
    "app.bare has no primary key": ("rename-column", "bare", "a", "b"),
    "is used by": ("rename-column", "tasks", "id", "key"),
    "can fail to be one of integer": ("change-type", "tasks", "note", "int"),
    "app.counted.id is used by rule _RETURN on view app.ids": ("change-type", "counted", "id", "bigint"),
    "app.days is partitioned, or inherits": ("change-type", "years", "y", "bigint"),
    "the constraint late_owner_fkey is not valid": ("change-type", "late", "id", "bigint"),
    "app.codes_id_seq has rights that a new sequence has not": ("change-type", "codes", "id", "bigint"),
    "app.codes has a column refers_new already": ("change-type", "codes", "refers", "bigint"),
    "no foreign keys of one column, unique on both sides": ("move-column", "tasks", "note", "users"),
    "app.tasks.mood has the index tasks_mood. Drop that first": ("move-column", "tasks", "mood", "users"),
    "app.tasks.title has a default. Drop that first": ("move-column", "tasks", "title", "users"),
    "app.people has a column email already": ("move-column", "mails", "email", "people"),
    "there is no type intt": ("change-type", "tasks", "points", "intt"),
    "is NOT NULL already": ("set-not-null", "tasks", "title"),
    "is not a constant": ("add-not-null-column", "tasks", "token", "uuid", "gen_random_uuid()"),
    "tasks_pkey refuses rows": ("replace-index", "tasks", "tasks_pkey", "points"),
    "app.tasks has no index nope": ("replace-index", "tasks", "nope", "points"),
    'column "poi" does not exist': ("replace-index", "tasks", "tasks_owner", "poi"),
    "a relation users already": ("rename-table", "tasks", "users"),
    "would not restore rule _RETURN on view counts": ("drop-table", "counted"),
    "has rights that a new view has not": ("rename-table", "counted", "others"),
    "is of the type integer, which is no enum": ("add-enum-value", "tasks", "points", "x"),
    "app.mood has no value bad. It has: sad, mad, glad": ("remove-enum-value", "tasks", "mood", "bad"),
    "has the value glad already": ("rename-enum-value", "tasks", "mood", "sad", "glad", "feeling"),
    "sad is the default of app.tasks.mood": ("remove-enum-value", "tasks", "mood", "sad"),
    "in 3 rows of app.counted left(one, 1) does not give back a": (
        *("split-column", "counted", "a", "one", "left(a, 1)", "two", "''", "left(one, 1)"),
    ),
    "operator does not exist: json = json": ("rename-column", "counted", "json", "other"),
    "app.tasks.owner has the index Tasks of. Drop that first": (
        *("split-column", "tasks", "owner", "one", "owner", "two", "owner", "one"),
    ),
    "has no column uid": ("add-foreign-key", "tasks", "owner", "users", "uid"),
}


def test_what_cannot_work_is_refused_before_a_file_is_written(shop: Target) -> None:
    files = sorted(shop.directory.rglob("*.py"))
    for message, words in REFUSED.items():
        code, printed = invoke("new", *words)
        assert (code, message in printed) == (1, True), printed
    assert sorted(shop.directory.rglob("*.py")) == files


def test_a_value_waits_for_a_new_row_that_reads_it(shop: Target) -> None:
    """Otherwise the new row would keep the old value, because the change of the value cannot see the row."""
    insert(shop, 1)
    shop.migrate(recipe("move-column")[0])
    with connect(shop.url) as session, connect(shop.url) as other:
        session.execute("INSERT INTO people (email) VALUES ('a'); INSERT INTO profiles VALUES (2, 'b')")
        session.execute("DELETE FROM profiles WHERE owner = 2")
        session.commit()
        session.execute("INSERT INTO profiles VALUES (2, 'b')")
        other.execute("SET lock_timeout = 50")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            other.execute("UPDATE people SET email = 'c' WHERE id = 2")
        other.rollback()
        session.commit()
        other.execute("UPDATE people SET email = 'c' WHERE id = 2")
        assert other.execute("SELECT email FROM profiles WHERE owner = 2").fetchall() == [("c",)]


def test_simultaneous_writes_of_a_moved_value_end_equal(shop: Target) -> None:
    """The documented deadlock: each locks the row of its own table before the trigger locks the other one."""
    insert(shop, 1)
    ids = recipe("move-column")
    assert "(SQLSTATE 40P01)" in next(shop.directory.rglob(f"{ids[0]}*.py")).read_text()
    shop.migrate(ids[0])

    def write(session: Connection, statement: str) -> str:
        try:
            session.execute(statement.encode())
        except psycopg.errors.DeadlockDetected:
            session.rollback()
            return ""
        session.commit()
        return statement[-3:]

    with ThreadPoolExecutor() as pool, connect(shop.url) as old, connect(shop.url) as new:
        new.execute("SELECT FROM profiles FOR UPDATE")
        first = pool.submit(write, old, "UPDATE people SET email = 'a'")
        waits = f"SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND pid = {old.info.backend_pid})"
        until(lambda: shop.query(waits) == [(True,)])
        written = [write(new, "UPDATE profiles SET email = 'b'"), first.result(60)]
    [(value, other)] = shop.query("SELECT p.email, q.email FROM people p, profiles q")
    assert value == other
    assert sorted(written) == ["", f"'{value}'"]


@pytest.mark.few("change-type of a key", "move-column", "rename-table")
@pytest.mark.parametrize("name", CASES)
def test_what_stays_until_the_contracts_is_no_difference_from_the_models(shop: Target, name: str) -> None:
    ids = recipe(name)
    history = History.load(shop.directory)
    contracts = [id for id in ids if history.revisions[id].phase == CONTRACT]
    models = sa.MetaData()
    shop.migrate(ids[-1])
    with connect(shop.url) as session:
        engine = sa.create_engine("postgresql+psycopg://", creator=lambda: session, poolclass=sa.StaticPool)
        with engine.connect() as connection:
            models.reflect(connection)
    shop.migrate([ONE, *ids][-len(contracts) - 1])
    found: list[object] = []
    enter(history, lambda _: found.append(compare(models, shop.url, history)))
    assert found == [(contracts, [])]


SUGGESTED = """
pulumi-alembic new rename-column tasks note remark
pulumi-alembic new drop-column tasks note
pulumi-alembic new add-not-null-column tasks rank integer DEFAULT
pulumi-alembic new change-type tasks points bigint
pulumi-alembic new set-not-null tasks owner
pulumi-alembic new add-unique tasks stamp,owner
pulumi-alembic new add-foreign-key tasks owner users id
pulumi-alembic new replace-index tasks tasks_mood 'mood, owner DESC'
pulumi-alembic new rename-table bare blank
pulumi-alembic new drop-table bare
pulumi-alembic new drop-table counted
"""


def test_autogenerate_names_recipes_that_write_the_change(shop: Target) -> None:
    models = sa.MetaData()
    sa.Table(
        "users", models, sa.Column("id", sa.Integer, primary_key=True), sa.Column("email", sa.Text, nullable=False)
    )
    sa.Table("blank", models, sa.Column("a", sa.Text))
    sa.Table(
        "tasks",
        models,
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("stamp", sa.Integer, nullable=False),
        sa.Column("title", sa.String(40), nullable=False),
        sa.Column("mood", postgresql.ENUM("sad", "mad", "glad", name="mood"), nullable=False),
        sa.Column("points", sa.BigInteger),
        sa.Column("owner", sa.Integer, sa.ForeignKey("users.id"), nullable=False),
        sa.Column("remark", sa.Text),
        sa.Column("rank", sa.Integer, nullable=False),
        sa.UniqueConstraint("stamp", "owner"),
    )
    sa.Index("tasks_feelings", models.tables["tasks"].c.mood, models.tables["tasks"].c.owner.desc())
    sa.Index("tasks_owner", models.tables["tasks"].c.owner.desc().nulls_last(), postgresql_include=["stamp"])
    sa.Index("Tasks of", models.tables["tasks"].c.owner, models.tables["tasks"].c.id)
    with connect(shop.url) as session:
        engine = sa.create_engine("postgresql+psycopg://", creator=lambda: session, poolclass=sa.StaticPool)
        opts = {"include_name": lambda name, type, _: type != "table" or name in {"tasks", "users", "bare", "counted"}}
        with engine.connect() as connection:
            upgrade = produce_migrations(MigrationContext.configure(connection, opts=opts), models).upgrade_ops
            assert upgrade is not None
            commands = suggest(upgrade)
            assert {*commands} == {*SUGGESTED.strip().splitlines()}
            assert "\n".join(f"    #   {line}" for line in commands) in render_python_code(upgrade)
    for command in commands:
        _, _, recipe, *words = shlex.split(command.replace("DEFAULT", "0"))
        code, printed = invoke("new", recipe, *words)
        assert code == 0 or recipe == "drop-table", printed


def test_a_key_that_a_table_of_another_role_refers_to_is_refused(shop: Target, database: Database) -> None:
    with connect(shop.url) as session, database.connect() as admin:
        session.execute(f'GRANT USAGE ON SCHEMA app TO "{admin.info.user}"'.encode())
        session.execute(f'GRANT REFERENCES ON users TO "{admin.info.user}"'.encode())
        session.commit()
        admin.execute("CREATE SCHEMA other; CREATE TABLE other.logins (id int PRIMARY KEY REFERENCES app.users)")
    code, printed = invoke("new", "change-type", "users", "id", "bigint")
    assert (code, "other.logins belongs to another role: this recipe" in printed) == (1, True), printed


@pytest.mark.few("teams")
@pytest.mark.parametrize("table", ["teams", "users"])
def test_a_key_of_a_wider_type_has_all_that_the_old_one_had(shop: Target, table: str) -> None:
    insert(shop, 5)
    before, there = schema(shop), rows(shop)
    _, printed = invoke("new", "change-type", table, "id", "bigint")
    shop.migrate(Path(printed.splitlines()[-1]).name[:12])
    with connect(shop.url) as session:
        session.execute("ALTER TABLE teams ALTER id TYPE int, ALTER parent TYPE smallint")
        session.execute("ALTER TABLE members ALTER team TYPE int; ALTER TABLE users ALTER id TYPE int")
        session.execute("ALTER SEQUENCE users_id_seq AS int; ALTER TABLE teams ALTER id SET MAXVALUE 2147483647")
        assert read_lines(session) == before
        session.rollback()
        assert session.execute("INSERT INTO users (email) VALUES ('a') RETURNING id").fetchone() == (6,)
        assert session.execute("INSERT INTO teams DEFAULT VALUES RETURNING id").fetchone() == (11,)
    assert rows(shop) == there


def test_a_constraint_that_old_rows_violate_stops_before_anything_runs(shop: Target) -> None:
    invoke("new", "set-not-null", "tasks", "points")
    with connect(shop.url) as session:
        session.execute("INSERT INTO tasks (title) VALUES ('a')")
        session.commit()
    from tests.postgres.alembic.test_ensure import review

    [first, *_] = review(shop, History.load(shop.directory).heads[0]).revisions
    assert first.unmet == ("each row of app.tasks satisfies tasks_points_not_null",)
