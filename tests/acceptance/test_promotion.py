"""A stack applies only revisions that its upstream stack has proven."""

import json
from dataclasses import replace

import pytest

from tests.acceptance.project import ENGINES, Project, initialize


def above(lower: Project) -> Project:
    """Create another stack of the same project that takes its revisions from this one."""
    upper = Project(lower.folder, f"u{lower.stack[1:]}", lower.engine, lower.environment)
    initialize(upper)
    upper.configure(taskdb__promote_from=lower.stack)
    return upper


@pytest.mark.full
def test_what_the_stack_below_has_proven_goes_up_and_the_rest_is_refused(project: Project) -> None:
    project.configure(taskdb__rehearse="true")
    project.up()
    upper = above(project)
    assert "proven by " + project.stack in upper.succeed("preview").text
    upper.up()
    assert upper.outputs()["revision"] == project.outputs()["revision"]

    script = project.script(1, "op.execute('CREATE TABLE app.later (id int)')", "op.execute('DROP TABLE app.later')")
    preview = upper.succeed("preview")
    assert f"error     unproven-revision: the stack {project.stack} has not run it" in preview.text
    refused = upper.pulumi("up", "--yes", "--skip-preview")
    assert refused.exit_code != 0 and "Traceback" not in refused.text
    assert f"{ENGINES[upper.engine]} up --stack {project.stack}" in refused.text
    assert upper.outputs()["revision"] == "20250126_003"

    project.up()
    # A record that no update of the stack wrote is no proof, even if its content is the same.
    kept = project.state.read_text()
    document = json.loads(kept)
    [stack] = [each for each in document["checkpoint"]["latest"]["resources"] if each["type"] == "pulumi:pulumi:Stack"]
    stack["outputs"]["proof"] = project.outputs()["proof"]
    project.state.write_text(json.dumps(document))
    forged = upper.pulumi("up", "--yes", "--skip-preview")
    assert forged.exit_code != 0 and "its output `proof` is not encrypted, so no update of it wrote it" in forged.text
    project.state.write_text(kept)

    upper.up()
    assert upper.outputs()["revision"] == script.name[:12]


def test_a_proof_that_another_passphrase_encrypts_proves_nothing(stack: Project) -> None:
    other = {**stack.environment, "PULUMI_CONFIG_PASSPHRASE": "of the stack above alone"}
    upper = above(replace(stack, environment=other))
    refused = upper.pulumi("up", "--yes", "--skip-preview")
    assert refused.exit_code != 0 and "Traceback" not in refused.text
    assert f"the stack {stack.stack} proves nothing: this stack's passphrase does not open" in refused.text
    assert "revision" not in upper.outputs()


@pytest.mark.full
def test_what_cannot_wait_goes_up_with_its_reason(stack: Project) -> None:
    upper = above(stack)
    reason = {"PULUMI_ALEMBIC_UNPROVEN": "checkout is down, incident 4711"}
    upper.succeed("up", "--yes", "--skip-preview", **reason)
    told = "20250126_003 ran here before the stack"
    assert "(checkout is down, incident 4711)" in upper.succeed("preview").text
    assert told in upper.succeed("preview").text
    history = upper.run("pulumi-alembic", "history", "--json", DATABASE_URL=upper.outputs()["migrator_url"])
    assert "checkout is down, incident 4711" in history.stdout
    assert told in upper.succeed("preview").text


def test_a_lower_stack_that_cannot_be_read_is_named_before_anything_is_made(project: Project) -> None:
    project.configure(taskdb__promote_from="nowhere")
    refused = project.pulumi("up", "--yes", "--skip-preview")
    assert refused.exit_code != 0 and "Traceback" not in refused.text
    assert "taskdb:promote_from is 'nowhere', and that stack cannot be read: unknown stack" in refused.text
    assert f"Bring it up first: {ENGINES[project.engine]} up --stack nowhere; or name another one:" in refused.text
    assert {each["type"] for each in project.resources()} == {"pulumi:pulumi:Stack", "pulumi:providers:pulumi"}


@pytest.mark.full
def test_a_ring_of_stacks_is_refused_before_anything_is_made(project: Project) -> None:
    upper = above(project)
    project.configure(taskdb__promote_from=upper.stack)
    refused = project.pulumi("up", "--yes")
    assert refused.exit_code != 0 and "Traceback" not in refused.text
    assert f"taskdb:promote_from forms a cycle, {project.stack} ← {upper.stack} ← {project.stack}" in refused.text
