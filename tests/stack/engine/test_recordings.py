"""Every recorded scenario has the same result on the embedded engine as on the Pulumi CLI.

The provider calls are the same for each resource and in the same order. The state contains the same resources, the
output the same lines, and the exit code is the same. `DIFFERENCES` lists each allowed difference with its reason.

If a Pulumi CLI is on the PATH, it runs the same scenarios, so that the recordings stay true. Its calls are not
recorded.
"""

from __future__ import annotations

import json
import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pulumi_embedded.storage.secrets import Crypter
from tests.conftest import NO_CLI

from .replay import (
    RECORDINGS,
    SALT,
    Result,
    Workplace,
    json_differences,
    load,
    opened,
    plain_calls,
    plain_lines,
    scenarios,
    shortened,
)

ENGINES = ["embedded", pytest.param("cli", marks=pytest.mark.skipif(shutil.which("pulumi") is None, reason=NO_CLI))]
MARKS = [first + second for first in "jqxz" for second in "abcdefghijklmnopqrstuvwxyz"]


def _touch(*names: str) -> Callable[[Workplace], None]:
    def act(place: Workplace) -> None:
        (place.folder / "store").mkdir(exist_ok=True)
        for name in names:
            (place.folder / "store" / name).touch()

    return act


def _stack_init(name: str) -> Callable[[Workplace], None]:
    def act(place: Workplace) -> None:
        place.write(f"Pulumi.{name}.yaml", (RECORDINGS / "Pulumi.dev.yaml").read_text())
        place.run(f"pulumi stack init {name}")

    return act


def _forget(*names: str) -> Callable[[Workplace], None]:
    return lambda place: [(place.folder / "store" / name).unlink() for name in names] and None


def _sql(*statements: str) -> Callable[[Workplace], None]:
    return lambda place: place.sql(*statements)


def _store(key: str, value: str) -> Callable[[Workplace], None]:
    return lambda place: (place.folder / "store" / f"{key}.json").write_text(json.dumps(value)) and None


def _all(*acts: Callable[[Workplace], None]) -> Callable[[Workplace], None]:
    return lambda place: [act(place) for act in acts] and None


# Changes around a step, without the engine's knowledge.
BEFORE: dict[tuple[str, str], Callable[[Workplace], None]] = {
    ("destroy-gone", "02-destroy"): _sql("drop role s_app", "drop role s_group"),
    ("fail-create-plugin", "01-failing"): _sql("create role s_taken"),
    ("fail-create-plugin", "02-next"): _sql("drop role s_taken"),
    ("fail-create", "01-failing"): _touch("fail-create"),
    ("fail-create", "02-preview-json"): _forget("fail-create"),
    ("fail-delete", "02-failing"): _touch("fail-delete"),
    ("fail-delete", "03-next"): _forget("fail-delete"),
    ("fail-replace", "02-failing"): _touch("fail-delete"),
    ("fail-replace", "03-next"): _forget("fail-delete"),
    ("fail-update", "02-failing"): _touch("fail-update"),
    ("fail-update", "03-next"): _forget("fail-update"),
    ("get-resource", "01-preview"): _sql("create role s_old login"),
    ("ignore-changes", "04-refresh"): _all(_sql("alter role s_r connection limit 77"), _store("k", "77")),
    ("refresh-drift-up-refresh", "02-up-refresh"): _all(_sql("alter role s_app createdb"), _store("k", "changed")),
    ("refresh-drift", "02-preview-refresh-json"): _all(
        _sql("alter role s_app createdb connection limit 3"), _store("k", "changed")
    ),
    ("secret-config", "04-preview-diff"): lambda place: (
        place.run("pulumi config set --secret password changed") and None
    ),
    ("import", "01-preview"): _sql("create role s_old login connection limit 7"),
    ("import", "06-mismatch"): _sql("create role s_old login connection limit 7"),
    ("stack-reference", "02-preview"): _stack_init("consumer"),
    ("up-json", "03-failing"): _touch("fail-update"),
    ("up-json", "04-refresh"): _forget("fail-update"),
    ("refresh-gone", "02-refresh"): _all(_sql("drop role s_app"), _forget("k.json")),
}


@dataclass(frozen=True)
class Difference:
    """An allowed difference and its reason. `pattern` is searched in printed lines and in resources."""

    scenario: str
    pattern: str
    reason: str


DIFFERENCES = [
    Difference(
        "*", r"error:   sdk-v2/provider2\.go", "a log line of the Go plugin, which then says the same as its error"
    ),
    Difference("create", r"    (Managed by|Last updated:|Pulumi version used:) ", "the machine, the time, the build"),
    Difference("missing-plugin", r"the embedded engine installs no plugins", "says what to do"),
    Difference(
        "duplicate-urn",
        r"Store( resource 'a'|::a| a |\))|\d created",
        "whether the first of the two is created before the second is refused is a race in the CLI",
    ),
    Difference(
        "fail-create-plugin",
        r"Store i |Store::i\"|providers:pulumi-python::default\"|\d (created|unchanged)",
        "whether the independent resource is created before the failure stops everything is a race in the CLI",
    ),
    *(
        Difference(each, r"\d unchanged", "how far the others had come when one failed is a matter of timing")
        for each in ("fail-update", "fail-update-plugin", "fail-replace", "fail-delete")
    ),
    Difference(
        "plan",
        r"\d unchanged| running +(Traceback|<frames>|KeyboardInterrupt|During handling)",
        "the CLI interrupts the program, this engine ends it; how far the others had come is a matter of timing",
    ),
    Difference(
        "fail-update-plugin",
        r"Role x .*\[diff: |Role::x\"",
        "after a failed update the real plugin records what was to be, this project's what the server has",
    ),
    Difference(
        "fail-update-plugin",
        r"must be superuser to alter superuser|permission denied to alter role|Only roles with the SUPERUSER attribute",
        "the words of the server's version",
    ),
    Difference("up-json", r"info#err|KeyboardInterrupt", "the CLI interrupts the program, this engine ends it"),
]
# The real plugin fails again, because of its record. This project's plugin does what the program asks for.
HEALED = {("fail-update-plugin", "03-next")}
# The calls depend on the race.
RACES = {"duplicate-urn", "fail-create-plugin"}
# These end by a signal or begin with a lock. test_interruptions.py runs them.
ELSEWHERE = {"interrupted", "killed", "locked"}


def _allowed(scenario: str, text: str) -> bool:
    return any(each.scenario in ("*", scenario) and re.search(each.pattern, text) for each in DIFFERENCES)


@pytest.mark.few(
    "create-cli",
    "fail-replace-embedded",
    "fail-update-plugin-embedded",
    "import-embedded",
    "refresh-drift-up-refresh-embedded",
    "replace-delete-before-cascade-embedded",
    "up-json-embedded",
)
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("scenario", [name for name in scenarios() if name not in ELSEWHERE])
def test_a_recorded_scenario_runs_as_on_the_cli(scenario: str, engine: str, server: Any, tmp_path: Path) -> None:
    folder = tmp_path / "project"
    folder.mkdir()
    mark = MARKS[scenarios().index(scenario) + (len(scenarios()) if engine == "cli" else 0)]
    place = Workplace(folder, scenario, server, mark)
    run = place.run_cli if engine == "cli" else place.run
    assert run("pulumi stack init dev").exit_code == 0
    for step, state in steps_of(place):
        compare(place, run(step["command"]), step, state)


def steps_of(place: Workplace) -> Iterator[tuple[dict[str, Any], Any]]:
    """Yield each step with the state that it leaves, after writing its program and making the changes before it."""
    recording = load(place.scenario)
    state: Any = None
    for step in recording["steps"]:
        if step["program"]:
            place.write("__main__.py", recording["programs"][step["program"]])
        BEFORE.get((place.scenario, step["name"]), lambda _: None)(place)
        state = step.get("state", state)
        yield step, state


def compare(place: Workplace, result: Result, step: dict[str, Any], state: Any) -> None:
    """Compare everything in the recording of the step."""
    where = f"{place.scenario} {step['name']}"
    out = place.to_recorded(result.stdout).replace("pulumi-embedded", "pulumi")
    err = place.to_recorded(result.stderr)
    if (place.scenario, step["name"]) in HEALED and result.exit_code == 0:
        return
    assert result.exit_code == step["exit_code"], f"{where}\n{out}\n{err}"
    if "stdout" in step:
        compare_lines = _compare_cli_lines if result.calls is None else _compare_lines
        compare_lines(place.scenario, step, out.split("\n"), step["stdout"])
    if "stdout_json" in step:
        found = [each for each in json_differences(out, step["stdout_json"]) if not _allowed(place.scenario, each)]
        assert not found, where
    if result.calls is not None and "calls" in step and place.scenario not in RACES:
        _compare_calls(where, json.loads(place.to_recorded(json.dumps(result.calls))), step)
    compare_state(place, step, state)


def compare_state(place: Workplace, step: dict[str, Any], state: Any) -> None:
    """Compare the state file with the recorded state."""
    stack = "consumer" if "--stack consumer" in step["command"] else "dev"
    assert _resources(place, place.state(stack)) == _resources(place, state), f"{place.scenario} {step['name']}"


def _compare_cli_lines(scenario: str, step: dict[str, Any], mine: list[str], theirs: list[str]) -> None:
    """Compare as for the engine, except for two timing effects of the CLI.

    The first is the number of rows for running steps. The second is the stack's outputs of a refresh, which the CLI
    shows only if it meets the stack first.
    """
    kept = [
        [line for line in plain_lines(_without_outputs(lines)) if not (_allowed(scenario, line) or _UNDER_WAY(line))]
        for lines in (mine, theirs)
    ]
    assert set(kept[0]) == set(kept[1]), f"{scenario} {step['name']}"


_UNDER_WAY = re.compile(r" [a-z]+ing( [a-z]+)* \(<t>\)").search


def _without_outputs(lines: list[str]) -> list[str]:
    kept, within = [], False
    for line in lines:
        within = (within or line == "Outputs:") and line != "Resources:"
        kept += [] if within else [line]
    return kept


def _compare_lines(scenario: str, step: dict[str, Any], mine: list[str], theirs: list[str]) -> None:
    where = f"{scenario} {step['name']}"
    kept = [
        [line for line in shortened(plain_lines(lines), step["command"]) if not _allowed(scenario, line)]
        for lines in (mine, theirs)
    ]
    assert sorted(kept[0]) == sorted(kept[1]), where
    assert _summary(kept[0]) == _summary(kept[1]), where


def _summary(lines: list[str]) -> list[str]:
    """Return the last counts and the duration, whose order is fixed."""
    starts = [number for number, line in enumerate(lines) if line == "Resources:"]
    rest = lines[starts[-1] :] if starts else []
    return rest[: rest.index("Diagnostics:")] if "Diagnostics:" in rest else rest


def _compare_calls(where: str, calls: list[dict[str, Any]], step: dict[str, Any]) -> None:
    mine = plain_calls(calls, configured=step["configured"])
    theirs = plain_calls(step["calls"], configured=step["configured"])
    assert Counter(mine) == Counter(theirs), where
    for urn in {urn for urn, _, _ in theirs}:
        order = [method for each, method, _ in mine if each == urn]
        assert order == [method for each, method, _ in theirs if each == urn], f"{where} {urn}"
    _require_order(where, calls, step)


def _require_order(where: str, calls: list[dict[str, Any]], step: dict[str, Any]) -> None:
    """Assert that a create waits for dependencies, and a delete for dependents."""
    made = {call["request"]["urn"]: call for call in calls if call["method"] in ("Create", "Update")}
    gone = {call["request"]["urn"]: call for call in calls if call["method"] == "Delete"}
    for resource in (step.get("state") or {}).get("resources") or []:
        for needed in resource.get("dependencies", []):
            if resource["urn"] in made and needed in made:
                assert made[needed]["end"] <= made[resource["urn"]]["start"], f"{where} {resource['urn']}"
            if resource["urn"] in gone and needed in gone:
                assert gone[resource["urn"]]["end"] <= gone[needed]["start"], f"{where} {resource['urn']}"


def _resources(place: Workplace, state: Any) -> list[str]:
    crypter = Crypter.open(SALT, "")
    found = []
    for key in ("resources", "pending_operations"):
        documents = opened((state or {}).get(key) or [], crypter)
        texts = sorted(place.to_recorded(json.dumps(each, sort_keys=True)) for each in documents)
        found += [text for text in texts if not _allowed(place.scenario, text)]
    return found
