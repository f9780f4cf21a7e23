"""Drift on a stack: the gate of a nightly job, what it shows, and the ways out of it."""

from __future__ import annotations

import psycopg
import pytest

from taskdb.local import Server
from tests.acceptance.conftest import Project
from tests.conftest import Database

GATE = ("preview", "--refresh", "--expect-no-changes")


@pytest.fixture
def stack(live: Project) -> Project:
    """A stack that is up, and clean."""
    return live


def by_hand(stack: Project, statement: str) -> None:
    """What somebody does to the tables of the stack, as its migrator."""
    with psycopg.connect(stack.outputs()["migrator_url"], autocommit=True) as connection:
        connection.execute(f"SET ROLE {stack.name}_owner; {statement}".encode())


def mend(stack: Project, server: Server) -> str:
    """Run the repairing script in psql, as the admin; return it."""
    url = {"DATABASE_URL": stack.outputs()["migrator_url"]}
    made = stack.run("pulumi-alembic", "drift", "--sql", **url)
    assert made.exit_code == 0, made.text
    with Database(server, stack.name).connect() as admin:
        admin.execute("\n".join(line for line in made.stdout.splitlines() if not line.startswith("\\")).encode())
    return made.stdout


def test_clean_drifted_mended(stack: Project, server: Server) -> None:
    """The gate is open, closed with the diff, and open again."""
    stack.succeed(*GATE)
    fingerprint = stack.outputs()["schema_fingerprint"]
    by_hand(stack, "ALTER TABLE app.tasks ALTER COLUMN title DROP NOT NULL; CREATE INDEX quick ON app.tasks (title)")
    seen = stack.pulumi(*GATE, "--diff")
    assert seen.exit_code != 0
    for line in ("column app.tasks.title", "found:    null allowed", "index app.quick", "DROP INDEX app.quick;"):
        assert line in seen.text
    script = mend(stack, server)
    assert "ALTER TABLE app.tasks ALTER COLUMN title SET NOT NULL;" in script
    stack.succeed(*GATE)
    assert stack.outputs()["schema_fingerprint"] == fingerprint


def test_drift_of_roles_is_drift_too(stack: Project, server: Server) -> None:
    with Database(server, "postgres").connect() as admin:
        admin.execute(f"ALTER ROLE {stack.name}_rw SET work_mem = '1GB'".encode())
    seen = stack.pulumi(*GATE)
    assert seen.exit_code != 0
    assert f"setting work_mem of role {stack.name}_rw" in seen.text
    mend(stack, server)
    stack.succeed(*GATE)


def test_an_update_leaves_drift_alone_and_says_so(stack: Project, server: Server) -> None:
    by_hand(stack, "CREATE TABLE app.scratch (id int)")
    stack.configure(taskdb__revision="20250126_002")
    done = stack.up()
    assert "drift, 1 difference from what the last update left" in done.text
    assert "table app.scratch" in done.text
    stack.configure()
    stack.up()
    assert "table app.scratch" in stack.pulumi(*GATE).text
    by_hand(stack, "DROP TABLE app.scratch")
    stack.succeed(*GATE)


def test_what_is_accepted_is_expected(stack: Project) -> None:
    by_hand(stack, "CREATE INDEX wanted ON app.tasks (title)")
    url = {"DATABASE_URL": stack.outputs()["migrator_url"]}
    assert stack.run("pulumi-alembic", "drift", **url).exit_code == 3
    done = stack.run("pulumi-alembic", "drift", "--accept", "--reason", "the report was slow", **url)
    assert done.exit_code == 0, done.text
    assert "index app.wanted" in done.stdout
    shown = stack.succeed(*GATE).text
    assert "accepted drift on" in shown
    assert "the report was slow" in shown
    assert "the report was slow" in stack.run("pulumi-alembic", "history", **url).stdout
    stack.configure(taskdb__revision="20250126_002")
    stack.up()
    stack.configure()
    stack.up()
    stack.succeed(*GATE)


def test_what_may_differ_is_a_setting(stack: Project) -> None:
    by_hand(stack, "CREATE TABLE app.tmp_import (id int)")
    assert stack.pulumi(*GATE).exit_code != 0
    stack.configure(taskdb__drift_ignore="table app.tmp_*")
    stack.up()
    stack.succeed(*GATE)
    by_hand(stack, "DROP TABLE app.tmp_import")
    stack.configure()
    stack.up()


def test_a_pattern_that_is_none_is_refused(stack: Project) -> None:
    stack.configure(taskdb__drift_ignore="tables app.tmp")
    refused = stack.pulumi("preview")
    stack.configure()
    assert refused.exit_code != 0
    assert "taskdb:drift_ignore has 'tables app.tmp'" in refused.text


def test_a_report_has_a_section_on_drift(stack: Project) -> None:
    by_hand(stack, "ALTER TABLE app.users ADD COLUMN nick text")
    made = stack.pulumi("preview", "--refresh", "--json")
    (stack.folder / "preview.json").write_text(made.stdout)
    report = stack.run("pulumi-alembic", "report", "preview.json").stdout
    by_hand(stack, "ALTER TABLE app.users DROP COLUMN nick")
    assert "#### Drift" in report
    assert "`column app.users.nick`" in report
    assert "ALTER TABLE app.users DROP COLUMN nick;" in report
    stack.succeed(*GATE)
