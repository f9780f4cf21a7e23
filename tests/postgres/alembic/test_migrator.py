"""A migration is one transaction per revision, recorded in it, and trusts only the database."""

import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import date
from pathlib import Path

import psycopg
import pytest

from pulumi_alembic.database.connection import NoDatabase, NoLogin, log_in
from pulumi_alembic.errors import DatabaseError, HistoryError, RevisionFailed, TargetError
from pulumi_alembic.migrate import alembic_run, planner
from pulumi_alembic.migrate.job import Job, Request
from pulumi_alembic.scripts.history import History
from tests.conftest import Database
from tests.postgres.alembic.conftest import Target
from tests.postgres.alembic.owner import connect

ONE, TWO, THREE = "20250101_001", "20250102_002", "20250103_003"


def tables(target: Target) -> list[str]:
    rows = target.query(
        "SELECT relname FROM pg_class WHERE relnamespace = 'app'::regnamespace AND relkind = 'r' ORDER BY 1"
    )
    return [str(name) for (name,) in rows]


def ledger(target: Target) -> list[tuple[object, ...]]:
    return target.query("SELECT revision, direction FROM migrations.ledger WHERE event = 'applied' ORDER BY id")


@pytest.fixture
def three(empty_target: Target) -> Target:
    """Write three scripts, each with its own table."""
    for id, down, table in ((ONE, None, "one"), (TWO, ONE, "two"), (THREE, TWO, "three")):
        empty_target.write(id, down, f"op.execute('CREATE TABLE {table} ()')", f"op.execute('DROP TABLE {table}')")
    return empty_target


def test_up_and_down_and_the_ledger_tells_both(three: Target) -> None:
    assert three.migrate(TWO) == TWO
    assert tables(three) == ["one", "two"]
    assert three.migrate(ONE) == ONE
    assert tables(three) == ["one"]
    assert ledger(three) == [(ONE, "upgrade"), (TWO, "upgrade"), (TWO, "downgrade")]


def test_the_version_is_written_by_the_same_statement_each_time(empty_target: Target) -> None:
    ids = [f"20250101_{number:03}" for number in range(8)]
    for id, down in zip(ids, [None, *ids], strict=False):
        keep = "op.execute('CREATE TABLE {} AS SELECT statement FROM pg_prepared_statements')"
        empty_target.write(id, down, keep.format(f"up_{id}"), keep.format(f"down_{id}"))
    empty_target.migrate(ids[-1])
    empty_target.migrate(ids[0])
    for table in (f"up_{ids[-1]}", f"down_{ids[1]}"):
        [(recorded,)] = empty_target.query(f"SELECT statement FROM app.{table} WHERE statement LIKE 'UPDATE %'")
        assert recorded == "UPDATE migrations.alembic_version SET version_num = $1 WHERE version_num = $2"


def sessions(target: Target) -> set[tuple[object, ...]]:
    """Return the sessions of the migrator's login, without the test's own and the one that watches slow statements."""
    with log_in(target.url, "the test", autocommit=True) as connection:
        return set(
            connection.execute(
                "SELECT pid, application_name FROM pg_stat_activity "
                "WHERE usename = session_user AND pid <> pg_backend_pid() AND datname = current_database() "
                "AND application_name <> 'alembic watch'"
            )
        )


def test_an_update_runs_in_one_session_of_its_own(three: Target) -> None:
    """The session has the login's search_path.

    The plan was made in another session, with our search_path, which has ended.
    """
    seen: list[set[tuple[object, ...]]] = []
    three.migrate(
        TWO, approve=lambda plan: seen.append(sessions(three)), on_applied=lambda id: seen.append(sessions(three))
    )
    assert {name for _, name in seen[0]} == {"pulumi up"}
    assert {name for _, name in seen[1]} == {"alembic", "pulumi up"}
    assert seen[1] == seen[2]


def test_a_folder_with_a_percent_sign_works(three: Target, tmp_path: Path) -> None:
    odd = three.directory.rename(tmp_path / "100% odd")
    assert replace(three, directory=odd).migrate(THREE) == THREE


def test_a_checkout_with_windows_line_endings_records_the_same_checksums(three: Target) -> None:
    three.migrate(ONE)
    script = three.directory / "versions" / f"{ONE}_script.py"
    three.migrate("base")
    script.write_bytes(script.read_bytes().replace(b"\n", b"\r\n"))
    three.migrate(ONE)
    assert three.query("SELECT count(DISTINCT checksum), count(*) FROM migrations.ledger") == [(1, 3)]


def test_a_second_run_does_nothing(three: Target) -> None:
    three.migrate(THREE)
    assert three.migrate(THREE) == THREE
    assert len(ledger(three)) == 3


@pytest.mark.full
def test_two_databases_migrated_by_threads_at_once_stay_apart(
    three: Target, make_target: Callable[[Path], Target]
) -> None:
    other = make_target(three.directory)
    with ThreadPoolExecutor() as threads:
        for done in [threads.submit(one.migrate, THREE) for one in (three, other)]:
            assert done.result() == THREE
    assert tables(three) == tables(other) == ["one", "three", "two"]


def test_the_ledger_holds_each_script_as_it_ran(three: Target) -> None:
    three.migrate(THREE)
    path = three.directory / "versions" / f"{TWO}_script.py"
    [(source, checksum, downs)] = three.query(
        f"SELECT source, checksum, down_revisions FROM migrations.ledger WHERE revision = '{TWO}'"
    )
    assert zlib.decompress(source).decode() == path.read_text()
    assert str(checksum).startswith("v1:")
    assert downs == [ONE]


def test_a_failing_revision_is_rolled_back_whole_and_those_before_it_stay(three: Target) -> None:
    script = three.write(THREE, TWO, "op.execute('CREATE TABLE half ()'); op.execute('ALTER TABLE nowhere ADD x int')")
    with pytest.raises(RevisionFailed) as caught:
        three.migrate(THREE)
    assert caught.value.revision == TWO
    assert tables(three) == ["one", "two"]
    assert ledger(three) == [(ONE, "upgrade"), (TWO, "upgrade")]
    message = str(caught.value)
    for part in (THREE, script.name, "line 6", "ALTER TABLE nowhere ADD x int", "42P01", "run:\n  pulumi up", TWO):
        assert part in message
    script.write_text(script.read_text().replace("ALTER TABLE nowhere ADD x int", "SELECT 1"))
    assert three.migrate(THREE) == THREE


def test_a_failing_downgrade_leaves_the_revision_applied(three: Target) -> None:
    three.write(TWO, ONE, "op.execute('CREATE TABLE two ()')", "op.execute('DROP TABLE nowhere')")
    three.migrate(THREE)
    with pytest.raises(RevisionFailed, match=f"revision {TWO} failed on downgrade") as caught:
        three.migrate("base")
    assert caught.value.revision == TWO
    assert tables(three) == ["one", "two"]


def test_a_revision_that_fails_at_its_commit_is_named_too(empty_target: Target) -> None:
    empty_target.write(
        ONE,
        None,
        "op.execute('CREATE TABLE a (id int PRIMARY KEY, b int REFERENCES a DEFERRABLE INITIALLY DEFERRED)'); "
        "op.execute('INSERT INTO a VALUES (1, 2)')",
    )
    with pytest.raises(RevisionFailed, match=rf"revision {ONE} failed on upgrade(?s:.*)23503"):
        empty_target.migrate(ONE)
    assert tables(empty_target) == []


def test_an_error_of_python_in_a_revision_names_its_line(three: Target) -> None:
    three.write(TWO, ONE, "raise ValueError('no such thing')")
    with pytest.raises(RevisionFailed, match=r"line 6\n  ValueError: no such thing"):
        three.migrate(TWO)


def test_a_lost_connection_is_an_error_that_says_where_the_database_is(three: Target) -> None:
    three.write(TWO, ONE, "op.execute('RESET ROLE'); op.execute('SELECT pg_terminate_backend(pg_backend_pid())')")
    with pytest.raises(RevisionFailed, match=f"the database is at {ONE}") as caught:
        three.migrate(TWO)
    assert caught.value.revision == ONE


def test_a_commit_among_other_statements_is_refused_before_any_of_them_is_sent(three: Target) -> None:
    three.write(TWO, ONE, "op.execute('CREATE TABLE stays (); COMMIT'); op.execute('CREATE TABLE never ()')")
    with pytest.raises(RevisionFailed, match=f"not for the script to end(?s:.*)rolled back; the database is at {ONE}"):
        three.migrate(TWO)
    assert tables(three) == ["one"]


def test_an_autocommit_block_that_succeeds_is_recorded(three: Target) -> None:
    three.write(
        TWO, ONE, "with op.get_context().autocommit_block(): op.execute('CREATE INDEX CONCURRENTLY i ON one ((1))')"
    )
    assert three.migrate(THREE) == THREE
    assert ledger(three)[1] == (TWO, "upgrade")


def test_a_revision_that_ends_its_transaction_is_refused(three: Target) -> None:
    three.write(TWO, ONE, "op.get_bind().commit(); op.execute('CREATE TABLE two ()')")
    with pytest.raises(RevisionFailed, match=r"ended its transaction by commit\(\)(?s:.*)autocommit_block") as caught:
        three.migrate(TWO)
    assert caught.value.revision == ONE


def test_a_script_that_exits_is_an_error_like_any_other(three: Target) -> None:
    script = three.write(TWO, ONE, "raise SystemExit(3)")
    with pytest.raises(RevisionFailed, match="SystemExit: 3"):
        three.migrate(TWO)
    script.write_text(f"import sys\nsys.exit(3)\n{script.read_text()}")
    with pytest.raises(HistoryError, match="cannot be imported: SystemExit: 3"):
        three.migrate(TWO)


@pytest.mark.few(1)
@pytest.mark.parametrize(
    "body",
    [
        "import sqlalchemy as sa; op.execute('CREATE TABLE t (x text UNIQUE)'); "
        "[op.get_bind().execute(sa.text('INSERT INTO t VALUES (:x)'), {'x': 'hunter2'}) for _ in range(2)]",
        "op.execute(\"ALTER ROLE nobody_here PASSWORD 'hunter2'\")",
    ],
)
def test_no_value_of_a_row_and_no_password_is_in_the_error(three: Target, body: str) -> None:
    three.write(TWO, ONE, body)
    with pytest.raises(RevisionFailed) as caught:
        three.migrate(TWO)
    assert "hunter2" not in str(caught.value)


def test_success_is_claimed_by_the_database_alone(three: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alembic_run, "run", lambda *_: None)
    with pytest.raises(DatabaseError, match=f"the database is at base and not at {ONE}"):
        three.migrate(ONE)


def test_each_applied_revision_is_told_as_it_is_applied(three: Target) -> None:
    told: list[str] = []
    three.migrate(TWO, on_applied=told.append)
    assert told == [ONE, TWO]


def test_a_migration_table_out_of_reach_is_an_error_of_the_database(three: Target) -> None:
    three.migrate(ONE)
    with connect(three.url) as connection:
        connection.execute("REVOKE ALL ON migrations.alembic_version FROM CURRENT_USER")
        connection.commit()
    with pytest.raises(DatabaseError, match=r"permission denied for table alembic_version \(42501\)"):
        three.migrate(TWO)


def test_a_login_that_may_not_become_the_owner_is_refused_with_the_grant(three: Target, database: Database) -> None:
    owner = f"{database.name}_owner"
    with database.connect() as admin:
        admin.execute(f"REVOKE {owner} FROM {database.name}_migrator")
    with pytest.raises(DatabaseError, match=f"which this role is not a member of. As an admin: GRANT {owner} TO"):
        three.migrate(ONE)


def test_a_login_without_a_schema_to_create_in_is_refused(three: Target, database: Database) -> None:
    with database.connect() as admin:
        admin.execute(f"ALTER ROLE {database.name}_migrator SET search_path = nowhere")
    with pytest.raises(DatabaseError, match="no schema of the search_path exists"):
        three.migrate(ONE)


@pytest.mark.few(1)
@pytest.mark.parametrize("command", [["current"], ["history"], ["check"], ["revision", "-m", "x", "--sql"]])
def test_a_command_that_only_looks_makes_no_table(empty_target: Target, command: list[str]) -> None:
    empty_target.alembic(*command, check=False)
    made = empty_target.query("SELECT relname FROM pg_class WHERE relnamespace = 'migrations'::regnamespace")
    assert ("ledger",) not in made


def test_stamping_leaves_no_row_of_a_run_because_nothing_ran(three: Target) -> None:
    three.migrate(ONE)
    three.alembic("stamp", TWO)
    assert three.migrate(TWO) == TWO
    assert ledger(three) == [(ONE, "upgrade")]


def test_an_unnamed_merge_is_refused_with_the_command_that_names_it(three: Target) -> None:
    three.write("20250103_004", TWO)
    refused = three.alembic("merge", "heads", "-m", "x", check=False)
    assert f"alembic merge --rev-id {date.today():%Y%m%d}_005 -m 'merge branches' {THREE} 20250103_004" in refused
    three.alembic("merge", "heads", "-m", "join them", "--rev-id", "20250104_005")
    assert three.migrate("20250104_005") == "20250104_005"
    assert tables(three) == ["one", "three", "two"]


def test_offline_sql_keeps_a_percent_sign_single(three: Target) -> None:
    three.write(ONE, None, "op.execute(\"SELECT 'a' LIKE '%'\")")
    assert "SELECT 'a' LIKE '%';" in three.alembic("upgrade", ONE, "--sql")


def test_bound_parameters_stay_out_of_the_error(three: Target) -> None:
    three.write(
        TWO,
        ONE,
        "import sqlalchemy as sa; op.get_bind().execute(sa.text('SELECT 1/0, :secret'), {'secret': 'hunter2'})",
    )
    with pytest.raises(RevisionFailed, match="22012") as caught:
        three.migrate(TWO)
    assert "hunter2" not in str(caught.value)


def test_a_script_that_does_not_import_is_refused_before_any_other_runs(three: Target) -> None:
    script = three.write(THREE, TWO)
    script.write_text(f"import no_such_module\n{script.read_text()}")
    with pytest.raises(HistoryError, match=rf"{script.name} cannot be imported: ModuleNotFoundError"):
        three.migrate(THREE)
    assert tables(three) == []


def test_a_script_without_a_downgrade_is_refused_before_any_other_runs(three: Target) -> None:
    script = three.write(THREE, TWO)
    script.write_text(script.read_text().partition("def downgrade")[0])
    with pytest.raises(HistoryError, match=rf"{script.name} has no function downgrade\(\)"):
        three.migrate(THREE)
    assert tables(three) == []


def test_applied_scripts_are_not_loaded_again(three: Target) -> None:
    """This holds if nothing is pending, and if later revisions run."""
    three.migrate("base")
    script = three.directory / "versions" / f"{ONE}_script.py"
    loads = three.directory / "loads"
    script.write_text(f"open({str(loads)!r}, 'a').write('loaded\\n')\n{script.read_text()}")
    three.migrate(ONE)
    before = loads.read_text()
    assert three.migrate(ONE) == ONE
    assert three.migrate(THREE) == THREE
    assert loads.read_text() == before != ""


def test_a_plan_for_another_state_of_the_database_is_refused(three: Target) -> None:
    plan = planner.plan_from_database(Job(three.url, three.directory, THREE))
    three.migrate(TWO)
    with pytest.raises(DatabaseError, match=f"starts at base, and the database now is at {TWO}"):
        alembic_run.run(plan, History.load(three.directory), Request(three.job(THREE)))
    assert tables(three) == ["one", "two"]


def test_a_head_that_the_scripts_lack_is_refused(three: Target) -> None:
    three.migrate(THREE)
    (three.directory / "versions" / f"{THREE}_script.py").unlink()
    with pytest.raises(TargetError, match=f"at revision {THREE}, which the scripts here do not have"):
        three.migrate(TWO)
    assert tables(three) == ["one", "three", "two"]


def test_planning_changes_nothing(three: Target) -> None:
    planner.plan_from_database(Job(three.url, three.directory, THREE))
    assert three.query("SELECT count(*) FROM pg_class WHERE relnamespace = 'migrations'::regnamespace") == [(0,)]


def test_the_session_is_the_owner_whatever_the_login_says(three: Target) -> None:
    with connect(three.url) as connection:
        [current, session] = connection.execute("SELECT current_user, session_user").fetchone() or ()
    assert str(current).endswith("_owner")
    assert str(session).endswith("_migrator")


def test_a_missing_database_and_a_wrong_password_are_told_apart(three: Target) -> None:
    with pytest.raises(NoDatabase, match="no_such_database"):
        planner.read_revision(three.url.rpartition("/")[0] + "/no_such_database")
    with pytest.raises(NoLogin) as caught:
        planner.read_revision(three.url.replace("_migrator:", "_migrator:wrong-"))
    assert "wrong-" not in str(caught.value)


def test_an_unreadable_url_is_refused_without_its_password() -> None:
    with pytest.raises(DatabaseError) as caught:
        planner.read_revision("postgresql://user:hunter2@[host/database")
    assert "hunter2" not in str(caught.value)


def test_a_server_that_is_not_there_is_an_error_of_the_database() -> None:
    with pytest.raises(DatabaseError, match="Is the server running"):
        planner.read_revision("postgresql://user@127.0.0.1:1/database")


def test_a_schema_that_is_missing_is_named(database: Database) -> None:
    login = psycopg.conninfo.make_conninfo(**database.parameters)
    with pytest.raises(DatabaseError, match="the schema migrations, for the"):
        planner.read_revision(login)


def test_alembic_upgrade_leaves_the_same_ledger(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    from alembic import command
    from alembic.config import Config

    project = Path(__file__).parents[3]
    monkeypatch.setenv("DATABASE_URL", target.url)
    command.upgrade(Config(toml_file=project / "pyproject.toml"), "20250126_002")
    assert ledger(target) == [("20250126_001", "upgrade"), ("20250126_002", "upgrade")]
