"""`preview --save-plan` and `up --plan`: the content of a plan, and the refusal of an update that differs from it."""

from __future__ import annotations

import shutil
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import NO_CLI

from .walks import Observation, WalkProvider, walked
from .walks.known import KEEP, PLANNED, SAVE, group, secret, then, thing, up

SAVED = Path(__file__).parents[2] / "fixtures/saved_plans"
CONFIGURED = then("config set --secret walk:token s1")
# The program whose plans are in the fixtures.
PROGRAM = up(*PLANNED, thing("s", {"token": secret("t")}), {"name": "p", "kind": "provider"}, thing("c", provider="p"))


def go(*steps: dict[str, Any], provider: WalkProvider, folder: Path, engine: str = "embedded") -> list[Observation]:
    return list(walked({"steps": list(steps)}, cycle([engine]), provider, folder))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "project"


@pytest.mark.parametrize(
    "engine", ["embedded", pytest.param("cli", marks=pytest.mark.skipif(shutil.which("pulumi") is None, reason=NO_CLI))]
)
@pytest.mark.parametrize("saved", ["cli_3_260_0_new_stack.json", "embedded_2026_11_30_new_stack.json"])
def test_a_plan_that_was_saved_long_ago_is_kept_to(
    saved: str, engine: str, walk_provider: WalkProvider, folder: Path
) -> None:
    files = {"plan.json": (SAVED / saved).read_text()}
    another = up(*PLANNED[:2], thing("b"), command=KEEP)
    steps = [CONFIGURED, {**another, "files": files}, {**PROGRAM, "command": KEEP}]
    _, refused, done = go(*steps, provider=walk_provider, folder=folder, engine=engine)
    assert (refused["exit"], done["exit"]) == (1, 0), refused["said"] + done["said"]
    assert "Create b" not in refused["order"]
    assert {"Create b", "Create c", "Create s"} <= {*done["order"]}


def test_a_plan_is_for_its_owner_only_and_replaces_another_as_a_whole(
    walk_provider: WalkProvider, folder: Path
) -> None:
    old = "x" * 100_000
    preview = {**PROGRAM, "command": SAVE, "files": {"plan.json": old}}
    _, done = go(CONFIGURED, preview, provider=walk_provider, folder=folder)
    assert done["exit"] == 0
    plan = folder / "plan.json"
    assert plan.stat().st_mode & 0o777 == 0o600
    # The plan contains no secret in plain text. A ciphertext can contain any two letters, but no quotation mark.
    assert '"s1"' not in plan.read_text() and '"t"' not in plan.read_text()
    assert not list(folder.glob(".plan*"))


@pytest.mark.parametrize("flags", ["--expect-no-changes", ""])
def test_a_preview_that_fails_saves_no_plan(flags: str, walk_provider: WalkProvider, folder: Path) -> None:
    failures = {} if flags else {"Check": ["a"]}
    (done,) = go(up(thing("a"), command=f"{SAVE} {flags}", failures=failures), provider=walk_provider, folder=folder)
    assert done["exit"] != 0
    assert not (folder / "plan.json").exists()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (None, "the plan 'plan.json' cannot be read: No such file or directory"),
        ("{", "the plan 'plan.json' is damaged, or is no update plan"),
    ],
)
def test_a_plan_that_cannot_be_read_is_refused_before_anything_is_done(
    text: str | None, why: str, walk_provider: WalkProvider, folder: Path
) -> None:
    files = {} if text is None else {"plan.json": text}
    (done,) = go({**up(thing("a"), command=KEEP), "files": files}, provider=walk_provider, folder=folder)
    assert (done["exit"], done["order"], done["state"]) == (1, [], [])
    assert f"error: {why}" in done["said"]


def test_the_preview_of_an_update_is_held_to_the_plan(walk_provider: WalkProvider, folder: Path) -> None:
    _, refused = go(
        up(thing("a"), command=SAVE),
        up(thing("a", {"value": 2}), command="up --yes --parallel 1 --plan plan.json"),
        provider=walk_provider,
        folder=folder,
    )
    assert refused["exit"] == 1
    assert "Create a" not in refused["order"]
    assert "properties changed: ++auto[{auto-1}!={auto-2}], ++value[{1}!={2}]" in "".join(refused["said"])
    assert refused["state"] == []


def test_a_secret_of_a_plan_is_not_shown(walk_provider: WalkProvider, folder: Path) -> None:
    """The Pulumi CLI shows both secrets."""
    _, refused = go(
        up(thing("a", {"token": secret("hush-1")}), command=SAVE),
        up(thing("a", {"token": secret("hush-2")}), command=KEEP),
        provider=walk_provider,
        folder=folder,
    )
    assert "++token[{[secret]}!={[secret]}]" in "".join(refused["said"])
    assert "hush" not in "".join(refused["said"])


def test_the_outputs_of_the_stack_are_as_planned(walk_provider: WalkProvider, folder: Path) -> None:
    """The Pulumi CLI fails without a message."""
    first = {"resources": [thing("a"), group("g")], "exports": {"y": 1}}
    _, refused = go(
        {**up(command=SAVE), "program": first},
        {**up(command=KEEP), "program": {**first, "exports": {"y": 2}}},
        provider=walk_provider,
        folder=folder,
    )
    assert refused["exit"] == 1
    assert " error: resource violates plan: properties changed: ++y[{1}!={2}]" in refused["said"]


def test_an_import_that_is_not_planned_is_not_done(walk_provider: WalkProvider, folder: Path) -> None:
    """The Pulumi CLI imports the resource, and then refuses it."""
    _, refused = go(
        up(thing("a"), command=SAVE),
        up(thing("a", import_="there"), command=KEEP, exists=[{"id": "there", "inputs": {"value": 1}}]),
        provider=walk_provider,
        folder=folder,
    )
    assert refused["exit"] == 1
    assert "importID changed (expected )" in "".join(refused["said"])
    assert "there" not in str(refused["state"])
