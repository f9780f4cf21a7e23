"""The login that reports are made with: provisioned if the stack asks for it, and of no use for anything else."""

import json
import shutil
from urllib.parse import urlsplit

import psycopg
import pytest

from tests.acceptance.conftest import Project
from tests.conftest import PROJECT


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


def test_a_job_without_secrets_rehearses_what_a_deployment_wrote(project: Project) -> None:
    """By the scripts of the workflows: the deployment writes the file, and a fork's job has nothing else."""
    project.up()
    urls = project.outputs()
    (project.folder / ".local").mkdir(exist_ok=True)
    schema = project.folder / ".local/schema.json"
    written = project.run("pulumi-alembic", "schema", "--output", str(schema), DATABASE_URL=urls["migrator_url"])
    assert written.exit_code == 0, written.text
    passwords = [urlsplit(url).password or "" for name, url in urls.items() if name.endswith("_url") and url]
    assert passwords and not any(each in schema.read_text() for each in passwords)
    project.script(1, "op.execute('ALTER TABLE app.tags ADD COLUMN shade text')", "op.drop_column('tags', 'shade')")
    project.succeed("destroy", "--yes")

    shutil.copytree(PROJECT / ".ci", project.folder / ".ci", dirs_exist_ok=True)
    nothing = dict.fromkeys(("PGHOST", "PGPORT", "PGUSER", "PGPASSWORD", "PULUMI_CONFIG_PASSPHRASE"), "")
    reported = project.run(".ci/report-schema", **nothing)
    if "is not installed here" in reported.text or "no pg_dump" in schema.read_text():
        pytest.skip("no programs of this version of PostgreSQL where they are looked for")
    assert reported.exit_code == 0, reported.text
    report = (project.folder / ".local/report.md").read_text()
    assert report.startswith("<!-- pulumi-alembic-report-staging -->") and "shade" in report
    assert "rehearsed on a scratch database" in report
