"""`taskdb status` reads the state that either engine wrote, with one passphrase for each stack."""

import json
import shutil

from tests.acceptance.project import ENGINES, PASSPHRASE, Project


def test_a_stack_is_shown_with_its_database_and_what_its_pin_holds_back(stack: Project) -> None:
    stack.configure(**{"taskdb:revision": "20250126_002"})
    done = stack.run("taskdb", "status", "--json", PULUMI_CONFIG_PASSPHRASE="of another stack")
    assert done.exit_code == 1
    shown = {each["stack"]: each for each in json.loads(done.stdout)["stacks"]}[stack.stack]
    assert [problem["text"] for problem in shown["problems"]] == [
        "no passphrase in the environment is this stack's: only its state is shown"
    ]
    variable = shown["problems"][0]["command"].removeprefix("export ").removesuffix("_FILE=FILE")
    done = stack.run("taskdb", "status", "--json", **{variable: PASSPHRASE})
    assert done.exit_code == 0, done.text
    shown = {each["stack"]: each for each in json.loads(done.stdout)["stacks"]}[stack.stack]
    assert shown["fromDatabase"] and shown["revision"] == "20250126_003"
    assert (shown["pending"], shown["downgrade"], shown["held"], shown["drift"]) == (1, True, 1, 0)
    assert shown["server"] == f"{stack.server.host}:{stack.server.port}/{stack.name}"
    assert shown["lastUpdate"]["result"] == "succeeded"
    for secret in (PASSPHRASE, *(value for name, value in stack.outputs().items() if name.endswith("_url"))):
        assert secret not in done.text


def test_a_backend_that_is_no_folder_is_read_with_the_commands_of_the_engine(stack: Project) -> None:
    of_a_folder = stack.run("taskdb", "status", "--json")
    assert of_a_folder.exit_code == 0, of_a_folder.text
    # An engine that is logged in elsewhere answers from the same states. The test uses only queries that both know.
    engine = shutil.which(ENGINES[stack.engine], path=stack.environment["PATH"])
    elsewhere = stack.folder / "elsewhere"
    elsewhere.mkdir()
    for name in ENGINES.values():
        backend = stack.state.parents[3]
        (elsewhere / name).write_text(f"#!/bin/sh\nPULUMI_BACKEND_URL='file://{backend}' exec '{engine}' \"$@\"\n")
        (elsewhere / name).chmod(0o755)
    path = f"{elsewhere}:{stack.environment['PATH']}"
    asked = stack.run("taskdb", "status", "--json", PULUMI_BACKEND_URL="s3://states", PATH=path)
    assert asked.exit_code == 0, asked.text
    assert json.loads(asked.stdout) == json.loads(of_a_folder.stdout)
    if stack.engine == "embedded":
        refused = stack.run("taskdb", "status", PULUMI_BACKEND_URL="s3://states")
        assert refused.exit_code == 1 and refused.stderr.count("rror: ") == 1 and "stack ls --json" in refused.stderr
