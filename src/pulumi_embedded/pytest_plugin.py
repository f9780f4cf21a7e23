"""The bench as a pytest fixture, which pytest finds where the package is installed.

pytest imports this module in each run. The engine is imported when a test asks for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pulumi_embedded.testing.bench import Engine

__all__ = ["engine"]


@pytest.fixture
def engine(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    """An engine with an empty stack of its own; what the test leaves in the stack is not destroyed."""
    from pulumi_embedded.testing.bench import Engine

    return Engine(tmp_path_factory.mktemp("engine"))
