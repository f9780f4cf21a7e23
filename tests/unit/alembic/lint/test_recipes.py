"""A change that breaks running code is found together with the recipe that writes it for code of both versions."""

from __future__ import annotations

import shlex

import pytest

from pulumi_alembic.commands.new import _RECIPES
from pulumi_alembic.review.lint.recipes import recipe
from pulumi_alembic.sql.effects import after, effects
from pulumi_alembic.sql.parser import parse
from pulumi_alembic.sql.running_code import RunningCode

SCHEMA = after(
    """CREATE TABLE app.users (id int PRIMARY KEY, "The Name" text);
    CREATE TABLE app.tasks (id int PRIMARY KEY, owner int, title varchar(9), due date);
    CREATE VIEW app.open AS SELECT title FROM app.tasks""",
    None,
)


def test_a_value_of_a_type_with_another_name_is_known_to_running_code() -> None:
    catalog = after("CREATE TYPE app.mood AS ENUM ('sad')", None)
    code = RunningCode(catalog)
    for statement in ("ALTER TYPE app.mood RENAME TO feeling", "ALTER TYPE app.feeling RENAME VALUE 'sad' TO 'blue'"):
        for node in parse(statement):
            code.statement(node, (), catalog)
        catalog = after(statement, catalog)
    assert [text for *_, text in code.revision()] == ["renames a value of the type app.feeling"]


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("ALTER TABLE app.tasks DROP COLUMN title", "drop-column app.tasks title"),
        ('ALTER TABLE app.users DROP COLUMN "The Name"', "drop-column app.users 'The Name'"),
        ('ALTER TABLE app.tasks RENAME title TO "To Do"', "rename-column app.tasks title 'To Do'"),
        ("ALTER TABLE app.tasks ALTER due TYPE timestamptz", "change-type app.tasks due timestamptz"),
        ("ALTER TABLE app.tasks ALTER due SET NOT NULL", "set-not-null app.tasks due"),
        ("ALTER TABLE app.tasks ADD rank int NOT NULL", "add-not-null-column app.tasks rank TYPE DEFAULT"),
        ("ALTER TABLE app.tasks ADD CHECK (owner > 0)", "add-check app.tasks NAME 'owner > 0'"),
        (
            "ALTER TABLE app.tasks ADD FOREIGN KEY (owner) REFERENCES app.users",
            "add-foreign-key app.tasks owner OTHER KEY",
        ),
        ("ALTER TABLE app.tasks ADD UNIQUE (owner, title)", "add-unique app.tasks owner,title"),
        ("CREATE UNIQUE INDEX ON app.tasks (title)", "add-unique app.tasks title"),
        ("ALTER TABLE app.tasks RENAME TO jobs", "rename-table app.tasks jobs"),
        ("DROP TABLE app.users", "drop-table app.users"),
        ("CREATE UNIQUE INDEX ON app.tasks (lower(title))", ""),
        ("DROP VIEW app.open", ""),
        ("REVOKE SELECT ON app.tasks FROM app", ""),
    ],
)
def test_the_recipe_is_named_by_what_the_statement_breaks(statement: str, words: str) -> None:
    code = RunningCode(SCHEMA)
    for node in parse(statement):
        code.statement(node, effects(statement, SCHEMA).destroys, SCHEMA)
    [breakage] = code.revision()
    assert recipe(breakage, SCHEMA) == (f"pulumi-alembic new {words}" if words else "")
    if words:
        name, _, *arguments = shlex.split(words)
        assert len(arguments) == len(_RECIPES[name][0])
