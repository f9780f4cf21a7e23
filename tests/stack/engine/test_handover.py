"""Each engine continues the other's work: the other one sees no change, and reads the other's secrets.

Without a Pulumi CLI on the PATH these tests are skipped.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import NO_CLI

from .replay import Result, Workplace, load, scenarios
from .test_recordings import ELSEWHERE, compare_state, steps_of

pytestmark = pytest.mark.skipif(shutil.which("pulumi") is None, reason=NO_CLI)

GATE = "pulumi preview --refresh --expect-no-changes"
LETTERS = "abcdefghijklmnopqrstuvwxyz"
MARKS = [first + second for first in "wvuk" for second in LETTERS]
SCENARIOS = [name for name in scenarios() if name not in ELSEWHERE]
# Scenarios, or scenario and step, in which a refresh of either engine finds an unwanted change.
NEVER_CLEAN = {
    "aliases 06-without-alias": "the new resource takes the file of the old one, which is deleted after it was made",
    "replace-by-the-plugin": "a role that GrantRole makes a member has roles that its own arguments do not have",
}

Run = Callable[[str], Result]


def _ok(result: Result) -> Result:
    assert result.exit_code == 0, result.stdout + result.stderr
    return result


def _place(scenario: str, server: Any, folder: Path, mark: str) -> Workplace:
    folder.mkdir()
    place = Workplace(folder, scenario, server, mark)
    place.write("__main__.py", load(scenario)["programs"]["program-1.py"])
    return place


@pytest.mark.few("create-cli", "fail-update-embedded")
@pytest.mark.parametrize("first", ["embedded", "cli"])
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_the_engines_take_turns_at_a_stack(scenario: str, first: str, server: Any, tmp_path: Path) -> None:
    """The two engines take turns at the steps of a recording, and each leaves the recorded state.

    After a full update the other engine finds nothing to change.
    """
    mark = MARKS[SCENARIOS.index(scenario) + (len(SCENARIOS) if first == "cli" else 0)]
    here = _place(scenario, server, tmp_path / "project", mark)
    engines: list[Run] = [here.run, here.run_cli] if first == "embedded" else [here.run_cli, here.run]
    turns = cycle(zip(engines, reversed(engines), strict=True))
    _ok(engines[1]("pulumi stack init dev"))
    # One engine saves a plan, and the other one executes it.
    savers = cycle(reversed(engines))
    for step, state in steps_of(here):
        if "--save-plan" in step["command"]:
            _ok(next(savers)(step["command"]))
        if not _changes(step):
            continue
        mine, other = next(turns)
        done = mine(step["command"])
        assert done.exit_code == step["exit_code"], f"{step['name']}\n{done.stdout}{done.stderr}"
        compare_state(here, step, state)
        if _is_full_update(step) and not {scenario, f"{scenario} {step['name']}"} & NEVER_CLEAN.keys():
            gate = other(f"{GATE}{' --stack consumer' if '--stack consumer' in step['command'] else ''}")
            assert gate.exit_code == 0, f"{step['name']}\n{gate.stdout}{gate.stderr}"


def _changes(step: dict[str, Any]) -> bool:
    """Return whether the step is an operation on the stack, and not a query."""
    return step["command"].split()[1] in ("up", "refresh", "destroy")


def _is_full_update(step: dict[str, Any]) -> bool:
    partial = ("--target", "--replace", "--preview-only")
    return (
        step["command"].startswith("pulumi up")
        and step["exit_code"] == 0
        and not any(flag in step["command"] for flag in partial)
    )


def test_a_secret_set_by_one_engine_is_read_by_the_other(server: Any, tmp_path: Path) -> None:
    here = _place("secret-config", server, tmp_path / "project", "wz")
    _ok(here.run("pulumi stack init dev"))
    _ok(here.run("pulumi config set --secret mine of-the-engine"))
    _ok(here.run_cli("pulumi config set --secret theirs of-the-cli"))
    assert _ok(here.run_cli("pulumi config get mine")).stdout.strip() == "of-the-engine"
    assert _ok(here.run("pulumi config get theirs")).stdout.strip() == "of-the-cli"
