"""The bench as a pytest fixture; the only module that needs pytest."""

from __future__ import annotations

import pytest

from pulumi_embedded.testing.bench import Engine

__all__ = ["engine"]


@pytest.fixture
def engine(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    """An engine with an empty stack of its own; what the test leaves in the stack is not destroyed."""
    return Engine(tmp_path_factory.mktemp("engine"))
