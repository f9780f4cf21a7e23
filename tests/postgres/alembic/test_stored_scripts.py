"""An older checkout downgrades with the ledger's stored scripts, but with none that only the ledger vouches for."""

import json
import os
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pulumi_alembic.errors import StoredScriptError, TargetError
from pulumi_alembic.migrate import planner
from pulumi_alembic.migrate.job import Job
from pulumi_alembic.review.plan_review import PlanReview
from pulumi_alembic.scripts.history import History
from pulumi_alembic.scripts.revision import checksum
from pulumi_alembic.scripts.trust import VARIABLE, digest
from pulumi_alembic.stack.plugin_errors import HalfDone
from tests import loaded
from tests.postgres.alembic.conftest import Target
from tests.postgres.alembic.owner import connect
from tests.postgres.alembic.stack import Refused, Stack, at, older

ONE, TWO, THREE, FOUR = "20250101_001", "20250102_002", "20250103_003", "20250104_004"

TABLES = "SELECT relname FROM pg_class WHERE relnamespace = 'app'::regnamespace AND relkind = 'r' ORDER BY 1"
RUNS = "SELECT direction, revision FROM migrations.ledger WHERE event = 'applied' ORDER BY id"


def tables(target: Target) -> list[object]:
    return [name for (name,) in target.query(TABLES)]


def execute(target: Target, statement: str, *parameters: Any) -> None:
    with connect(target.url) as connection:
        connection.execute(statement.encode(), parameters)
        connection.commit()


def tamper_with(target: Target, statement: str, *parameters: Any) -> None:
    """Execute a statement that only a malicious owner of the ledger can execute."""
    execute(target, "ALTER TABLE migrations.ledger DISABLE TRIGGER append_only")
    execute(target, "GRANT ALL ON migrations.ledger TO CURRENT_USER")
    execute(target, statement, *parameters)


def everything(target: Target) -> list[tuple[object, ...]]:
    """Return everything that a refused update must not have changed."""
    return [
        *target.query(TABLES),
        *target.query("SELECT version_num FROM migrations.alembic_version"),
        *target.query("SELECT id, revision, direction, checksum, source FROM migrations.ledger ORDER BY id"),
    ]


@pytest.fixture
def newer(empty_target: Target) -> Target:
    """Write four scripts with their manifest, none applied."""
    for id, down, table in ((ONE, None, "one"), (TWO, ONE, "two"), (THREE, TWO, "three"), (FOUR, THREE, "four")):
        empty_target.write(id, down, f"op.execute('CREATE TABLE {table} ()')", f"op.execute('DROP TABLE {table}')")
    History.load(empty_target.directory).write_manifest()
    return empty_target


@pytest.fixture
def stack(newer: Target) -> Stack:
    """A stack at the last of the four revisions."""
    made = Stack(newer.url)
    made.up(newer.directory, FOUR)
    return made


@pytest.fixture
def checkout(newer: Target) -> Path:
    """A checkout without the last two scripts."""
    return older(newer, THREE, FOUR)


@pytest.fixture
def ran(tmp_path: Path) -> Path:
    """A file that the attacker's code creates when it runs."""
    return tmp_path / "ran"


def hostile(ran: Path, id: str, down: str) -> str:
    """Return a script that records its import, and is valid."""
    return (
        f'"""script"""\nfrom pathlib import Path\nPath({str(ran)!r}).touch()\nrevision = {id!r}\n'
        f"down_revision = {down!r}\ndef upgrade(): pass\ndef downgrade(): pass\n"
    )


def test_an_older_checkout_downgrades_and_the_newer_one_upgrades(newer: Target, stack: Stack, checkout: Path) -> None:
    planned = stack.preview(checkout, TWO)
    assert planned["plan"] == f"{FOUR} → {TWO}, 2 downgrades"
    assert planned["statements"][f"downgrade {FOUR}"] == [
        "-- from the ledger: the scripts here lack it",
        "-- locks app.four: ACCESS EXCLUSIVE",
        "-- deletes table app.four",
        "-- info destroys-data: deletes table app.four (which is empty): only a backup restores what is not preserved",
        "DROP TABLE four",
    ]
    assert tables(newer) == ["four", "one", "three", "two"], "a preview changes nothing"
    assert stack.up(checkout, TWO)
    assert stack.outputs["revision"] == TWO
    assert tables(newer) == ["one", "two"]
    assert newer.query(RUNS)[4:] == [("downgrade", FOUR), ("downgrade", THREE)]
    assert not stack.up(checkout, TWO)
    assert stack.up(newer.directory, FOUR)
    assert tables(newer) == ["four", "one", "three", "two"]


def test_a_refresh_keeps_what_the_stack_knows_of_the_newer_scripts(stack: Stack, checkout: Path) -> None:
    stack.refresh()
    stack.refresh()
    assert stack.up(checkout, TWO)


def test_the_next_update_adds_digests_to_an_old_state(newer: Target, stack: Stack, checkout: Path) -> None:
    for properties in (stack.inputs, stack.outputs):
        del properties["__applied"]
    assert stack.up(newer.directory, FOUR), "what only the inputs know, the next refresh would forget"
    assert not stack.up(newer.directory, FOUR)
    stack.refresh()
    assert stack.up(checkout, TWO)


def test_what_was_applied_by_hand_is_known_after_the_next_update(newer: Target, checkout: Path) -> None:
    stack = Stack(newer.url)
    stack.up(newer.directory, TWO)
    newer.migrate(FOUR)
    with pytest.raises(Refused, match="nothing outside the database confirms"):
        stack.up(checkout, TWO)
    stack.refresh()
    stack.up(newer.directory, FOUR)
    stack.refresh()
    assert stack.up(checkout, TWO)


def test_one_that_fails_on_the_way_down_goes_on_from_there(newer: Target, stack: Stack, checkout: Path) -> None:
    execute(newer, "CREATE VIEW view AS SELECT FROM three")
    with pytest.raises(HalfDone, match=f"{THREE} failed on downgrade: migrations/ledger/{THREE}.py\n  line 8"):
        stack.up(checkout, TWO)
    assert stack.outputs["revision"] == THREE
    execute(newer, "DROP VIEW view")
    stack.refresh()
    assert stack.up(checkout, TWO)
    assert tables(newer) == ["one", "two"]


def _source(target: Target, id: str, text: str, sum: str | None = None) -> None:
    tamper_with(
        target,
        "UPDATE migrations.ledger SET source = %s, checksum = coalesce(%s, checksum) WHERE revision = %s",
        zlib.compress(text.encode()),
        sum,
        id,
    )


def change_source(target: Target, ran: Path) -> None:
    _source(target, FOUR, hostile(ran, FOUR, THREE))


def change_source_and_checksum(target: Target, ran: Path) -> None:
    text = hostile(ran, FOUR, THREE)
    _source(target, FOUR, text, checksum(text))


def change_the_lower_one(target: Target, ran: Path) -> None:
    text = hostile(ran, THREE, TWO)
    _source(target, THREE, text, checksum(text))


def swap_two(target: Target, _: Path) -> None:
    tamper_with(
        target,
        "UPDATE migrations.ledger one SET (source, checksum) = (other.source, other.checksum) "
        "FROM migrations.ledger other "
        "WHERE (one.revision, other.revision) IN ((%s, %s), (%s, %s))",
        *(THREE, FOUR, FOUR, THREE),
    )


def delete_a_row(target: Target, _: Path) -> None:
    tamper_with(target, "DELETE FROM migrations.ledger WHERE revision = %s", THREE)


def add_a_newer_row(target: Target, ran: Path) -> None:
    text = hostile(ran, FOUR, THREE)
    tamper_with(
        target,
        "INSERT INTO migrations.ledger (revision, direction, down_revisions, checksum, source, tools) "
        "SELECT revision, direction, down_revisions, %s, %s, tools FROM migrations.ledger WHERE revision = %s",
        checksum(text),
        zlib.compress(text.encode()),
        FOUR,
    )


def add_a_head(target: Target, ran: Path) -> None:
    five = "20250105_005"
    text = hostile(ran, five, FOUR)
    tamper_with(
        target,
        "INSERT INTO migrations.ledger (revision, direction, down_revisions, checksum, source, tools) "
        "VALUES (%s, 'upgrade', %s, %s, %s, '{}')",
        five,
        [FOUR],
        checksum(text),
        zlib.compress(text.encode()),
    )
    tamper_with(target, "UPDATE migrations.alembic_version SET version_num = %s", five)


def fill_the_memory(target: Target, _: Path) -> None:
    source = zlib.compress(b"#" * 100_000_000, 9)
    tamper_with(target, "UPDATE migrations.ledger SET source = %s WHERE revision = %s", source, FOUR)


def no_archive(target: Target, _: Path) -> None:
    tamper_with(target, "UPDATE migrations.ledger SET source = 'x' WHERE revision = %s", FOUR)


TAMPERED: dict[Callable[[Target, Path], None], list[str]] = {
    change_source: [f"  {FOUR} (applied ", "is not the script that the stack applied"],
    change_source_and_checksum: [f"  {FOUR} (applied ", "is not the script that the stack applied"],
    change_the_lower_one: [f"  {THREE} (applied ", "is not the script that the stack applied"],
    swap_two: [f"  {FOUR} (applied ", "is not the script that the stack applied"],
    delete_a_row: [f"  {THREE}: the ledger has no script of it"],
    add_a_newer_row: [f"  {FOUR} (applied ", "is not the script that the stack applied"],
    add_a_head: ["  20250105_005 (applied ", "nothing outside the database confirms"],
    fill_the_memory: [f"  {FOUR} (applied ", f"what the ledger contains has {digest(checksum(''))}"],
    no_archive: [f"  {FOUR} (applied ", "is not the script that the stack applied"],
}


@pytest.mark.few("preview-change_source_and_checksum", "update-add_a_newer_row")
@pytest.mark.parametrize("tamper", TAMPERED, ids=lambda tamper: tamper.__name__)
@pytest.mark.parametrize("late", [False, True], ids=["before the preview", "between preview and update"])
def test_changes_by_the_migrator_in_the_ledger_are_refused(
    newer: Target, stack: Stack, checkout: Path, ran: Path, tamper: Callable[[Target, Path], None], late: bool
) -> None:
    before: list[object] = []

    def change() -> None:
        tamper(newer, ran)
        before.extend(everything(newer))

    if not late:
        change()
    with pytest.raises((Refused, StoredScriptError)) as caught:
        stack.up(checkout, TWO, between=change if late else lambda: None)
    for part in [*TAMPERED[tamper], "Check out the commit that has them: git log --all"]:
        assert part in str(caught.value)
    assert not ran.exists()
    assert everything(newer) == before


def test_code_that_nobody_changed_does_run(newer: Target, ran: Path) -> None:
    """Otherwise the tests of tampering would prove nothing."""
    path = newer.directory / "versions" / f"{FOUR}_script.py"
    path.write_text(hostile(ran, FOUR, THREE))
    History.load(newer.directory).write_manifest()
    stack = Stack(newer.url)
    stack.up(newer.directory, FOUR)
    ran.unlink()
    stack.up(older(newer, FOUR), THREE)
    assert ran.exists()


def test_a_lost_state_is_refused_until_somebody_vouches(
    newer: Target, stack: Stack, checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack.lose()
    with pytest.raises(Refused) as caught:
        stack.up(checkout, TWO)
    digests = {
        id: digest(newer_script.checksum) for id, newer_script in History.load(newer.directory).revisions.items()
    }
    accepted = f"{FOUR}={digests[FOUR]}"
    assert str(caught.value).splitlines()[-1] == (
        f"Or read the stored scripts: pulumi-alembic capsule {FOUR}; and if they are right: "
        f"{VARIABLE}='{accepted}' pulumi up --stack dev"
    )
    monkeypatch.setenv(VARIABLE, accepted)
    with pytest.raises(Refused, match=rf"  {THREE} \(applied .*\): nothing outside the database confirms"):
        stack.up(checkout, TWO)
    monkeypatch.setenv(VARIABLE, f"{accepted} {THREE}={digests[FOUR]}")
    with pytest.raises(Refused, match=rf"  {THREE} \(applied"):
        stack.up(checkout, TWO)
    monkeypatch.setenv(VARIABLE, f"{accepted} {THREE}={digests[THREE]}")
    assert stack.up(checkout, TWO)
    assert tables(newer) == ["one", "two"]
    monkeypatch.setenv(VARIABLE, "yes")
    with pytest.raises(Refused, match=f"{VARIABLE}: 'yes' is not REVISION=DIGEST"):
        stack.up(checkout, TWO)


def git(folder: Path, *arguments: str) -> None:
    settings = ["-c", "user.name=x", "-c", "user.email=x@example.org", "-c", "init.defaultBranch=main"]
    subprocess.run(["git", *settings, *arguments], cwd=folder, check=True, capture_output=True)


def test_a_lost_state_is_made_up_for_by_a_commit_with_the_very_text(
    newer: Target, stack: Stack, checkout: Path, ran: Path
) -> None:
    stack.lose()
    folder = newer.directory.parent
    git(folder, "init")
    git(folder, "add", "migrations")
    git(folder, "commit", "-m", "newer")
    git(folder, "checkout", "--orphan", "older")
    git(folder, "rm", "-rf", "--cached", ".")
    for id in (THREE, FOUR):
        (newer.directory / "versions" / f"{id}_script.py").unlink()
    History.load(newer.directory).write_manifest()
    change_source_and_checksum(newer, ran)
    with pytest.raises(Refused, match=rf"  {FOUR} \(applied .* no commit here has that text"):
        stack.up(newer.directory, TWO)
    text = subprocess.run(
        ["git", "show", f"main:migrations/versions/{FOUR}_script.py"], cwd=folder, check=True, capture_output=True
    ).stdout.decode()
    _source(newer, FOUR, text, checksum(text))
    assert stack.up(newer.directory, TWO)
    assert tables(newer) == ["one", "two"]
    assert not ran.exists()


def test_a_state_of_another_digest_is_not_overruled_by_a_commit(
    newer: Target, stack: Stack, checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack.inputs["__applied"] = stack.inputs["__applied"].replace(f"{FOUR}=", f"{FOUR}=AAAA")[: -len("AAAA")]
    monkeypatch.setattr("pulumi_alembic.ledger.stored_scripts.has_script", lambda *_: True)
    with pytest.raises(Refused, match="is not the script that the stack applied"):
        stack.up(checkout, TWO)


def test_a_stack_can_refuse_to_downgrade_from_an_older_checkout(newer: Target, stack: Stack, checkout: Path) -> None:
    before = everything(newer)
    with pytest.raises(Refused) as caught:
        stack.up(checkout, TWO, on_unknown_revision="refuse")
    [first, who, where, allow] = str(caught.value).splitlines()
    assert first == (
        f"the database is at {FOUR}, and the scripts here lack revisions of it. This stack does not roll "
        "them back (on_unknown_revision is refuse):"
    )
    assert who.startswith(f"  {FOUR} (applied 20") and ", alembic 1." in who and "_migrator" in who
    assert where == f"Check out the commit that has them: git log --all --oneline -- '*{FOUR}*'"
    assert allow == (
        "Or allow the rollback in this stack: pulumi config set tasks:on_unknown_revision rollback "
        "--stack dev; then: pulumi up --stack dev"
    )
    assert everything(newer) == before


def test_what_was_stamped_cannot_go_back_without_its_scripts(newer: Target, checkout: Path) -> None:
    stack = Stack(newer.url)
    stack.up(newer.directory, TWO)
    newer.alembic("stamp", FOUR)
    with pytest.raises(
        Refused, match=f"  {FOUR}: the ledger has no script of it: it was stamped, or its row was deleted"
    ):
        stack.up(checkout, TWO)


def test_two_heads_and_their_merge_go_back_to_where_they_parted(newer: Target) -> None:
    newer.write("20250104_005", THREE, "op.execute('CREATE TABLE five ()')", "op.execute('DROP TABLE five')")
    newer.write("20250106_006", None, "op.execute('CREATE TABLE six ()')", "op.execute('DROP TABLE six')")
    merge = newer.directory / "versions" / "20250106_006_script.py"
    merge.write_text(merge.read_text().replace("down_revision = None", f"down_revision = ('{FOUR}', '20250104_005')"))
    History.load(newer.directory).write_manifest()
    stack = Stack(newer.url)
    stack.up(newer.directory, "20250106_006")
    four = older(newer, "20250104_005", "20250106_006")
    assert stack.preview(four, THREE)["plan"] == f"20250106_006 → {THREE}, 3 downgrades"
    stack.up(four, FOUR)
    assert tables(newer) == ["four", "one", "three", "two"]
    stack.up(older(newer, FOUR, "20250104_005", "20250106_006"), TWO)
    assert tables(newer) == ["one", "two"]


def test_a_target_on_another_branch_is_refused_with_capsules_too(newer: Target, stack: Stack) -> None:
    checkout = older(newer, THREE, FOUR)
    at(newer, checkout).write("20250103_009", TWO)
    History.load(checkout).write_manifest()
    before = everything(newer)
    with pytest.raises(Refused, match=f"revision 20250103_009 is on another branch than {FOUR}"):
        stack.up(checkout, "20250103_009")
    assert everything(newer) == before


def test_code_that_a_stored_script_lacks_is_named_before_a_run(newer: Target) -> None:
    path = newer.directory / "versions" / f"{THREE}_script.py"
    path.write_text(path.read_text().replace("from alembic", "import only_newer\nfrom alembic", 1))
    History.load(newer.directory).write_manifest()
    stack = Stack(newer.url)
    only_newer = newer.directory.parent / "only_newer.py"
    only_newer.touch()
    sys.path.insert(0, str(newer.directory.parent))
    try:
        stack.up(newer.directory, FOUR)
    finally:
        sys.path.remove(str(newer.directory.parent))
        sys.modules.pop("only_newer")
    with pytest.raises(Refused) as caught:
        stack.up(older(newer, THREE, FOUR), TWO)
    assert str(caught.value) == (
        f"the script of {THREE}, which the ledger keeps, cannot be imported here: ModuleNotFoundError: No module named "
        "'only_newer'. It uses code of its own commit. Check that commit out: "
        f"git log --all --oneline -- '*{THREE}*'"
    )
    assert "four" in tables(newer)


def test_a_ledger_from_before_there_were_events_takes_back_too(newer: Target, stack: Stack, checkout: Path) -> None:
    execute(
        newer,
        "DROP TRIGGER append_only ON migrations.ledger; ALTER TABLE migrations.ledger DROP event, DROP phase, "
        "DROP statement, DROP detail, DROP heads_before, DROP heads_after, DROP stack, DROP commit, DROP person, "
        "DROP seconds, DROP statements, DROP backup",
    )
    assert stack.up(checkout, TWO)
    assert tables(newer) == ["one", "two"]


def test_other_tools_than_those_that_applied_it_are_a_warning_of_the_preview(
    newer: Target, stack: Stack, checkout: Path
) -> None:
    tamper_with(
        newer,
        'UPDATE migrations.ledger SET tools = tools || \'{"alembic": "1.0.0", "nonsense": "1"}\' WHERE revision = %s',
        FOUR,
    )
    review = PlanReview.from_json(json.loads(stack.preview(checkout, TWO)["__plan"]))
    four, three = review.revisions
    [finding] = four.findings
    assert (finding.rule, finding.severity) == ("other-tools", "warning")
    assert finding.message.startswith("it was applied with alembic 1.0.0, and here is 1.")
    assert three.findings == ()
    assert (four.from_ledger, three.from_ledger) == (True, True)


def test_commands_that_no_stack_vouches_for_run_nothing_of_the_ledger(
    newer: Target, stack: Stack, checkout: Path
) -> None:
    with pytest.raises(TargetError, match="which the scripts here do not have"):
        planner.plan_from_database(Job(newer.url, checkout, TWO))
    assert "Can't locate revision" in at(newer, checkout).alembic("downgrade", TWO, check=False)


def capsule(target: Target, id: str) -> str:
    done = loaded.run(
        [Path(sys.executable).with_name("pulumi-alembic"), "capsule", id, "--directory", target.directory],
        env=os.environ | {"DATABASE_URL": target.url},
    )
    return done.stdout + done.stderr


def test_what_the_ledger_keeps_can_be_read_and_moves_no_terminal(newer: Target, stack: Stack) -> None:
    text = (newer.directory / "versions" / f"{FOUR}_script.py").read_text()
    printed = capsule(newer, FOUR)
    assert printed.startswith(f"# {FOUR} (applied 20")
    assert printed.splitlines()[1] == f"# digest {digest(checksum(text))}"
    assert printed.split("\n", 2)[2] == text + "\n"
    _source(newer, FOUR, "# \x1b[2J\n")
    tamper_with(newer, "UPDATE migrations.ledger SET tools = %s", '{"alembic": "\\u001b[2J"}')
    assert "\x1b" not in capsule(newer, FOUR)
    assert "\\x1b[2J" in capsule(newer, FOUR)
    assert capsule(newer, "20250199_009").startswith("error: the ledger has no script of 20250199_009")


@pytest.mark.few(1)
@pytest.mark.parametrize(
    ("back", "line", "said"),
    [
        ("raise NotImplementedError('its rows are gone')", 8, "raise NotImplementedError('its rows are gone')"),
        (
            "pass",
            7,
            "downgrade() does nothing, and upgrade() does something: its changes would stay",
        ),
    ],
)
def test_an_irreversible_revision_is_named_before_anything_runs(newer: Target, back: str, line: int, said: str) -> None:
    newer.write(FOUR, THREE, "pass", "pass")
    newer.write(THREE, TWO, "op.execute('SELECT 1')", back)
    History.load(newer.directory).write_manifest()
    stack = Stack(newer.url)
    stack.up(newer.directory, FOUR)
    before = everything(newer)
    for checkout, folder in (
        (newer.directory, f"versions/{THREE}_script.py"),
        (older(newer, THREE, FOUR), f"ledger/{THREE}.py"),
    ):
        with pytest.raises(Refused) as caught:
            stack.up(checkout, TWO)
        assert "cannot be downgraded:\n" in str(caught.value)
        assert f"{folder}:{line}: {said}" in str(caught.value)
        assert "\nNothing was run." in str(caught.value)
    assert "cannot be downgraded" in newer.alembic("downgrade", TWO, check=False)
    assert everything(newer) == before
    assert stack.up(newer.directory, THREE)
