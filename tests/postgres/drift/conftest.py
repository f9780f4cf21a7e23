"""A world for each test, or one world for many tests that leave it unchanged."""

import secrets
from collections.abc import Iterator

import psycopg
import pytest

from taskdb.local import Server
from tests.conftest import Database, create_database, drop
from tests.postgres.alembic.conftest import empty_target, make_target, target
from tests.postgres.drift.world import World, make

__all__ = ["empty_target", "make_target", "shared_world", "target", "world", "worlds"]


@pytest.fixture
def world(database: Database) -> World:
    """Create a database that contains an object of every kind."""
    return make(database)


@pytest.fixture(scope="module")
def worlds(admin_session: psycopg.Connection) -> Iterator[list[World]]:
    """The world that the tests of a module share, if it exists."""
    made: list[World] = []
    yield made
    for one in made:
        drop(admin_session, one.database.name)


@pytest.fixture
def shared_world(
    server: Server, admin_session: psycopg.Connection, worlds: list[World], request: pytest.FixtureRequest
) -> Iterator[World]:
    """Yield a world in which the test undoes and verifies its changes.

    After a failure the next test gets another world.
    """
    if not worlds:
        fresh = Database(server, f"test_{secrets.token_hex(6)}")
        create_database(admin_session, fresh.name)
        worlds.append(make(fresh))
    shared, failures = worlds.pop(), request.session.testsfailed
    yield shared
    if request.session.testsfailed == failures:
        worlds.append(shared)
    else:
        drop(admin_session, shared.database.name)
