"""The output of a command on a pipe fits a screen, and its first or last line is the most important one.

The limits apply to the embedded engine. The Pulumi CLI prints our messages within its own frame.
"""

import re

import psycopg
import pytest

from tests.acceptance.project import Outcome, Project

BROKEN = "op.execute('ALTER TABLE users ADD CHECK (length(email) > 1000)')"
ROW = "INSERT INTO users (email, username, password_hash) VALUES ('a@b.c', 'a', 'a')"


def fits(project: Project, outcome: Outcome, limit: int) -> bool:
    """Return whether the output is within the limit. There is no limit for the CLI."""
    return project.engine == "pulumi" or len(outcome.text.splitlines()) <= limit


@pytest.mark.full
def test_the_first_update_has_at_most_80_lines(project: Project) -> None:
    up = project.succeed("up", "--yes")
    assert fits(project, up, 80), up.text
    assert up.text.count("Digest: ") == 1


def test_an_update_with_nothing_to_do_has_at_most_10_lines(live: Project) -> None:
    up = live.succeed("up", "--yes")
    assert fits(live, up, 10), up.text


def test_a_check_for_drift_prints_the_differences_only(live: Project) -> None:
    check = live.succeed("preview", "--refresh", "--expect-no-changes")
    assert fits(live, check, 5), check.text


@pytest.mark.full
@pytest.mark.usefixtures("processes")
def test_an_update_prints_its_plan_once(stack: Project) -> None:
    """If there is a preview, it prints the plan, and the update does not.

    The update finds the preview by their common parent process.
    """
    script = stack.script(1, "op.execute('CREATE TABLE app.shelves (id int)')", "op.execute('DROP TABLE app.shelves')")
    up = stack.succeed("up", "--yes")
    assert fits(stack, up, 40), up.text
    [digest] = re.findall(r"Digest: (\S+)", up.text)
    assert len(f"      Digest: {digest}") <= 80
    assert f"↑ {script.name[:12]} added by a test (1 statement)" in up.text
    assert f"applied {script.name[:12]}, 1 of 1" in up.text


def test_an_update_without_a_preview_prints_its_plan_and_a_failure_last(stack: Project) -> None:
    stack.script(1, BROKEN, "op.execute('ALTER TABLE users DROP CONSTRAINT users_email_check')")
    with psycopg.connect(stack.outputs()["app_url"]) as connection:
        connection.execute(ROW)
    failed = stack.pulumi("up", "--yes", "--skip-preview")
    assert failed.exit_code != 0
    assert failed.text.count("Digest: ") == 1
    assert failed.text.count("is violated by some row") == 1
    if stack.engine == "embedded":
        assert failed.text.rstrip().endswith(f"pulumi-embedded up --stack {stack.stack}")
        assert "  - " not in failed.text, "no output is shown as deleted"
