"""After every revision, up and down, the catalog equals the one that the specification's SQL builds by hand."""

from collections.abc import Callable
from itertools import pairwise

import pytest

from taskdb.local.binaries import Binaries
from tests.conftest import Database
from tests.postgres.alembic.catalog import definition
from tests.postgres.alembic.conftest import Target
from tests.postgres.alembic.specification import SPECIFICATION

REVISIONS = list(SPECIFICATION)
HEAD = REVISIONS[-1]


@pytest.fixture
def by_hand(make_database: Callable[[], Database], binaries: Binaries) -> Callable[[str], str]:
    """Return a function that runs SQL in its own database, and returns the definition of the result."""

    def build(statements: str) -> str:
        database = make_database()
        with database.connect() as connection:
            connection.execute("CREATE SCHEMA app")
            connection.execute("SET search_path = app")
            connection.execute(statements)
        return definition(database, binaries)

    return build


@pytest.mark.few("20250126_003")
@pytest.mark.parametrize("revision", REVISIONS)
def test_the_catalog_equals_the_specification(
    target: Target, database: Database, by_hand: Callable[[str], str], binaries: Binaries, revision: str
) -> None:
    expected = by_hand(SPECIFICATION[revision])
    target.migrate(revision)
    assert definition(database, binaries) == expected, "on the way up"
    target.migrate(HEAD)
    target.migrate(revision)
    assert definition(database, binaries) == expected, "on the way down"


@pytest.mark.full
def test_stairway(target: Target, database: Database, binaries: Binaries) -> None:
    """At each revision, up, down and up again give the same catalog."""
    for below, revision in pairwise(REVISIONS):
        before = definition(database, binaries)
        target.migrate(revision)
        after = definition(database, binaries)
        assert after != before
        target.migrate(below)
        assert definition(database, binaries) == before
        target.migrate(revision)
        assert definition(database, binaries) == after


def test_every_object_belongs_to_the_owner(target: Target, database: Database) -> None:
    target.migrate(HEAD)
    owners = target.query(
        "SELECT DISTINCT relowner::regrole::text FROM pg_class "
        "WHERE relnamespace IN ('app'::regnamespace, 'migrations'::regnamespace)"
    )
    assert owners == [(f"{database.name}_owner",)]


def test_the_models_equal_what_the_migrations_build(target: Target) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.runtime.migration import MigrationContext
    from sqlalchemy import create_engine

    from pulumi_alembic.database.connection import open_session
    from taskdb.models import Base

    target.migrate(HEAD)
    engine = create_engine("postgresql+psycopg://", creator=lambda: open_session(target.url))
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_server_default": True})
        assert compare_metadata(context, Base.metadata) == []
    engine.dispose()
