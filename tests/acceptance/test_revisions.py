"""The schema's revision moves with the stack: previewed, pinned, by hand, and through a failure."""

import json
import os
import re
import socket
from pathlib import Path

import psycopg
import pytest

from tests.acceptance.project import ENGINES, Project, has_engine

HEAD = "20250126_003"
REPORT = Path(__file__).parent / "expected" / "report.md"


def tables(stack: Project) -> set[str]:
    with psycopg.connect(stack.outputs()["migrator_url"]) as connection:
        rows = connection.execute(
            "SELECT relname FROM pg_class WHERE relnamespace = 'app'::regnamespace AND relkind = 'r'"
        )
        return {name for (name,) in rows}


@pytest.mark.full
def test_a_pinned_revision_goes_back_and_forth(stack: Project) -> None:
    stack.configure(taskdb__revision="20250126_001")
    preview = stack.succeed("preview", "--diff")
    assert "20250126_003 → 20250126_001, 2 downgrades" in preview.text
    assert re.search(r'target +: "20250126_003" => "20250126_001"', preview.text)
    assert '"-- deletes table app.conversations"' in preview.text
    assert '"DROP TABLE IF EXISTS conversations"' in preview.text
    assert "conversations" in tables(stack), "a preview changes nothing"
    stack.up()
    assert stack.outputs()["revision"] == "20250126_001"
    assert tables(stack) == {"users", "tasks", "tags", "task_tags"}

    stack.configure()
    stack.up()
    assert stack.outputs()["revision"] == HEAD
    assert "conversations" in tables(stack)


@pytest.mark.full
def test_what_a_preview_showed_is_reported_approved_and_run(stack: Project) -> None:
    stack.configure(taskdb__revision="20250126_002", taskdb__require_approval="true")
    document = stack.folder / "preview.json"
    document.write_text(stack.succeed("preview", "--json").stdout)
    [step] = [step for step in json.loads(document.read_text())["steps"] if step["op"] == "update"]
    digest = step["newState"]["inputs"]["digest"]
    report = stack.run("pulumi-alembic", "report", str(document), "--fail-on", "warning")
    assert report.exit_code == 3
    for part in ("table app.conversations", "DROP TABLE IF EXISTS conversations", digest):
        assert part in report.stdout
    for other in filter(has_engine, ENGINES):
        assert digest in stack.on(other).succeed("preview").text
    refused = stack.pulumi("up", "--yes", "--skip-preview")
    assert refused.exit_code != 0
    assert f"PULUMI_ALEMBIC_APPROVE={digest}" in refused.text
    assert stack.outputs()["revision"] == HEAD
    stack.succeed("up", "--yes", "--skip-preview", PULUMI_ALEMBIC_APPROVE=digest)
    assert stack.outputs()["revision"] == "20250126_002"
    # A later preview does not show applied statements as deleted, because the state keeps no review.
    later = stack.succeed("preview", "--diff", "--show-full-output").text
    assert "DROP TABLE" not in later and "__plan" not in later


@pytest.mark.full
def test_a_stack_without_a_database_previews_all_revisions_from_base(project: Project) -> None:
    shown = project.succeed("preview", "--diff", "--show-full-output").text
    assert f"base → {HEAD}, 3 upgrades" in shown
    for part in ("CREATE TABLE tasks", "ADD COLUMN recurrence_rule", "CREATE TABLE conversations"):
        assert part in shown


@pytest.mark.full
@pytest.mark.parametrize("verb", ["preview", "up"])
def test_a_server_that_is_gone_is_an_error_that_says_what_to_do(stack: Project, verb: str) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = str(unused.getsockname()[1])
        outcome = stack.pulumi(verb, *(["--yes"] if verb == "up" else []), PGPORT=port)
    assert outcome.exit_code != 0
    for part in (f"cannot use the server at 127.0.0.1:{port}", "Is the server running, and is this its address?"):
        assert part in outcome.text
    assert_no_traceback_of_ours(outcome.text)
    stack.succeed("preview", "--expect-no-changes")


@pytest.mark.full
def test_the_report_of_a_preview_is_the_expected_one(stack: Project) -> None:
    """After an intended change, run with REGENERATE=1, then read the difference."""
    stack.configure(taskdb__revision="20250126_001")
    stack.up()
    stack.configure()
    document = stack.folder / "preview.json"
    document.write_text(stack.succeed("preview", "--json").stdout)
    report = stack.run("pulumi-alembic", "report", str(document))
    assert (report.exit_code, report.stderr) == (0, "")
    # The server's port and the stack's name differ in each run, and so does the part of the digest that covers them.
    text = re.sub(r"v2:[0-9a-f]{32}-[0-9a-f]{4}", f"v2:{'0' * 32}-0000", report.stdout)
    # The CLI's warning of a plugin on the PATH is about the machine.
    text = text.partition("\n#### Messages of the preview")[0]
    text = text.replace(f":{stack.environment['PGPORT']}/", ":5432/").replace(stack.stack, "dev")
    if os.environ.get("REGENERATE"):
        REPORT.write_text(text, encoding="utf-8")
    assert text == REPORT.read_text(encoding="utf-8")


@pytest.mark.full
def test_what_was_moved_by_hand_is_pending_until_it_is_moved_back(stack: Project) -> None:
    url = {"DATABASE_URL": stack.outputs()["migrator_url"]}
    assert stack.run("alembic", "downgrade", "-1", **url).exit_code == 0
    assert f"20250126_002 → {HEAD}, 1 upgrade" in stack.succeed("preview").text
    assert stack.pulumi("preview", "--expect-no-changes").exit_code != 0
    assert stack.run("alembic", "upgrade", "head", **url).exit_code == 0
    stack.succeed("preview", "--expect-no-changes")


@pytest.mark.full
def test_a_refresh_reads_the_database_and_the_next_up_heals_it(stack: Project) -> None:
    url = {"DATABASE_URL": stack.outputs()["migrator_url"]}
    assert stack.run("alembic", "downgrade", "-1", **url).exit_code == 0
    assert stack.pulumi("preview", "--refresh", "--expect-no-changes").exit_code != 0
    stack.succeed("refresh", "--yes", "--skip-preview")
    assert stack.resource("Migrations")["outputs"]["revision"] == "20250126_002"
    stack.up()
    assert stack.outputs()["revision"] == HEAD


@pytest.mark.full
def test_a_failing_revision_stops_between_two_and_the_next_up_goes_on(stack: Project) -> None:
    stack.script(4, "op.execute('CREATE TABLE four ()')")
    broken = stack.script(5, "op.execute('CREATE TABLE five ()')\n    op.execute('ALTER TABLE nowhere ADD x int')")
    failed = stack.pulumi("up", "--yes", "--skip-preview")
    assert failed.exit_code != 0
    for part in (
        "20260101_005",
        broken.name,
        "ALTER TABLE nowhere ADD x int",
        "42P01",
        "the database is at 20260101_004",
    ):
        assert part in failed.text
    assert f"{'pulumi' if stack.engine == 'pulumi' else 'pulumi-embedded'} up" in failed.text
    assert_no_traceback_of_ours(failed.text)
    assert "four" in tables(stack) and "five" not in tables(stack)
    assert stack.resource("Migrations")["outputs"]["revision"] == "20260101_004"

    broken.write_text(broken.read_text().replace("ALTER TABLE nowhere ADD x int", "SELECT 1"))
    stack.list_scripts()
    assert "20260101_004 → 20260101_005" in stack.up().text
    assert stack.outputs()["revision"] == "20260101_005"
    stack.succeed("preview", "--refresh", "--expect-no-changes")


@pytest.mark.full
def test_an_edited_applied_script_is_refused_until_it_is_accepted(stack: Project) -> None:
    [script] = (stack.folder / "migrations/versions").glob("20250126_002_*.py")
    script.write_text(script.read_text().replace('"""add recurring', '"""add the recurring'))
    refused = stack.pulumi("preview")
    assert refused.exit_code != 0
    for part in (
        f"{script.name} is applied, and was edited",
        '-"""add recurring tasks',
        "pulumi-alembic accept 20250126_002",
    ):
        assert part in refused.text
    assert "Traceback" not in refused.text
    here = {"PULUMI_STACK": stack.stack}
    assert "wrote migrations/manifest: 3 revisions" in stack.run("pulumi-alembic", "manifest").text
    accepted = stack.run("pulumi-alembic", "accept", "20250126_002", "--reason", "a word in its title", **here)
    assert accepted.stdout == "20250126_002 was accepted as it is now\n"
    stack.succeed("preview", "--expect-no-changes")


@pytest.mark.full
def test_a_manifest_that_does_not_fit_or_is_missing_is_refused(stack: Project) -> None:
    script = stack.script(4, "pass")
    script.write_text(script.read_text().replace("pass", "op.execute('SELECT 1')"))
    refused = stack.pulumi("up", "--yes")
    assert refused.exit_code != 0
    assert f"{script.name} was edited" in refused.text
    assert "If that is meant, update it: pulumi-alembic manifest" in refused.text
    (stack.folder / "migrations/manifest").unlink()
    assert "no migrations/manifest yet" in stack.up().text
    assert stack.outputs()["revision"] == "20260101_004"


@pytest.mark.full
def test_a_first_up_that_fails_half_way_keeps_what_it_made(project: Project) -> None:
    broken = project.script(4, "op.execute('ALTER TABLE nowhere ADD x int')")
    assert project.pulumi("up", "--yes", "--skip-preview").exit_code != 0
    assert project.resource("Migrations")["outputs"]["revision"] == HEAD
    project.remove(broken)
    project.up()
    assert project.outputs()["revision"] == HEAD
    project.succeed("preview", "--refresh", "--expect-no-changes")


@pytest.mark.full
def test_deleting_the_resource_leaves_the_schema(stack: Project) -> None:
    program = stack.folder / "__main__.py"
    url = stack.outputs()["app_url"]
    text = program.read_text()
    start, end = text.index("migrations = Migrations("), text.index('pulumi.export("database"')
    without = [line for line in text[end:].splitlines() if "migrations." not in line]
    program.write_text("\n".join([text[:start], *without]))
    assert "1 deleted" in stack.up().text
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT count(*) FROM conversations").fetchone() == (0,)


def assert_no_traceback_of_ours(text: str) -> None:
    """The CLI shows how it interrupted the program (KeyboardInterrupt). Frames of a provider must not be shown."""
    assert "pulumi_alembic" not in text, text
    assert "sqlalchemy" not in text, text
