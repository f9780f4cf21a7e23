"""The revisions of recipes on each engine: code of both versions runs, then a contract, and back with the rows."""

from __future__ import annotations

import psycopg
import pytest

from tests.acceptance.project import Project

pytestmark = pytest.mark.full

FIRST = "20250126_003"
USER = "INSERT INTO users (username, email, password_hash) VALUES ('ada', 'ada@example.org', '') RETURNING id"

RENAMED = (
    ("rename-column", "tasks", "title", "name"),
    "INSERT INTO tasks (user_id, title) SELECT id, %s FROM users",
    "UPDATE tasks SET title = title || '!' WHERE title = %s",
    "SELECT title FROM tasks ORDER BY 1",
)
TABLE = (
    ("rename-table", "tags", "labels"),
    "INSERT INTO tags (user_id, name) SELECT id, %s FROM users",
    "UPDATE tags SET name = name || '!' WHERE name = %s",
    "SELECT name FROM tags ORDER BY 1",
)


def run(project: Project, statements: list[str], value: str) -> list[str]:
    """Run the statements of one version as the application's login, and return what the last one reads."""
    with psycopg.connect(project.outputs()["app_url"]) as connection:
        for statement in statements[:-1]:
            connection.execute(statement.encode(), [value])
        return [read for (read,) in connection.execute(statements[-1].encode())]


@pytest.mark.parametrize(
    ("words", "statements"), [pytest.param(words, rest, id=words[0]) for words, *rest in (RENAMED, TABLE)]
)
def test_both_versions_run_until_the_contract_and_the_old_one_after_a_rollback(
    stack: Project, words: tuple[str, ...], statements: list[str]
) -> None:
    old = statements
    new = [statement.replace(words[-2], words[-1]) for statement in old]
    with psycopg.connect(stack.outputs()["app_url"]) as connection:
        connection.execute(USER)
    assert run(stack, old, "a") == ["a!"]
    written = stack.run("pulumi-alembic", "new", *words, PULUMI_STACK=stack.stack)
    assert written.exit_code == 0, written.text
    ids = [line.rpartition("/")[2][:12] for line in written.stdout.splitlines() if line.startswith("migrations/")]

    stack.configure(taskdb__contract="hold")
    assert "Code of the previous version runs on this schema: yes" in stack.succeed("preview").text
    stack.up()
    assert stack.outputs()["revision"] == ids[0]
    assert run(stack, new, "b") == ["a!", "b!"]
    assert run(stack, old, "c") == ["a!", "b!", "c!"]
    assert run(stack, new[-1:], "") == ["a!", "b!", "c!"]
    stack.succeed("up", "--yes", "--expect-no-changes")

    stack.succeed("up", "--yes", "--skip-preview", PULUMI_ALEMBIC_CONTRACT="now: no old code runs")
    assert stack.outputs()["revision"] == ids[-1]
    assert run(stack, new, "d") == ["a!", "b!", "c!", "d!"]
    with pytest.raises((psycopg.errors.UndefinedColumn, psycopg.errors.UndefinedTable)):
        run(stack, old, "e")

    stack.configure(taskdb__contract="hold", taskdb__revision=FIRST)
    stack.up()
    assert run(stack, old, "f") == ["a!", "b!", "c!", "d!", "f!"]
    stack.succeed("up", "--yes", "--expect-no-changes")
