"""A program of Pulumi's Automation API drives the stack, with either engine as its `pulumi`."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.acceptance.project import ENGINES, Project

DRIVER = """
import json, sys
from pulumi import automation

folder, name, root = sys.argv[1:]
command = automation.PulumiCommand(root) if root else automation.PulumiCommand()
workspace = automation.LocalWorkspace(work_dir=folder, pulumi_command=command)
stack = automation.Stack.select(name, workspace)
events = []
seen = {"version": str(command.version)}
stack.set_config("taskdb:protect", automation.ConfigValue("false"))
seen["preview"] = stack.preview().change_summary
up = stack.up(on_event=events.append)
seen["up"] = up.summary.resource_changes
seen["result"] = up.summary.result
seen["kinds"] = [bool(each.summary_event) - bool(each.cancel_event) for each in events[-2:]]
outputs = up.outputs
seen["outputs"] = {key: outputs[key].secret for key in ("database", "revision", "app_url")}
seen["revision"] = outputs["revision"].value
seen["app_url"] = outputs["app_url"].value
seen["refresh"] = stack.refresh().summary.resource_changes
seen["destroy"] = stack.destroy().summary.resource_changes
seen["history"] = [each.kind for each in stack.history()]
print(json.dumps(seen))
"""


@pytest.mark.full
def test_a_program_of_the_automation_api_runs_the_stack(project: Project, tmp_path: Path, resources: int) -> None:
    root = ""
    if project.engine == "embedded":
        root = str(tmp_path)
        (tmp_path / "bin").mkdir()
        (tmp_path / "bin" / "pulumi").symlink_to(Path(sys.executable).with_name(ENGINES["embedded"]))
    done = subprocess.run(
        [sys.executable, "-c", DRIVER, str(project.folder), project.stack, root],
        cwd=project.folder,
        env=project.environment,
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    seen = json.loads(done.stdout.splitlines()[-1])
    if project.engine == "embedded":
        assert seen["version"] == "3.260.0+embedded"
    assert (seen["preview"], seen["up"], seen["result"]) == ({"create": resources}, {"create": resources}, "succeeded")
    assert seen["kinds"] == [1, -1], "the events end with the summary and the end of the stream"
    assert seen["outputs"] == {"database": False, "revision": False, "app_url": True}
    assert seen["revision"] == "20250126_003" and project.name in seen["app_url"]
    assert (seen["refresh"], seen["destroy"]) == ({"same": resources}, {"delete": resources})
    assert seen["history"] == ["destroy", "refresh", "update"]


@pytest.mark.full
def test_a_program_that_is_a_function_is_refused_by_name(project: Project) -> None:
    """The CLI calls the function back, and the embedded engine does not."""
    if project.engine != "embedded":
        pytest.skip("about the embedded engine")
    refused = project.pulumi("up", "--yes", "--skip-preview", "--client=127.0.0.1:1")
    assert refused.exit_code == 1
    assert "the flag --client of `up` is not supported by the embedded engine" in refused.text
