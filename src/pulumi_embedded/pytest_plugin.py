"""The test bench as a pytest fixture, which pytest finds if the package is installed.

pytest imports this module in every run, so the engine is imported only when a test uses it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pulumi_embedded.testing.bench import Engine

__all__ = ["engine"]


@pytest.fixture
def engine(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    """Return an engine with an empty stack of its own. Resources that a test leaves are not destroyed."""
    from pulumi_embedded.testing.bench import Engine

    return Engine(tmp_path_factory.mktemp("engine"))
