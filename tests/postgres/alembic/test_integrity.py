"""An applied script that differs from the stored one is refused and shown by every operation that builds on it."""

import os
import sys
from pathlib import Path

import pytest

from pulumi_alembic.errors import DatabaseError, HistoryError, MigrationError
from pulumi_alembic.migrate import planner
from pulumi_alembic.migrate.job import Job
from pulumi_alembic.scripts.history import History
from tests import loaded
from tests.postgres.alembic.conftest import Target
from tests.postgres.alembic.owner import connect

ONE, TWO, THREE = "20250101_001", "20250102_002", "20250103_003"


def pulumi_alembic(target: Target, *arguments: str, check: bool = True) -> str:
    done = loaded.run(
        [Path(sys.executable).with_name("pulumi-alembic"), *arguments, "--directory", target.directory],
        env=os.environ | {"DATABASE_URL": target.url},
    )
    assert (done.returncode == 0) is check, done.stdout + done.stderr
    return done.stdout + done.stderr


def execute(target: Target, statement: str) -> None:
    with connect(target.url) as connection:
        connection.execute(statement.encode())
        connection.commit()


def edit(target: Target, id: str, old: str, new: str) -> None:
    path = target.directory / "versions" / f"{id}_script.py"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


@pytest.fixture
def three(empty_target: Target) -> Target:
    """Write three scripts with their manifest, the first two of them applied."""
    for id, down, table in ((ONE, None, "one"), (TWO, ONE, "two"), (THREE, TWO, "three")):
        empty_target.write(id, down, f"op.execute('CREATE TABLE {table} ()')", f"op.execute('DROP TABLE {table}')")
    History.load(empty_target.directory).write_manifest()
    empty_target.migrate(TWO)
    return empty_target


def test_an_edited_applied_script_is_refused_with_its_lines_and_the_way_on(three: Target) -> None:
    edit(three, ONE, "TABLE one ()", "TABLE one (x int)")
    with pytest.raises(HistoryError) as caught:
        three.migrate(THREE)
    assert str(caught.value) == (
        f"migrations/versions/{ONE}_script.py is applied, and was edited since:\n"
        "  --- as applied\n"
        "  +++ as it is now\n"
        "  @@ -5,3 +5,3 @@\n"
        "   def upgrade():\n"
        "  -    op.execute('CREATE TABLE one ()')\n"
        "  +    op.execute('CREATE TABLE one (x int)')\n"
        "   def downgrade():\n"
        'Revert the edit, and change the schema with a new revision: alembic revision -m "…"\n'
        "If the edit is meant, and the applied schema is right: pulumi-alembic manifest; then: "
        f'pulumi-alembic accept {ONE} --reason "…"'
    )


def test_every_way_in_notices_it_a_preview_with_nothing_pending_too(three: Target) -> None:
    edit(three, ONE, "TABLE one ()", "TABLE one (x int)")
    History.load(three.directory).write_manifest()
    for target in (ONE, TWO, THREE, "base"):
        with pytest.raises(HistoryError, match=f"{ONE}_script.py is applied, and was edited"):
            planner.plan_from_database(Job(three.url, three.directory, target))
    for command in (["upgrade", "head"], ["downgrade", "-1"]):
        assert f"{ONE}_script.py is applied, and was edited" in three.alembic(*command, check=False)
    assert f"{ONE}_script.py is applied, and was edited" in pulumi_alembic(three, "upgrade", check=False)
    assert three.query("SELECT version_num FROM migrations.alembic_version") == [(TWO,)]


def test_accepting_it_lets_it_be_and_says_why_for_ever(three: Target) -> None:
    edit(three, ONE, "script 2025", "the script 2025")
    History.load(three.directory).write_manifest()
    assert f"{ONE} was accepted as it is now" in pulumi_alembic(three, "accept", ONE, "--reason", "a word in its title")
    assert three.migrate(THREE) == THREE
    [(checksum, reason, login)] = three.query(
        "SELECT checksum, detail->>'reason', applied_by FROM migrations.ledger WHERE event = 'accepted'"
    )
    assert checksum == History.load(three.directory).revisions[ONE].checksum
    assert reason == "a word in its title"
    assert str(login).endswith("_migrator")
    assert f"{ONE} is as it was applied" in pulumi_alembic(three, "accept", ONE, "--reason", "again")
    edit(three, ONE, "the script 2025", "that script 2025")
    with pytest.raises(HistoryError, match="is applied, and was edited"):
        three.migrate(ONE)


@pytest.mark.parametrize(
    ("revision", "reason", "refusal"),
    [
        (THREE, "because", f"revision {THREE} is not applied here: applied are {ONE}, {TWO}"),
        ("20990101_009", "because", "is not applied here"),
        (ONE, " ", "--reason is empty"),
    ],
)
def test_what_there_is_not_to_accept_is_refused(three: Target, revision: str, reason: str, refusal: str) -> None:
    assert refusal in pulumi_alembic(three, "accept", revision, "--reason", reason, check=False)


def test_line_endings_are_no_edit(three: Target) -> None:
    for path in (three.directory / "versions").glob("*.py"):
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert three.migrate(THREE) == THREE


def test_a_reordered_chain_is_refused_naming_what_changed_its_place(three: Target) -> None:
    three.migrate(THREE)
    edit(three, TWO, f"down_revision = '{ONE}'", f"down_revision = '{THREE}'")
    edit(three, THREE, f"down_revision = '{TWO}'", f"down_revision = '{ONE}'")
    History.load(three.directory).write_manifest()
    with pytest.raises(HistoryError) as caught:
        three.migrate(THREE)
    for part in (f"{TWO}_script.py is applied", f"-down_revision = '{ONE}'", f"{THREE}_script.py is applied"):
        assert part in str(caught.value)


def test_a_script_that_was_taken_back_may_change_before_it_is_applied_again(three: Target) -> None:
    three.migrate(ONE)
    edit(three, TWO, "TABLE two ()", "TABLE two (x int)")
    History.load(three.directory).write_manifest()
    assert three.migrate(THREE) == THREE


def test_what_was_stamped_has_no_script_to_differ_from(three: Target) -> None:
    three.alembic("stamp", THREE)
    edit(three, THREE, "script 2025", "the script 2025")
    History.load(three.directory).write_manifest()
    assert three.migrate(THREE) == THREE
    assert "was stamped" in pulumi_alembic(three, "accept", THREE, "--reason", "because", check=False)


def test_a_ledger_from_before_there_were_events_is_compared_and_added_to(three: Target) -> None:
    execute(three, "ALTER TABLE migrations.ledger DROP event, DROP phase, DROP statement, DROP detail")
    edit(three, TWO, "script 2025", "the script 2025")
    History.load(three.directory).write_manifest()
    with pytest.raises(HistoryError, match=f"{TWO}_script.py is applied"):
        three.migrate(THREE)
    pulumi_alembic(three, "accept", TWO, "--reason", "because")
    assert three.migrate(THREE) == THREE


def test_a_ledger_that_cannot_be_read_is_an_error_of_the_database(three: Target) -> None:
    execute(three, "REVOKE ALL ON migrations.ledger FROM CURRENT_USER")
    with pytest.raises(DatabaseError, match=r"permission denied for table ledger \(42501\)"):
        three.migrate(THREE)


@pytest.mark.parametrize(
    "literal",
    [
        f"{quote}ALTER ROLE somebody PASSWORD {inner}hunter2{inner}{quote}"
        for quote, inner in (('"', "'"), ("'", "\\'"), ("'", "''"), ("'", '"'))
    ],
)
def test_no_password_is_in_what_is_shown_of_a_script(three: Target, literal: str) -> None:
    edit(three, ONE, "'CREATE TABLE one ()'", literal)
    with pytest.raises(HistoryError, match="ALTER ROLE somebody PASSWORD") as caught:
        three.migrate(THREE)
    assert "hunter2" not in str(caught.value)


def test_every_command_refuses_a_manifest_that_does_not_fit(three: Target) -> None:
    edit(three, THREE, "TABLE three ()", "TABLE three (x int)")
    refusal = f"{THREE}_script.py was edited\nIf that is meant, update it: pulumi-alembic manifest"
    for act in (
        lambda: planner.plan_from_database(Job(three.url, three.directory, TWO)),
        lambda: planner.plan_context_from_base(Job("", three.directory, THREE)),
        lambda: three.migrate(THREE),
    ):
        with pytest.raises(MigrationError) as caught:
            act()
        assert refusal in str(caught.value).replace("\n  ", "\n")
    for command in (["upgrade", "head"], ["downgrade", "-1"]):
        assert "pulumi-alembic manifest" in three.alembic(*command, check=False)
    printed = pulumi_alembic(three, "manifest")
    assert printed == f"wrote migrations/manifest: 3 revisions\n  updated {THREE}_script.py\n"
    three.alembic("upgrade", "head")
    assert "the manifest matches the scripts" in pulumi_alembic(three, "manifest")


def test_a_manifest_with_another_parent_is_refused_before_a_run(three: Target) -> None:
    history = History.load(three.directory)
    lie = history.revisions[THREE].entry.parse(str(history.revisions[THREE].entry).replace(TWO, ONE))
    history.manifest.write([*(history.revisions[id].entry for id in (ONE, TWO)), lie])
    three.migrate(ONE)
    with pytest.raises(HistoryError, match="has another down_revision than the manifest lists"):
        three.migrate(THREE)


def test_a_new_revision_and_a_merge_come_with_their_lines(three: Target) -> None:
    three.alembic("revision", "-m", "four")
    History.load(three.directory).require_manifest()
    three.write("20250103_005", TWO)
    History.load(three.directory).write_manifest()
    heads = History.load(three.directory).heads
    three.alembic("merge", "--rev-id", "20990101_006", "-m", "join", *heads)
    History.load(three.directory).require_manifest()
    assert three.migrate("20990101_006") == "20990101_006"


def test_a_new_revision_leaves_a_broken_manifest_alone_and_says_what_to_do(three: Target) -> None:
    path = three.directory / "manifest"
    path.write_text(f"<<<<<<< HEAD\n{path.read_text()}")
    before = path.read_text()
    said = three.alembic("revision", "-m", "four")
    assert "migrations/manifest is not updated: line 1 is a conflict marker of git" in said
    assert "Write it:\n  pulumi-alembic manifest\n" in said
    assert path.read_text() == before
    path.unlink()
    assert "there is no migrations/manifest, so an edit" in three.alembic("revision", "-m", "five")
    assert not path.exists()
