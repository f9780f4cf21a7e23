"""SIGKILL of the engine, of the plugin and of both, at every boundary between provider call and state write.

After each kill the state file parses. Each thing in the state is true or pending. Each existing thing is in the state,
or a pending operation names it. No process is left. The next operation reports the interrupted operations, and brings
everything to what the program wants.

The tests run a draw of the boundaries, and `make test-all` runs all of them.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ALL

from .faulty.bench import URN, Bench, Ended, Launcher, Things

DRAWN = 2
FLAGS = "--yes --skip-preview --parallel 1"
ACTING = ("Create", "Update", "Delete", "Read")
WHOM = ("kill engine", "kill plugin", "kill both")


@dataclass(frozen=True)
class Scenario:
    """An operation on a stack.

    It has the existing things, the wanted things, and the calls and writes of an undisturbed run.
    """

    before: Things
    after: Things
    calls: str
    writes: int
    command: str = "up"
    drift: dict[str, dict[str, Any] | None] = field(default_factory=dict)


def thing(value: str, kind: str = "x", **more: Any) -> dict[str, Any]:
    return {"value": value, "kind": kind, **more}


PAIR = {"a": thing("1"), "b": thing("1", of="a")}
SCENARIOS = {
    "create": Scenario({}, PAIR, "Check Create Check Create", 9),
    "update": Scenario(PAIR, {"a": thing("2"), "b": thing("2", of="a")}, "Check Diff Update Check Diff Update", 5),
    "delete": Scenario(PAIR, {}, "Delete Delete", 7),
    "destroy": Scenario(PAIR, {}, "Delete Delete", 8, "destroy"),
    "replace": Scenario(
        {"a": thing("1"), "b": thing("1", after=["a"])},
        {"a": thing("1", "y"), "b": thing("1", after=["a"])},
        "Check Diff Check Create Check Diff Delete",
        5,
    ),
    "replace by deleting first": Scenario(
        {"a": thing("1", exclusive=True), "b": thing("1", of="a")},
        {"a": thing("1", "y", exclusive=True), "b": thing("1", of="a")},
        "Check Diff Check Diff Delete Delete Create Check Create",
        9,
    ),
    "read": Scenario({}, {"r": {"read": "there"}, "a": thing("1", after=["r"])}, "Read Check Create", 9),
    "refresh": Scenario(PAIR, PAIR, "Read Diff Read", 1, "refresh", {"a": thing("drifted"), "b": None}),
}


@dataclass(frozen=True)
class Kill:
    """One boundary of one scenario, and the process that is killed there."""

    scenario: str
    plan: dict[str, Any] = field(default_factory=dict)
    fault: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        where = {**self.plan, **self.fault}
        return "-".join([self.scenario, *(str(each) for each in where.values())]).replace(" ", "_")

    @property
    def of_engine(self) -> bool:
        return "plugin" not in {**self.plan, **self.fault}["does"]


def kills() -> Iterator[Kill]:
    """Yield every boundary of every scenario."""
    for name, scenario in SCENARIOS.items():
        calls = ["Configure", *scenario.calls.split()]
        for index, method in enumerate(calls):
            number = calls[: index + 1].count(method)
            for moment in ("before", "acted") if method in ACTING else ("before",):
                for does in WHOM:
                    yield Kill(name, {"method": method, "number": number, "moment": moment, "does": does})
        for write in range(1, scenario.writes + 1):
            for point in ("before", "backed up", "written", "renamed", "after"):
                for does in WHOM if point == "after" else WHOM[:1]:
                    yield Kill(name, fault={"write": write, "point": point, "does": does})


def drawn() -> list[Kill]:
    everything = list(kills())
    return everything if ALL else random.Random(4).sample(everything, DRAWN)


@pytest.fixture(scope="session")
def prepared(launcher: Launcher, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Bench]:
    """Return a function that gives a bench before each scenario, created once for each."""
    made: dict[str, Bench] = {}

    def prepare(name: str) -> Bench:
        scenario = SCENARIOS[name]
        bench = Bench.new(tmp_path_factory.mktemp("scenario") / "bench", launcher)
        bench.exists("there", "read from elsewhere", {"value": "there"})
        if scenario.before:
            bench.declare(scenario.before)
            done = bench.run(f"up {FLAGS}")
            assert done.code == 0, done.output
        bench.declare(scenario.after)
        for id_, found in bench.things().items():
            drift = scenario.drift.get(found["urn"].removeprefix(URN), found["inputs"])
            bench.exists(id_, found["urn"], drift)
        return bench

    def prepared(name: str) -> Bench:
        if name not in made:
            made[name] = prepare(name)
        return made[name]

    return prepared


@pytest.mark.parametrize("name", SCENARIOS if ALL else ["replace"])
def test_the_boundaries_of_a_scenario_are_those_that_it_has(name: str, prepared: Any, tmp_path: Path) -> None:
    bench, scenario = prepared(name).copy(tmp_path / "bench"), SCENARIOS[name]
    done = bench.run(f"{scenario.command} {FLAGS}")
    assert done.code == 0, done.output
    assert bench.calls() == ["Handshake", "Configure", *scenario.calls.split()]
    assert bench.writes() == scenario.writes


@pytest.mark.parametrize("kill", drawn(), ids=str)
def test_whoever_is_killed_wherever_nothing_is_lost_or_doubled_silently(
    kill: Kill, prepared: Any, tmp_path: Path
) -> None:
    bench, scenario = prepared(kill.scenario).copy(tmp_path / "bench"), SCENARIOS[kill.scenario]
    old = {each["id"]: each for each in bench.resources()}
    killed = bench.run(f"{scenario.command} {FLAGS}", plan=kill.plan, fault=kill.fault)
    if kill.of_engine:
        assert killed.code == -9, killed.output
    else:
        # Nothing failed if the plugin had not begun, or had nothing more to do.
        assert killed.code == 1 or (kill.fault and killed.code == 0), killed.output
    assert not bench.survivors()
    assert "Traceback" not in killed.output
    pending = says_only_what_is_so(bench, scenario, old)
    goes_on(bench, scenario, pending)


def says_only_what_is_so(bench: Bench, scenario: Scenario, old: dict[str, Any]) -> dict[str, str]:
    """Check the state against the store, and return the pending operations."""
    backup = bench.state_file.with_name("dev.json.bak")
    assert isinstance(json.loads(backup.read_text()), dict)
    pending, things = bench.pending(), bench.things()
    if not scenario.drift:
        for each in bench.resources():
            if each["urn"] not in pending:
                assert_so(each, things)
        known = {each["id"] for each in bench.resources()}
        for id_, found in things.items():
            assert id_ in known or found["urn"] in pending or not found["urn"].startswith(URN), (id_, found, pending)
    else:
        # A refresh changes only the state: the state is the old one, or contains the findings.
        for each in bench.resources():
            if each["outputs"] != old[each["id"]]["outputs"]:
                assert_so(each, things)
        assert not set(things) & set(old) - {each["id"] for each in bench.resources()}
    return pending


def assert_so(resource: dict[str, Any], things: dict[str, Any]) -> None:
    if resource.get("pendingReplacement"):
        assert resource["id"] not in things, resource
        return
    inputs = {key: value for key, value in resource["outputs"].items() if key != "serial"}
    assert things[resource["id"]]["inputs"] == inputs, (resource, things)


def goes_on(bench: Bench, scenario: Scenario, pending: dict[str, str]) -> None:
    """Repeat the operation: it reports the interrupted steps and succeeds. A refresh settles the rest."""
    left = bench.locks
    again = bench.run(f"{scenario.command} {FLAGS}")
    assert again.code == 0, again.output
    assert ("warning: takes over the stack from pid" in again.output) == bool(left)
    assert not bench.locks
    if scenario.command != "refresh":
        warns_of(pending, again)
    doubtful = {urn for urn, kind in pending.items() if kind == "creating"}
    assert set(bench.pending()) <= doubtful
    settled = bench.run(f"refresh {FLAGS} --clear-pending-creates --expect-no-changes")
    assert settled.code == 0, settled.output
    assert not bench.pending()
    things = bench.things()
    for each in bench.resources():
        assert not each.get("delete") and not each.get("pendingReplacement"), each
        assert_so(each, things)
    for id_ in {each["id"] for each in bench.resources()}:
        del things[id_]
    # An interrupted create can have left a thing without a record. The engine has named it.
    assert {each["urn"] for each in things.values() if each["urn"].startswith(URN)} <= doubtful
    assert wanted(bench) == wanted_by(scenario)


def warns_of(pending: dict[str, str], done: Ended) -> None:
    for urn, kind in pending.items():
        assert f"{urn}, interrupted while {kind}" in done.output
    assert ("pulumi-embedded refresh" in done.output) == bool(pending)


def wanted(bench: Bench) -> dict[str, str]:
    return {each["urn"].removeprefix(URN): each["outputs"]["value"] for each in bench.resources()}


def wanted_by(scenario: Scenario) -> dict[str, str]:
    things = {} if scenario.command == "destroy" else scenario.after
    drifted = {**things, **scenario.drift}
    values = {name: each for name, each in drifted.items() if each is not None}
    return {name: each["value"] if "value" in each else each["read"] for name, each in values.items()}
