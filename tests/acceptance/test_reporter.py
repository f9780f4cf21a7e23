"""The login for reports: created if the stack asks for it, and useless for anything else."""

import json
import shutil
from urllib.parse import urlsplit

import psycopg
import pytest

from tests.acceptance.project import Project
from tests.conftest import PROJECT


def test_a_stack_provisions_a_login_for_reports_and_nothing_differs_afterwards(stack: Project) -> None:
    stack.configure(taskdb__reporter="true")
    stack.up()
    url = stack.outputs()["reporter_url"]
    again = stack.succeed("preview", "--refresh", "--expect-no-changes")
    assert "drift" not in again.text
    with psycopg.connect(url) as session:
        for statement in ("SELECT FROM app.users", "SELECT source FROM migrations.ledger", "CREATE TABLE app.x ()"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege), session.transaction():
                session.execute(statement.encode())
    stack.script(1, "op.execute('ALTER TABLE app.tags ADD COLUMN color text')")
    reported = stack.run("pulumi-alembic", "report", "--database", "--format", "json", DATABASE_URL=url)
    assert reported.exit_code == 0, reported.text
    [plan] = json.loads(reported.stdout)["plans"]
    assert [each["id"] for each in plan["plan"]["revisions"]] == ["20260101_001"]
    stack.succeed("destroy", "--yes", "--skip-preview")


@pytest.mark.full
def test_a_job_without_secrets_rehearses_what_a_deployment_wrote(stack: Project) -> None:
    """The scripts of the workflows run it: the deployment writes the file, and a fork's job has nothing else."""
    urls = stack.outputs()
    (stack.folder / ".local").mkdir(exist_ok=True)
    schema = stack.folder / ".local/schema.json"
    written = stack.run("pulumi-alembic", "schema", "--output", str(schema), DATABASE_URL=urls["migrator_url"])
    assert written.exit_code == 0, written.text
    passwords = [urlsplit(url).password or "" for name, url in urls.items() if name.endswith("_url") and url]
    assert passwords and not any(each in schema.read_text() for each in passwords)
    stack.script(1, "op.execute('ALTER TABLE app.tags ADD COLUMN shade text')", "op.drop_column('tags', 'shade')")
    stack.succeed("destroy", "--yes", "--skip-preview")

    shutil.copytree(PROJECT / ".ci", stack.folder / ".ci", dirs_exist_ok=True)
    nothing = dict.fromkeys(("PGHOST", "PGPORT", "PGUSER", "PGPASSWORD", "PULUMI_CONFIG_PASSPHRASE"), "")
    reported = stack.run(".ci/report-schema", **nothing)
    if "is not installed here" in reported.text or "no pg_dump" in schema.read_text():
        pytest.skip("no programs of this version of PostgreSQL where they are looked for")
    assert reported.exit_code == 0, reported.text
    report = (stack.folder / ".local/report.md").read_text()
    assert report.startswith("<!-- pulumi-alembic-report-staging -->") and "shade" in report
    assert "rehearsed in a scratch database" in report
