"""The embedded engine and the Pulumi CLI walk alike: exit codes, provider calls, states and messages are equal.

The walks on which the two once differed are recorded. If a CLI is on the PATH, it runs them too, so that the recordings
stay true, and the two engines take turns at them. Walks are also drawn at random from the seed `WALKS_SEED` on: a few,
or 500 in `make test-all`. Without a CLI, only the embedded engine runs the few, and its states are checked.
`WALKS=record` records the walks again with the CLI that is on the PATH.
"""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Iterator
from itertools import cycle, pairwise
from pathlib import Path
from typing import Any

import pytest

from pulumi_embedded.deployment import stepping
from pulumi_embedded.model.graph import delete_order
from pulumi_embedded.model.state import ResourceState
from tests.conftest import ALL, NO_CLI

from .walks import Observation, Walk, WalkProvider, differences, walked
from .walks.draw import draw
from .walks.known import GO_ON, KNOWN, read, thing, up

RECORDED = Path(__file__).parent / "walks" / "recorded"
CLI = shutil.which("pulumi")
TURNS = {
    "embedded": ["embedded"],
    "cli": ["cli"],
    "embedded-then-cli": ["embedded", "cli"],
    "cli-then-embedded": ["cli", "embedded"],
}


def recorded(name: str) -> list[Observation]:
    return json.loads((RECORDED / f"{name}.json").read_text())


@pytest.mark.few(
    "two-resources-take-one-alias-embedded",
    "retain-on-delete-of-a-parent-embedded",
    "a-secret-with-a-failing-update-embedded",
    "the-plugin-gives-a-secret-back-plain-cli-then-embedded",
    "an-unknown-diff-deletes-first-embedded",
    "continue-on-error-embedded",
)
@pytest.mark.parametrize("turns", TURNS)
@pytest.mark.parametrize("name", KNOWN)
def test_a_walk_goes_as_on_the_cli(name: str, turns: str, walk_provider: WalkProvider, tmp_path: Path) -> None:
    if turns != "embedded" and CLI is None:
        pytest.skip(NO_CLI)
    found = walked(KNOWN[name], cycle(TURNS[turns]), walk_provider, tmp_path / "project")
    for number, (mine, theirs) in enumerate(zip(found, recorded(name), strict=True)):
        assert not (lines := differences(mine, theirs)), "\n".join([f"step {number}", *lines])


def test_continue_on_error_ends_where_the_cli_waits_for_ever(walk_provider: WalkProvider, tmp_path: Path) -> None:
    """One case is a failed delete of a replacement that deletes first.

    The other is a read that finds half a resource.
    """
    before = up(thing("a"), read("r", "there"), exists=[{"id": "there", "inputs": {"value": 1}}])
    after = up(
        *(read("r", "there"), thing("a", {"fixed": 1}, delete_before_replace=True), thing("b", depends_on=["a"])),
        thing("c"),
        command=GO_ON,
        failures={"Delete": ["a"], "half Read": ["r"]},
    )
    _, step = walked({"steps": [before, after]}, cycle(["embedded"]), walk_provider, tmp_path / "project")
    assert step["exit"] != 0 and "Create c" in step["order"] and "Create b" not in step["order"]
    assert {"a-1", "c-1"} <= {each.get("id") for each in step["state"]}


SEED = int(os.environ.get("WALKS_SEED", "0"))
DRAWS = range(SEED, SEED + int(os.environ.get("WALKS_DRAWS", "500" if ALL else "4")))
# In a race an engine can act either way. A walk is repeated so often before a difference counts as stable.
# The CLI deletes the resources of one round in the order of a Go map, so a failing delete stops any number of others.
ATTEMPTS = 16


@pytest.fixture
def any_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the embedded engine delete the resources of one round in any order too."""

    def shuffled(*arguments: Any) -> list[list[ResourceState]]:
        return [random.sample(batch, len(batch)) for batch in delete_order(*arguments)]

    monkeypatch.setattr(stepping, "delete_order", shuffled)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "project"


@pytest.mark.few(1)
@pytest.mark.usefixtures("any_order")
@pytest.mark.parametrize("seed", DRAWS)
def test_a_random_walk_goes_as_on_the_cli(seed: int, walk_provider: WalkProvider, folder: Path) -> None:
    if CLI is None:
        pytest.skip(NO_CLI)
    walk = draw(seed)

    def gone(turns: str) -> list[Observation]:
        return list(walked(walk, cycle(TURNS[turns]), walk_provider, folder))

    theirs = [gone("cli")]
    begun = {"embedded": gone("embedded")}
    # If the CLI refuses a state with "snapshot integrity failure", neither engine continues from it. The embedded
    # engine refuses earlier if a new resource needs another new one that is excluded.
    broken = ended(theirs[0], "integrity failure")
    refused = ended(begun["embedded"], "excluded and not in the state")
    for steps in (walk["steps"], theirs[0], begun["embedded"]):
        del steps[min(broken, refused) :]
    print(f"seed {seed}: {exercised(theirs[0])}")
    for turns in ("embedded", "embedded-then-cli", "cli-then-embedded"):
        for _ in range(ATTEMPTS):
            mine = begun.pop(turns, None) or gone(turns)
            if any(mine == each for each in theirs):
                break
            theirs.append(gone("cli"))
        else:
            pytest.fail(f"seed {seed}, {turns}\n{told(walk, mine, theirs[-1])}")


def ended(steps: list[Observation], message: str) -> int:
    """Return the number of the first step with the message, or of all steps if none has it."""
    return next((number for number, step in enumerate(steps) if message in "".join(step["said"])), len(steps))


def told(walk: Walk, mine: list[Observation], theirs: list[Observation]) -> str:
    """Return the first step on which two walks differ, and the differences."""
    number = next(number for number, pair in enumerate(zip(mine, theirs, strict=True)) if pair[0] != pair[1])
    lines = differences(mine[number], theirs[number])
    return "\n".join([f"step {number}: {walk['steps'][number]['command']}", *lines])


def exercised(steps: list[Observation]) -> str:
    """Return how many steps of a walk called a provider, changed the state, and failed."""
    calls = sum(bool(step["order"]) for step in steps)
    changes = sum(one["state"] != other["state"] for one, other in pairwise(steps))
    failed = sum(step["exit"] != 0 for step in steps)
    return f"{len(steps)} steps, {calls} with calls, {changes} changed the state, {failed} failed"


@pytest.mark.skipif(CLI is not None, reason="the walks are compared with the CLI's")
@pytest.mark.few(1)
@pytest.mark.parametrize("seed", DRAWS)
def test_a_random_walk_leaves_what_the_provider_has(seed: int, walk_provider: WalkProvider, folder: Path) -> None:
    """No message reports a failure of the engine, and every object in the state was created and not deleted."""
    deleted: set[str] = set()
    for step in walked(draw(seed), cycle(["embedded"]), walk_provider, folder):
        said = "\n".join(step["said"])
        assert "engine failed" not in said and "Traceback" not in said, f"seed {seed}\n{said}"
        deleted |= {id_ for calls in step["calls"].values() for id_ in deletes(calls)}
        held = {each.get("id") for each in step["state"] if not each.get("pendingReplacement")}
        assert not held & deleted, f"seed {seed}: {held & deleted}"


def deletes(calls: list[str]) -> Iterator[str]:
    """Yield the ids of the deleted objects. An object whose delete must fail is deleted later, or never."""
    for call in map(json.loads, calls):
        if call["method"] == "Delete" and not call.get("failed"):
            yield call["id"]


@pytest.mark.parametrize("name", KNOWN if os.environ.get("WALKS") == "record" else [])
def test_record(name: str, walk_provider: WalkProvider, folder: Path) -> None:
    steps = list(walked(KNOWN[name], cycle(["cli"]), walk_provider, folder))
    RECORDED.mkdir(exist_ok=True)
    (RECORDED / f"{name}.json").write_text(json.dumps(steps, indent=1, sort_keys=True) + "\n")
