"""Edits of a stack without an operation: their changes, and that both engines continue from there.

Their output is in `commands/state.json` and `commands/changes.json`.
"""

from __future__ import annotations

import json
import shutil
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import NO_CLI

from .test_commands import COMMANDS, Answer, Desk

TRANSCRIPT: dict[str, Any] = json.loads((COMMANDS / "state.json").read_text())
THING = "urn:pulumi:dev::rec::pulumi-python:dynamic:Thing"

# The CLI 3.260 wrote this for the program of the transcript.
GRAPH = f"""strict digraph {{
rankdir=LR;
    Resource0 [label="{THING}$pulumi-python:dynamic:Thing::c"];
    Resource0 -> Resource1 [color = "#AA6639"];
    Resource0 -> Resource2 [color = "red"];
    Resource3 [label="{THING}::a"];
    Resource3 -> Resource4 [color = "#AA6639"];
    Resource3 -> Resource1 [color = "red", label = "from"];
    Resource1 [label="{THING}::b"];
    Resource1 -> Resource4 [color = "#AA6639"];
    Resource2 [label="{THING}::d"];
    Resource2 -> Resource4 [color = "#AA6639"];
    Resource5 [label="urn:pulumi:dev::rec::pulumi:providers:pulumi-python::default"];
    Resource4 [label="urn:pulumi:dev::rec::pulumi:pulumi:Stack::rec-dev"];
}}
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    """The deployed stack of the transcript. Its tests change it one after the other."""
    desk = Desk(tmp_path_factory.mktemp("desk"), "embedded", TRANSCRIPT)
    ok(desk, "stack init dev")
    ok(desk, "config set --secret pass hello")
    ok(desk, "up --yes --skip-preview")
    return desk


def run(desk: Desk, command: str, stdin: str = "", **environment: str) -> Answer:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setitem(desk_environment(), name, value)
        return desk.run({"command": f"pulumi {command}", "stdin": stdin})


def desk_environment() -> dict[str, str]:
    from .test_commands import ENVIRONMENT

    return ENVIRONMENT


def ok(desk: Desk, command: str, stdin: str = "", **environment: str) -> str:
    answer = run(desk, command, stdin, **environment)
    assert answer.exit_code == 0, answer.stdout + answer.stderr
    return answer.stdout


def test_a_graph_is_the_clis(made: Desk) -> None:
    ok(made, "stack graph graph.dot --dependency-edge-color red --dot-fragment 'rankdir=LR;'")
    assert (made.folder / "graph.dot").read_text() == GRAPH
    assert (made.folder / "graph.dot").stat().st_mode & 0o777 == 0o600


def test_a_refused_edit_writes_nothing(made: Desk) -> None:
    before = made.state()
    for command in (
        f"state delete --yes {THING}::d {THING}::nothing",
        f"state delete --yes --target-dependents {THING}::b {THING}::a",
        f"state unprotect --yes {THING}::a {THING}::nothing",
        f"state rename --yes {THING}::a b",
    ):
        assert run(made, command).exit_code == 1, command
        assert made.state() == before, command


def test_the_message_for_a_protected_resource_names_a_command_that_helps(made: Desk) -> None:
    refused = run(made, "destroy --yes --skip-preview")
    assert refused.exit_code == 1
    [command] = [line for line in refused.stdout.splitlines() if line.strip().startswith("`pulumi state unprotect")]
    ok(made, command.strip().strip("`").removeprefix("pulumi ") + " --yes")
    assert not any(each.get("protect") for each in resources(made))
    ok(made, "up --yes --skip-preview")
    assert any(each.get("protect") for each in resources(made)), "the program protects it again"


def resources(desk: Desk, stack: str = "dev") -> list[dict[str, Any]]:
    path = desk.folder / f".state/.pulumi/stacks/rec/{stack}.json"
    found: list[dict[str, Any]] = json.loads(path.read_text())["checkpoint"]["latest"]["resources"]
    return found


def test_a_renamed_stack_keeps_its_history_and_loses_its_old_name(made: Desk) -> None:
    root = made.folder / ".state/.pulumi"
    old = sorted(path.name for path in (root / "history/rec/dev").iterdir())
    ok(made, "stack rename other")
    assert ":dev::" not in json.dumps(resources(made, "other")) and "rec-dev" not in json.dumps(
        resources(made, "other")
    )
    new = sorted(path.name for path in (root / "history/rec/other").iterdir())
    assert new == [name.replace("dev-", "other-") for name in old]
    assert not (root / "stacks/rec/dev.json").exists() and (root / "stacks/rec/dev.json.bak").exists()
    assert not (made.folder / "Pulumi.dev.yaml").exists()
    ok(made, "stack rename dev")


def test_only_the_new_passphrase_opens_the_secrets(made: Desk) -> None:
    path = made.folder / "Pulumi.dev.yaml"
    path.write_text("# a comment\n" + path.read_text())
    old = path.read_text()
    ok(made, "stack change-secrets-provider passphrase", "correct horse\n")
    assert path.read_text().startswith("# a comment\n") and path.read_text() != old
    for command in ("config get pass", "stack output --show-secrets"):
        assert run(made, command).stderr.startswith("error: incorrect passphrase"), command
    known = {"PULUMI_CONFIG_PASSPHRASE": "correct horse"}
    assert ok(made, "config get pass", **known) == "hello\n"
    assert "s3" in ok(made, "stack output --show-secrets", **known)
    ok(made, "preview --expect-no-changes", **known)
    ok(made, "stack change-secrets-provider passphrase", "\n", **known)
    assert ok(made, "config get pass") == "hello\n"


def test_without_a_new_passphrase_nothing_is_changed(made: Desk) -> None:
    """The CLI would use an empty passphrase."""
    before = made.state(), (made.folder / "Pulumi.dev.yaml").read_text()
    refused = run(made, "stack change-secrets-provider passphrase")
    assert refused.exit_code == 1 and "there is no new passphrase on standard input" in refused.stderr
    assert (made.state(), (made.folder / "Pulumi.dev.yaml").read_text()) == before
    refused = run(made, "stack change-secrets-provider awskms://alias/x", "new\n")
    assert "the secrets provider 'awskms://alias/x' is not supported by the embedded engine" in refused.stderr


def test_what_is_said_about_the_engine_needs_no_passphrase(made: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PULUMI_CONFIG_PASSPHRASE_FILE", "/nowhere")
    monkeypatch.delitem(desk_environment(), "PULUMI_CONFIG_PASSPHRASE")
    monkeypatch.delenv("PULUMI_CONFIG_PASSPHRASE", raising=False)
    about = json.loads(ok(made, "about --json"))
    assert about["cliAbout"]["version"] == "v3.260.0+embedded"
    assert about["currentStack"]["fullyQualifiedName"] == "organization/rec/dev"
    assert {each["urn"] for each in about["currentStack"]["resources"]} == {each["urn"] for each in resources(made)}
    assert (about["errors"], about["runtime"]["language"]) == ([], "python")
    shown = ok(made, "about")
    assert "Current Stack: organization/rec/dev" in shown and "Found no pending operations associated with dev" in shown
    assert json.loads(ok(made, "whoami --json"))["url"] == "file://./.state"
    assert ok(made, "plugin ls").splitlines()[-1] == "TOTAL plugin cache size: 0 B"


def test_about_says_what_it_could_not_find_out(tmp_path: Path) -> None:
    desk = Desk(tmp_path, "embedded", {"files": {}})
    answer = run(desk, "about")
    assert answer.exit_code == 0
    assert "warning: no Pulumi.yaml project file found" in answer.stderr


@pytest.mark.skipif(shutil.which("pulumi") is None, reason=NO_CLI)
@pytest.mark.parametrize("first", ["embedded", "cli"])
def test_the_engines_take_turns_at_edits_of_the_state(first: str, tmp_path: Path) -> None:
    """After each edit the other engine finds nothing to change."""
    desk = Desk(tmp_path, "cli", TRANSCRIPT)
    turns = cycle(["embedded", "cli"] if first == "embedded" else ["cli", "embedded"])
    program = TRANSCRIPT["files"]["__main__.py"]

    def turn(
        command: str, stdin: str = "", check: str = "preview --refresh=false --expect-no-changes", **known: str
    ) -> None:
        desk.engine = next(turns)
        ok(desk, command, stdin)
        other = "cli" if desk.engine == "embedded" else "embedded"
        mine, desk.engine = desk.engine, other
        if check:
            ok(desk, check, **known)
        desk.engine = mine

    turn("stack init dev", check="")
    turn("up --yes --skip-preview")
    desk.put({"__main__.py": program.replace('Thing("b"', 'Thing("b2"')})
    turn(f"state rename --yes {THING}::b b2")
    desk.put({"__main__.py": program.replace('Thing("b"', 'Thing("b2"').split("d = Thing")[0]})
    turn(f"state delete --yes {THING}::d", check="")
    turn(f"state unprotect --yes {THING}::a", check="")
    turn("config set --secret pass hello", check="config get pass")
    turn("stack rename new", check="config get pass")
    turn("stack change-secrets-provider passphrase", "x\n", "config get pass", PULUMI_CONFIG_PASSPHRASE="x")
