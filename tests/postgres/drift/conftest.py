"""A world for each test."""

from collections.abc import Iterator

import pytest

from tests.conftest import Database
from tests.postgres.alembic.conftest import empty_target, make_database, make_target, target
from tests.postgres.drift.world import World, destroy, make

__all__ = ["empty_target", "make_database", "make_target", "target", "world"]


@pytest.fixture
def world(database: Database) -> Iterator[World]:
    """A database with something of every kind in it."""
    made = make(database)
    yield made
    destroy(made)
