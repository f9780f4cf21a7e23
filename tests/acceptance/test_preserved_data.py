"""A stack that goes back preserves its rows, and restores them when it goes forward."""

import json
import sys
from pathlib import Path

import psycopg
import pytest

from tests.acceptance.project import Project

MIDDLE, HEAD = "20250126_002", "20250126_003"

ROWS = """
INSERT INTO users (username, email, password_hash) SELECT 'u' || n, 'e' || n, 'h' FROM generate_series(1, 50) n;
INSERT INTO conversations (user_id, title) SELECT id, 'about ' || username FROM users;
INSERT INTO messages (conversation_id, role, content, tool_calls)
SELECT id, 'user', repeat(title, 3), jsonb_build_object('title', title) FROM conversations
"""
DIGEST = """
SELECT (SELECT md5(string_agg(c::text, ' ' ORDER BY id)) FROM app.conversations c),
    (SELECT md5(string_agg(m::text, ' ' ORDER BY id)) FROM app.messages m)
"""


def execute(project: Project, statement: str) -> list[tuple[object, ...]]:
    with psycopg.connect(project.outputs()["app_url"], autocommit=True) as connection:
        done = connection.execute(statement.encode())
        return done.fetchall() if done.description else []


def kept(project: Project) -> list[dict[str, object]]:
    program = str(Path(sys.executable).with_name("pulumi-alembic"))
    done = project.run(program, "kept", "--json", DATABASE_URL=project.outputs()["migrator_url"])
    assert done.exit_code == 0, done.text
    return list(json.loads(done.stdout)["kept"])


@pytest.mark.full
def test_a_pinned_stack_keeps_its_rows_and_has_them_again_at_the_head(stack: Project) -> None:
    execute(stack, ROWS)
    before = execute(stack, DIGEST)
    stack.configure(taskdb__revision=MIDDLE)
    preview = stack.succeed("preview").text
    assert "preserves 50 rows of app.messages: moved, no copy" in preview
    assert "deletes   50 rows" not in preview
    down = stack.up().text
    assert f"{HEAD}: preserved 50 rows of app.conversations" in down
    found = {each["table"]: (each["rows"], each["moved"]) for each in kept(stack)}
    assert found == {"app.conversations": (50, True), "app.messages": (50, True)}
    stack.succeed("preview", "--refresh", "--expect-no-changes")

    stack.configure()
    assert "restores  50 rows of app.messages" in stack.succeed("preview").text
    assert f"{HEAD}: restored 50 rows of app.messages" in stack.up().text
    assert execute(stack, DIGEST) == before
    assert kept(stack) == []


def test_a_stack_that_keeps_nothing_refuses_to_take_rows_away(stack: Project) -> None:
    execute(stack, ROWS)
    before = execute(stack, DIGEST)
    stack.configure(taskdb__revision=MIDDLE, taskdb__keep_data="false")
    refused = stack.pulumi("up", "--yes", "--skip-preview")
    assert refused.exit_code != 0
    assert f"downgrade {HEAD}: 50 rows of app.messages, 50 rows of app.conversations" in refused.text
    assert execute(stack, DIGEST) == before
