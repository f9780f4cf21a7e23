"""An import that ends after another resource has failed is recorded, and its provider gets no further request."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Iterator

import pulumi
import pytest

from pulumi_embedded.model.events import Event, StepFailed, StepStarted
from pulumi_embedded.testing import Engine

from .walks import WalkProvider
from .walks.program import Thing

pytest_plugins = ["pulumi_embedded.testing"]


@pytest.fixture
def walk(walk_provider: WalkProvider, monkeypatch: pytest.MonkeyPatch) -> Iterator[WalkProvider]:
    monkeypatch.setenv("PATH", f"{walk_provider.folder}:{os.environ['PATH']}")
    walk_provider.ask("reset")
    yield walk_provider
    walk_provider.ask("fail")


def test_a_failure_beside_an_import_is_the_only_one(engine: Engine, walk: WalkProvider) -> None:
    walk.ask("exists", id="wild-1", inputs={"value": 1, "auto": "auto-1"})
    walk.ask("fail", **{"Create": ["a"], "late Read": ["b"]})
    reading = threading.Event()

    def watch(event: Event) -> None:
        if isinstance(event, StepStarted) and event.step.op.imports:
            reading.set()
        if isinstance(event, StepFailed):
            walk.ask("release")

    async def program() -> None:
        Thing("b", {"value": 2}, pulumi.ResourceOptions(import_="wild-1"))
        await asyncio.to_thread(reading.wait, 30)
        Thing("a", {"value": 1}, pulumi.ResourceOptions())

    engine.program, engine.watch = program, watch
    result = engine.up(expect_failure=True)
    assert result.errors == ["told to fail Create", "update failed"]
    asked = [call["method"] for call in walk.ask("take_calls")["calls"] if call["urn"].endswith("::b")]
    assert asked == ["Read"]
    assert result.resource("b").id == "wild-1"
