"""The login that reports are made with: provisioned if the stack asks for it, and of no use for anything else."""

import json

import psycopg
import pytest

from tests.acceptance.conftest import Project


def test_a_stack_provisions_a_login_for_reports_and_nothing_differs_afterwards(project: Project) -> None:
    project.configure(taskdb__reporter="true")
    project.up()
    url = project.outputs()["reporter_url"]
    again = project.succeed("preview", "--refresh", "--expect-no-changes")
    assert "drift" not in again.text
    with psycopg.connect(url) as session:
        for statement in ("SELECT FROM app.users", "SELECT source FROM migrations.ledger", "CREATE TABLE app.x ()"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege), session.transaction():
                session.execute(statement.encode())
    project.script(1, "op.execute('ALTER TABLE app.tags ADD COLUMN color text')")
    reported = project.run("pulumi-alembic", "report", "--database", "--format", "json", DATABASE_URL=url)
    assert reported.exit_code == 0, reported.text
    [plan] = json.loads(reported.stdout)["plans"]
    assert [each["id"] for each in plan["plan"]["revisions"]] == ["20260101_001"]
    project.succeed("destroy", "--yes")
