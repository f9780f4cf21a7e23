from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from .fake import FakeProvider


@pytest.fixture(scope="session")
def running_provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeProvider]:
    running = FakeProvider(tmp_path_factory.mktemp("fake"))
    yield running
    running.close()


@pytest.fixture
def provider(running_provider: FakeProvider, monkeypatch: pytest.MonkeyPatch) -> FakeProvider:
    """A provider of the package `fake`, which is found on the PATH and has nothing yet."""
    monkeypatch.setenv("PATH", f"{running_provider.folder}:{os.environ['PATH']}")
    running_provider.reset()
    return running_provider
