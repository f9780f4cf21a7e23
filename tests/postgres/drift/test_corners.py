"""What is no drift though the catalog has changed, and drift where one thing hangs on another or has an odd name."""

from __future__ import annotations

import pytest

from pulumi_alembic.drift.difference import difference
from pulumi_alembic.drift.psql import psql_script
from pulumi_alembic.drift.telling import told
from tests.postgres.drift.world import World

# What was there before, and what then happens that is no drift; the owner of the objects does both.
QUIET = [
    (
        "CREATE TABLE app.logs (at date PRIMARY KEY) PARTITION BY RANGE (at);"
        "CREATE TABLE app.uses (at date REFERENCES app.logs)",
        "CREATE TABLE app.logs_1 PARTITION OF app.logs FOR VALUES FROM ('2025-01-01') TO ('2026-01-01')",
    ),
    ("", "COMMENT ON TABLE app.events_2025 IS 'the past'; COMMENT ON COLUMN app.events_2025.at IS 'when'"),
    ("", "CREATE STATISTICS app.both ON id, title FROM app.tasks; COMMENT ON STATISTICS app.both IS 'x'"),
    ("", "CREATE TABLE kept.rows_1 (id int); COMMENT ON TABLE kept.rows_1 IS '{}'"),
]

# What was there before, what the owner of the objects does then, and what that is called.
BY_OWNER = [
    ("", "COMMENT ON FUNCTION twice(int) IS 'x'", "comment function app.twice(x integer)"),
    ("COMMENT ON FUNCTION twice(int) IS 'x'", "DROP FUNCTION twice(int)", "function app.twice(x integer)"),
    ("", "COMMENT ON PROCEDURE tidy() IS 'x'", "comment procedure app.tidy()"),
    ("", "COMMENT ON TRIGGER touched ON users IS 'x'", "comment trigger app.users.touched"),
    ("", "COMMENT ON POLICY own_tasks ON tasks IS 'x'", "comment policy app.tasks.own_tasks"),
    ("", "COMMENT ON RULE keep ON base_thing IS 'x'", "comment rule app.base_thing.keep"),
    ("", "COMMENT ON CONSTRAINT name_is_short ON users IS 'x'", "comment constraint app.users.name_is_short"),
    ("", "COMMENT ON CONSTRAINT has_at ON DOMAIN email IS 'x'", "comment constraint app.email.has_at"),
    ("", "COMMENT ON INDEX tasks_due IS 'x'", "comment index app.tasks_due"),
    ("", "COMMENT ON TYPE pair IS 'x'; COMMENT ON COLUMN pair.left_side IS 'y'", "comment column app.pair.left_side"),
    ("", "COMMENT ON COLUMN open_tasks.id IS 'x'", "comment column app.open_tasks.id"),
    ("", "COMMENT ON SCHEMA app IS 'x'", "comment schema app"),
]


@pytest.mark.parametrize(("prepared", "statement"), QUIET, ids=lambda value: value[:60])
def test_it_is_no_drift(world: World, prepared: str, statement: str) -> None:
    world.admin("CREATE SCHEMA kept AUTHORIZATION {owner}")
    world.owner(prepared)
    expected = world.read()
    world.owner(statement)
    assert told(difference(expected, world.read(*expected.roles))) == []


@pytest.mark.parametrize(
    ("prepared", "statement", "name", "who"), [(*each, "owner") for each in BY_OWNER], ids=lambda value: value[:60]
)
def test_it_is_named_and_mended(world: World, prepared: str, statement: str, name: str, who: str) -> None:
    """After the repairing script the fingerprint is the one that it was."""
    do = getattr(world, who)
    do(prepared)
    expected = world.read()
    do(statement)
    found = difference(expected, world.read(*expected.roles))
    assert world.text(name) in [each.name for each in told(found)]
    script = psql_script(found)
    world.admin(script)
    left = difference(expected, world.read(*expected.roles))
    assert (told(left), world.read(*expected.roles).digest) == ([], expected.digest), script
