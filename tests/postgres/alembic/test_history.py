"""The history of a database is complete: each move of its heads with user and origin, and each failure."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from pulumi_alembic.errors import DatabaseError, RevisionFailed
from pulumi_alembic.ledger import ledger, records
from pulumi_alembic.ledger.ledger import Event, Row, Run
from pulumi_alembic.provider import MigrationsProvider
from pulumi_alembic.scripts.origin import Origin
from tests import formats, loaded
from tests.postgres.alembic.conftest import Target
from tests.postgres.alembic.owner import connect
from tests.postgres.alembic.waiting import until

ONE, TWO, THREE = "20250101_001", "20250102_002", "20250103_003"


@pytest.fixture
def three(empty_target: Target) -> Target:
    """Write three scripts of one, two and three statements, none applied."""
    for number, (id, down) in enumerate(((ONE, None), (TWO, ONE), (THREE, TWO)), 1):
        tables = [f"t{number}_{each}" for each in range(number)]
        empty_target.write(
            id,
            down,
            "; ".join(f"op.execute('CREATE TABLE {table} ()')" for table in tables),
            "; ".join(f"op.execute('DROP TABLE {table}')" for table in tables),
        )
    (empty_target.directory.parent / "pyproject.toml").write_text(
        '[tool.alembic]\nscript_location = "%(here)s/migrations"\n'
    )
    return empty_target


def run(target: Target, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return loaded.run(
        [Path(sys.executable).with_name("pulumi-alembic"), "history", *arguments],
        cwd=target.directory.parent,
        env={**os.environ, "DATABASE_URL": target.url, **environment},
    )


def history(target: Target, *arguments: str) -> list[dict[str, Any]]:
    done = run(target, "--json", *arguments)
    assert done.returncode == 0, done.stderr
    found: list[dict[str, Any]] = formats.read("history", done.stdout)["records"]
    return found


def told(target: Target) -> list[tuple[object, ...]]:
    with connect(target.url) as connection:
        found, _ = records.read(connection, None)
    return [(each.origin, each.target, each.what, each.result) for each in reversed(found)]


def execute(target: Target, statement: str) -> None:
    with connect(target.url) as connection:
        connection.execute(statement.encode())
        connection.commit()


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=A Test", "-c", "user.email=test@example.com"]
    done = subprocess.run(["git", *identity, "-C", folder, *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_of_a_database_to_which_nothing_was_done_it_says_so_and_makes_no_table(three: Target) -> None:
    assert run(three).stdout == "the ledger is empty\n"
    assert three.query("SELECT count(*) FROM pg_class WHERE relnamespace = 'migrations'::regnamespace") == [(0,)]


def test_each_run_is_told_with_its_heads_statements_time_and_who(three: Target) -> None:
    three.migrate(THREE, origin=Origin("dev"))
    three.migrate(TWO)
    newest, *others = history(three)
    assert (newest["origin"], newest["target"], newest["what"]) == ([THREE], [TWO], f"downgrade {THREE}")
    assert [(each["origin"], each["target"]) for each in others] == [([TWO], [THREE]), ([ONE], [TWO]), ([], [ONE])]
    assert [each["statements"] for each in (newest, *others)] == [3, 3, 2, 1]
    assert [each["stack"] for each in (newest, *others)] == ["", "dev", "dev", "dev"]
    assert all(0 < each["seconds"] < 60 and each["when"].startswith("20") for each in others)
    assert {each["who"] for each in others} == {row[0] for row in three.query("SELECT session_user::text")}


def test_a_stack_is_known_by_its_resources_urn(three: Target) -> None:
    urn = "urn:pulumi:staging::taskdb::pulumi-python:dynamic/alembic:Migrations::schema"
    news = {"url": three.url, "directory": str(three.directory), "target": ONE, "__urn": urn}
    MigrationsProvider().create({**news, "__serial": 1})
    assert [each["stack"] for each in history(three)] == ["staging"]


def test_the_recorded_commit_is_marked_if_scripts_differ_from_it(
    three: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = three.directory.parent
    monkeypatch.setenv("GITHUB_SHA", "1234567890" * 4)
    three.migrate(ONE)
    git(folder, "init", "--quiet")
    git(folder, "add", "migrations")
    git(folder, "commit", "--quiet", "--message", "scripts")
    (folder / "elsewhere").write_text("no script")
    head = git(folder, "rev-parse", "HEAD")
    # Only tests have Python's compiled files here. A project ignores them.
    (folder / ".gitignore").write_text("__pycache__\n")
    three.migrate(TWO)
    three.write("20250104_004", THREE)
    three.migrate(THREE)
    assert [each["commit"] for each in history(three)] == [f"{head}+", head, "1234567890" * 4]


def test_without_a_repository_there_is_no_commit(three: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GITHUB_SHA", raising=False)
    three.migrate(ONE)
    assert [each["commit"] for each in history(three)] == [""]


def test_a_stamp_and_a_move_by_hand_are_links_of_the_chain(three: Target) -> None:
    three.migrate(ONE)
    three.alembic("stamp", TWO)
    three.alembic("stamp", ONE)
    execute(three, f"UPDATE migrations.alembic_version SET version_num = '{TWO}'")
    three.migrate(THREE)
    execute(three, "DELETE FROM migrations.alembic_version")
    assert told(three)[:2] == [
        ((), (ONE,), f"upgrade {ONE}", "applied"),
        ((ONE,), (TWO,), f"stamp {TWO}", "stamped: no script was applied"),
    ]
    links = [(origin, target) for origin, target, *_ in told(three)]
    assert all(one[1] == another[0] for one, another in pairwise(links))
    assert links[0][0] == () and links[-1][1] == ()
    assert [result for *_, result in told(three)].count(records.BY_HAND) == 2


def test_what_failed_is_told_with_the_servers_words_and_no_values(three: Target) -> None:
    three.migrate(ONE)
    three.write(TWO, ONE, "op.execute('CREATE TABLE t1_0 ()')")
    with pytest.raises(RevisionFailed):
        three.migrate(TWO)
    three.write(TWO, ONE, "op.execute(\"SELECT 'hunter2'::int\")")
    with pytest.raises(RevisionFailed):
        three.migrate(TWO)
    assert told(three)[1:] == [
        ((ONE,), (ONE,), f"upgrade {TWO}", 'failed: relation "t1_0" already exists (42P07)'),
        ((ONE,), (ONE,), f"upgrade {TWO}", 'failed: invalid input syntax for type integer: "…" (22P02)'),
    ]


def test_a_failure_of_the_first_revision_is_recorded(three: Target) -> None:
    """The revision's transaction created the ledger, and was rolled back with it."""
    three.write(ONE, None, "op.execute('SELECT 1 / 0')")
    with pytest.raises(RevisionFailed):
        three.migrate(ONE)
    assert told(three) == [((), (), f"upgrade {ONE}", "failed: division by zero (22012)")]


def test_a_ledger_from_before_runs_were_told_is_read_and_carried_on(three: Target) -> None:
    three.migrate(TWO)
    execute(
        three,
        "DROP TRIGGER append_only ON migrations.ledger; ALTER TABLE migrations.ledger DROP heads_before, "
        "DROP heads_after, DROP stack, DROP commit, DROP person, DROP seconds, DROP statements, DROP backup",
    )
    before = [((), (ONE,), f"upgrade {ONE}", "applied"), ((ONE,), (TWO,), f"upgrade {TWO}", "applied")]
    assert told(three) == before
    three.migrate(THREE)
    assert told(three) == [*before, ((TWO,), (THREE,), f"upgrade {THREE}", "applied")]


def test_not_even_its_owner_changes_a_row(three: Target) -> None:
    three.migrate(ONE)
    statements = ("UPDATE {} SET revision = 'x'", "DELETE FROM {}", "TRUNCATE {}")
    for refusal in ("permission denied for table ledger", "rows of the ledger are only ever added"):
        for statement in statements:
            with pytest.raises(DatabaseError, match=refusal):
                execute(three, statement.format("migrations.ledger"))
        execute(three, "GRANT ALL ON migrations.ledger TO CURRENT_USER")
    # The trigger fires in sessions that replay changes too.
    assert three.query("SELECT tgenabled::text FROM pg_trigger WHERE tgname = 'append_only'") == [("A",)]


def test_for_people_it_is_a_table_and_what_is_older_is_counted(three: Target) -> None:
    three.migrate(THREE, origin=Origin("dev"))
    shown = run(three, "--limit", "2").stdout
    assert shown.split("\n")[0].split() == ["when", "what", "took", "result"]
    assert 0 < shown.index(f"{TWO} → {THREE}") < shown.index(f"{ONE} → {TWO}")
    assert shown.endswith("… 1 older rows: --limit 3 or --limit all\n")
    everything = run(three, "--limit", "all").stdout
    assert f"base → {ONE}" in everything and "older" not in everything


@pytest.mark.few(1)
@pytest.mark.parametrize("limit", ["0", "-1", "many", "1e3"])
def test_a_limit_that_is_none_is_refused(three: Target, limit: str) -> None:
    refused = run(three, f"--limit={limit}")
    assert refused.returncode == 2 and "must be a number above 0, or all" in refused.stderr


def test_two_heads_and_their_merge_are_one_chain(three: Target) -> None:
    three.write("20250103_004", TWO)
    three.write("20250104_005", None)
    path = three.directory / "versions" / "20250104_005_script.py"
    path.write_text(path.read_text().replace("down_revision = None", f"down_revision = ('{THREE}', '20250103_004')"))
    three.migrate(THREE)
    three.migrate("20250104_005")
    three.migrate(TWO)
    links = [(origin, target) for origin, target, *_ in told(three)]
    assert ((THREE,), (THREE, "20250103_004")) in links
    assert all(one[1] == another[0] for one, another in pairwise(links))
    assert records.BY_HAND not in [result for *_, result in told(three)]


def test_an_attempt_counts_if_its_revision_was_applied_before_it_only(three: Target) -> None:
    three.migrate(ONE)
    with connect(three.url) as connection:
        ledger.note(connection, Row(Event.INTENT, ledger.Run([], [ONE]), phase=1, statement="a"), Origin())
        assert [each.statement for each in ledger.attempts(connection)] == ["a"]


def test_what_is_done_is_the_one_attempt_that_it_names(three: Target) -> None:
    three.migrate(ONE)
    with connect(three.url) as connection:
        intents = [ledger.note(connection, Row(Event.INTENT, phase=1, statement=each), Origin()) for each in "ab"]
        ledger.note(connection, Row(Event.DONE, detail={"intent": intents[1]}), Origin())
        assert [(each.id, each.done) for each in ledger.attempts(connection)] == [
            (intents[0], False),
            (intents[1], True),
        ]


def test_a_head_of_any_name_is_recorded_as_it_is(three: Target) -> None:
    three.migrate(ONE)
    head = 'a"b\\c, {d}'
    with connect(three.url) as connection:
        ledger.note(connection, Row(Event.STAMPED, Run([ONE], [head])), Origin())
        query = "SELECT heads_after FROM migrations.ledger ORDER BY id DESC LIMIT 1"
        assert connection.execute(query).fetchone() == ([head],)


def test_two_sessions_that_create_the_ledger_at_once_create_one(three: Target) -> None:
    with ThreadPoolExecutor() as threads, connect(three.url) as first, connect(three.url) as second:
        ledger.prepare(first)
        waits = threads.submit(ledger.prepare, second)
        waiting = f"SELECT count(*) FROM pg_locks WHERE NOT granted AND pid = {second.info.backend_pid}"
        until(lambda: three.query(waiting) == [(1,)])
        first.commit()
        waits.result()
        second.commit()
    assert three.query("SELECT count(*) FROM migrations.ledger") == [(0,)]


RUNS_NOTHING = {"backup", "begun", "drift accepted", "failed", "snapshot"}


def test_a_database_in_which_nothing_ran_yet_is_known(three: Target) -> None:
    """A new stack starts from a baseline there."""
    with connect(three.url) as connection:
        ledger.prepare(connection)
        connection.commit()
        assert not ledger.ran(connection)
        for event in Event:
            connection.execute(
                "INSERT INTO migrations.ledger (revision, down_revisions, tools, event) VALUES (%s, '{}', '{}', %s)",
                [ONE, str(event)],
            )
            assert ledger.ran(connection) is (event not in RUNS_NOTHING), event
            connection.rollback()
