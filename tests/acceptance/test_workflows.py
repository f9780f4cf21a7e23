"""The commands of the GitHub workflows run here, with the same scripts."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.acceptance.project import ENGINES, Outcome, Project
from tests.conftest import PROJECT

GH = """#!/bin/sh
# Stands in for the GitHub CLI: keeps the comments of one pull request as files; a file `theirs-…` is somebody else's.
cd "$(dirname "$0")/comments"
for last; do :; done
case "$*" in
*graphql*viewerDidAuthor*)
    for each in *; do
        jq -n --rawfile body "$each" --arg name "$each" '{databaseId: $name, body: $body,
            viewerDidAuthor: ($name | startswith("theirs-") | not)}'
    done | jq -s '{data: {repository: {pullRequest: {comments: {nodes: .}}}}}' | jq -r "$last" ;;
*PATCH*issues/comments/*) id=${4##*/}; cp "$REPORT" "$id"; echo "edited $id" >>../calls ;;
*POST*) cp "$REPORT" "$(ls | wc -l | tr -d ' ')"; echo "made" >>../calls ;;
esac
"""


def preview(project: Project) -> tuple[Outcome, str]:
    """Run the script of the pull request's check, and return the digest that it hands on."""
    shutil.copytree(PROJECT / ".ci", project.folder / ".ci", dirs_exist_ok=True)
    output = project.folder / "github-output"
    output.write_text("")
    done = project.run(
        ".ci/preview",
        ENGINES[project.engine],
        PULUMI_STACK=project.stack,
        GITHUB_OUTPUT=str(output),
        GITHUB_STEP_SUMMARY=str(project.folder / "summary.md"),
    )
    [line] = output.read_text().splitlines()
    return done, line.removeprefix("digest=")


@pytest.mark.full
def test_the_digest_of_the_preview_is_what_the_deployment_runs(live: Project) -> None:
    live.configure(taskdb__require_approval="true")
    script = live.script(1, "op.execute('CREATE TABLE app.later (id int)')", "op.execute('DROP TABLE app.later')")
    done, digest = preview(live)
    assert done.exit_code == 0 and digest.startswith("v2:")
    report = (live.folder / ".local/report.md").read_text()
    assert report == done.stdout == (live.folder / "summary.md").read_text()
    assert report.startswith(f"<!-- pulumi-alembic-report-{live.stack} -->")
    assert live.pulumi("up", "--yes", "--skip-preview").exit_code != 0
    live.succeed("up", "--yes", "--skip-preview", PULUMI_ALEMBIC_APPROVE=digest)
    assert live.outputs()["revision"] == script.name[:12]
    done, digest = preview(live)
    assert (done.exit_code, digest) == (0, "")


def test_a_check_that_fails_still_writes_its_report(live: Project) -> None:
    script = live.script(2, "op.execute('CREATE EXTENSION nothing')")
    live.configure(taskdb__production="true", postgresql__sslmode="disable")
    done, digest = preview(live)
    live.remove(script)
    live.configure()
    assert done.exit_code == 3 and "irreversible-downgrade" in done.stdout and digest.startswith("v2:")


@pytest.mark.full
def test_a_check_that_cannot_begin_still_writes_its_report(live: Project) -> None:
    live.configure(taskdb__revision="nonsense")
    done, digest = preview(live)
    live.configure()
    assert done.exit_code != 0 and "not 'nonsense'" in done.stdout and digest == ""


@pytest.mark.skipif(not shutil.which("jq"), reason="no jq on the PATH, whose language the GitHub CLI speaks")
def test_one_comment_is_updated_in_place(tmp_path: Path) -> None:
    marker = "<!-- pulumi-alembic-report-dev -->"
    report = tmp_path / ".local/report.md"
    report.parent.mkdir()
    report.write_text(f"{marker}\nof this pull request\n")
    (tmp_path / "comments").mkdir()
    other = f"{marker}\nsomebody else's\n"
    (tmp_path / "comments" / "theirs-0").write_text(other)
    gh = tmp_path / "gh"
    gh.write_text(GH)
    gh.chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "REPORT": str(report)}
    for _ in range(2):
        command = [PROJECT / ".ci/comment", "owner/name", "12"]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "calls").read_text().split("\n")[:2] == ["made", "edited 1"]
    assert (tmp_path / "comments" / "theirs-0").read_text() == other
    assert (tmp_path / "comments" / "1").read_text() == report.read_text()


@pytest.mark.parametrize(
    "arguments", [("owner/name", "1; id"), ("owner/name", ""), ("owner/name/x", "1"), ("$(id)", "1")]
)
def test_a_comment_goes_to_a_pull_request_alone(arguments: tuple[str, str]) -> None:
    done = subprocess.run([PROJECT / ".ci/comment", *arguments], capture_output=True, text=True)
    assert (done.returncode, done.stderr.startswith("error: ")) == (2, True)
