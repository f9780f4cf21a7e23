"""What the workflows run on GitHub runs here, by the same scripts."""

import os
import shutil
from pathlib import Path

from tests.acceptance.conftest import ENGINES, Outcome, Project
from tests.conftest import PROJECT

GH = """#!/bin/sh
# Stands in for the GitHub CLI: keeps the comments of one pull request as files.
cd "$(dirname "$0")/comments"
for last; do :; done
case "$*" in
*--paginate*) for each in *; do [ "$(head -1 "$each" 2>/dev/null)" != "$MARKER" ] || echo "$each"; done ;;
*PATCH*issues/comments/*) id=${4##*/}; cp "$REPORT" "$id"; echo "edited $id" >>../calls ;;
*POST*) cp "$REPORT" "$(ls | wc -l | tr -d ' ')"; echo "made" >>../calls ;;
esac
"""


def preview(project: Project) -> tuple[Outcome, str]:
    """The script of the pull request's check, and the digest that it hands on."""
    shutil.copytree(PROJECT / ".ci", project.folder / ".ci", dirs_exist_ok=True)
    output = project.folder / "github-output"
    output.write_text("")
    done = project.run(
        ".ci/preview",
        project.stack,
        ENGINES[project.engine],
        GITHUB_OUTPUT=str(output),
        GITHUB_STEP_SUMMARY=str(project.folder / "summary.md"),
    )
    [line] = output.read_text().splitlines()
    return done, line.removeprefix("digest=")


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


def test_an_objection_and_a_preview_that_fails_end_the_check_and_still_are_a_report(live: Project) -> None:
    script = live.script(2, "op.execute('CREATE EXTENSION nothing')")
    live.configure(taskdb__production="true", postgresql__sslmode="disable")
    done, digest = preview(live)
    assert done.exit_code == 3 and "irreversible-downgrade" in done.stdout and digest.startswith("v2:")
    live.configure(taskdb__revision="nonsense")
    done, digest = preview(live)
    assert done.exit_code != 0 and "taskdb:revision is 'nonsense'" in done.stdout and digest == ""
    live.remove(script)
    live.configure()


def test_one_comment_is_updated_in_place(live: Project, tmp_path: Path) -> None:
    preview(live)
    (tmp_path / "comments").mkdir()
    (tmp_path / "comments" / "0").write_text("somebody else's\n")
    gh = tmp_path / "gh"
    gh.write_text(GH)
    gh.chmod(0o755)
    report = live.folder / ".local/report.md"
    environment = {
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "REPORT": str(report),
        "MARKER": report.read_text().splitlines()[0],
    }
    for _ in range(2):
        done = live.run(".ci/comment", "owner/name", "12", **environment)
        assert done.exit_code == 0, done.text
    assert (tmp_path / "calls").read_text().split("\n")[:2] == ["made", "edited 1"]
    assert (tmp_path / "comments" / "0").read_text() == "somebody else's\n"
    assert (tmp_path / "comments" / "1").read_text() == report.read_text()
