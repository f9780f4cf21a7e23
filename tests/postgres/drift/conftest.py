"""A world for each test."""

from collections.abc import Iterator

import pytest

from tests.conftest import Database
from tests.postgres.drift.world import World, destroy, make


@pytest.fixture
def world(database: Database) -> Iterator[World]:
    """A database with something of every kind in it."""
    made = make(database)
    yield made
    destroy(made)
