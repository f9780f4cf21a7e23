"""The command `pulumi-alembic report`: its sources, its formats and its exit codes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import formats, loaded
from tests.unit.alembic.report.previews import PREVIEWS

COMMAND = Path(sys.executable).with_name("pulumi-alembic")


def run(*arguments: str, given: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    return loaded.run([COMMAND, "report", *arguments], input=given, env={**os.environ, **environment})


def given(name: str) -> str:
    return json.dumps(PREVIEWS[name])


def test_a_file_and_standard_input_are_reported_alike(tmp_path: Path) -> None:
    """A report needs no project, and works if the terminal's encoding has no emoji."""
    file = tmp_path / "preview.json"
    file.write_text(given("3-revisions"))
    from_file = run(str(file), PYTHONIOENCODING="latin-1", PYTHONUTF8="0")
    assert from_file.returncode == 0
    assert from_file.stdout.startswith("<!-- pulumi-alembic-report -->\n")
    assert run(given=given("3-revisions")).stdout == run("-", given=given("3-revisions")).stdout == from_file.stdout


def test_json_and_the_marker_are_asked_for() -> None:
    found = formats.read("report", run("--format", "json", given=given("3-revisions")).stdout)
    assert (found["verdict"]["level"], found["counts"]["revisions"]) == ("warning", 3)
    assert run("--marker", "shop/prod", given=given("1-revision")).stdout.startswith("<!-- shop/prod -->\n")
    assert "--> must be letters" in run("--marker", "a-->", given=given("1-revision")).stderr.replace("'", "")


@pytest.mark.parametrize(
    ("name", "limit", "status"),
    [
        ("1-revision", "warning", 0),
        ("3-revisions", "warning", 3),
        ("3-revisions", "error", 0),
        ("destroyed", "warning", 3),
        ("an-error", "error", 3),
        ("an-error", "", 0),
        ("refused", "error", 3),
    ],
)
def test_the_exit_code_is_that_of_the_verdict_where_it_is_asked_for(name: str, limit: str, status: int) -> None:
    result = run(*(["--fail-on", limit] if limit else []), given=given(name))
    assert (result.returncode, bool(result.stdout)) == (status, True)


@pytest.mark.parametrize(
    ("arguments", "data", "message"),
    [
        ([], "", "error: standard input: this is empty"),
        ([], given("1-revision")[:-40], "error: standard input: this is cut off"),
        (["nowhere.json"], "", "error: cannot read 'nowhere.json': No such file or directory\n"),
        (["/"], "", "error: cannot read '/': Is a directory\n"),
    ],
)
def test_what_cannot_be_reported_is_one_line_and_exit_code_1(arguments: list[str], data: str, message: str) -> None:
    result = run(*arguments, given=data)
    assert (result.returncode, result.stdout, result.stderr.count("\n")) == (1, "", 1)
    assert result.stderr.startswith(message)
