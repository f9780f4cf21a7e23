"""The names that a statement can refer to, and whether it can touch a table that it does not name."""

import pytest

from pulumi_alembic.sql.mentions import mentioned, new_prefixes


@pytest.mark.parametrize(
    ("statement", "names"),
    [
        ("ALTER TABLE app.Tasks ADD x int", {"app", "tasks"}),
        ('ALTER TABLE "Odd ""Name""" ADD x int', {'Odd "Name"'}),
        ("COMMENT ON COLUMN app.tasks.title IS 'of the users'", {"tasks", "users"}),
        ("SELECT nextval('app.\"The Numbers\"')", {"The Numbers"}),
        ("CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT a FROM app.Logs'", {"logs"}),
        ("DROP TRIGGER t ON tasks", {"tasks"}),
        ("SET search_path = tenant_7", {"tenant_7"}),
    ],
)
def test_a_name_is_found_wherever_it_stands(statement: str, names: set[str]) -> None:
    assert names <= (mentioned(statement) or set())


@pytest.mark.parametrize(
    "statement",
    ["DO 'BEGIN END'", "DROP TYPE a", "GRANT ALL ON ALL TABLES IN SCHEMA app TO b", "no SQL", "SELECT 1; CALL f()"],
)
def test_a_statement_that_can_touch_others_mentions_nothing(statement: str) -> None:
    assert mentioned(statement) is None


def test_generated_names_begin_with_that_of_the_table() -> None:
    """PostgreSQL shortens a long name."""
    assert new_prefixes(f"CREATE TABLE tasks (id int); CREATE TABLE {'t' * 60} ()") == {"tasks_", "t" * 28}
