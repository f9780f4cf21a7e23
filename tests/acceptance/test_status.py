"""`taskdb status` reads what either engine wrote of a stack, with one passphrase for each stack."""

import json

from tests.acceptance.project import PASSPHRASE, Project


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
