from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from .fake import FakeProvider
from .faulty.bench import Bench, Launcher
from .walks import WalkProvider
from .written import check_states

check_states()


@pytest.fixture(scope="session")
def running_provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeProvider]:
    running = FakeProvider(tmp_path_factory.mktemp("fake"))
    yield running
    running.close()


@pytest.fixture
def provider(running_provider: FakeProvider, monkeypatch: pytest.MonkeyPatch) -> FakeProvider:
    """A provider of the package `fake`, without objects, which is found on the PATH."""
    monkeypatch.setenv("PATH", f"{running_provider.folder}:{os.environ['PATH']}")
    running_provider.reset()
    return running_provider


@pytest.fixture(scope="session")
def launcher() -> Iterator[Launcher]:
    started = Launcher()
    yield started
    started.close()


@pytest.fixture
def bench(made: Bench, tmp_path: Path) -> Bench:
    """A copy of the module's stack `made`, from which its tests start."""
    return made.copy(tmp_path / "bench")


@pytest.fixture(scope="session")
def walk_provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WalkProvider]:
    running = WalkProvider(tmp_path_factory.mktemp("walk"))
    yield running
    running.close()
