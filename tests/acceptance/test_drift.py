"""Drift on a stack: the gate of a nightly job, its output, and the ways to resolve it."""

from __future__ import annotations

import json

import psycopg
import pytest

from tests.acceptance.project import Project
from tests.conftest import Database

GATE = ("preview", "--refresh", "--expect-no-changes")


def by_hand(live: Project, statement: str) -> None:
    """Run a statement that a user runs by hand on the stack's tables, as its migrator."""
    with psycopg.connect(live.outputs()["migrator_url"], autocommit=True) as connection:
        connection.execute(f"SET ROLE {live.name}_owner; {statement}".encode())


def repair(live: Project) -> str:
    """Run the repairing script as psql does, as the admin, and return it."""
    url = {"DATABASE_URL": live.outputs()["migrator_url"]}
    made = live.run("pulumi-alembic", "drift", "--sql", **url)
    assert made.exit_code == 0, made.text
    with Database(live.server, live.name).connect() as admin:
        admin.execute("\n".join(line for line in made.stdout.splitlines() if not line.startswith("\\")).encode())
    return made.stdout


def test_clean_drifted_mended(live: Project) -> None:
    """The gate is open, then closed with the diff, and then open again."""
    live.succeed(*GATE)
    fingerprint = live.outputs()["schema_fingerprint"]
    by_hand(live, "ALTER TABLE app.tasks ALTER COLUMN title DROP NOT NULL; CREATE INDEX quick ON app.tasks (title)")
    seen = live.pulumi(*GATE, "--diff")
    assert seen.exit_code != 0
    for line in ("column app.tasks.title", "found:    null allowed", "index app.quick", "DROP INDEX app.quick;"):
        assert line in seen.text
    script = repair(live)
    assert "ALTER TABLE app.tasks ALTER COLUMN title SET NOT NULL;" in script
    live.succeed(*GATE)
    assert live.outputs()["schema_fingerprint"] == fingerprint


@pytest.mark.full
def test_drift_of_roles_is_drift_too(live: Project) -> None:
    with Database(live.server, "postgres").connect() as admin:
        admin.execute(f"ALTER ROLE {live.name}_rw SET work_mem = '1GB'".encode())
    seen = live.pulumi(*GATE)
    assert seen.exit_code != 0
    assert f"setting work_mem of role {live.name}_rw" in seen.text
    repair(live)
    live.succeed(*GATE)


@pytest.mark.full
def test_an_update_leaves_drift_alone_and_says_so(live: Project) -> None:
    by_hand(live, "CREATE TABLE app.scratch (id int)")
    live.configure(taskdb__revision="20250126_002")
    done = live.up()
    assert "drift, 1 difference from what the last update left" in done.text
    assert "table app.scratch" in done.text
    shown = json.loads(live.run("taskdb", "status", "--json").stdout)["stacks"]
    assert [each["drift"] for each in shown if each["stack"] == live.stack] == [1]
    live.succeed("up", "--yes", "--expect-no-changes")
    live.configure()
    live.up()
    assert "table app.scratch" in live.pulumi(*GATE).text
    by_hand(live, "DROP TABLE app.scratch")
    live.succeed(*GATE)


@pytest.mark.full
def test_what_is_accepted_is_expected(live: Project) -> None:
    by_hand(live, "CREATE INDEX wanted ON app.tasks (title)")
    url = {"DATABASE_URL": live.outputs()["migrator_url"]}
    assert live.run("pulumi-alembic", "drift", **url).exit_code == 3
    done = live.run("pulumi-alembic", "drift", "--accept", "--reason", "the report was slow", **url)
    assert done.exit_code == 0, done.text
    assert "index app.wanted" in done.stdout
    shown = live.succeed(*GATE).text
    assert "accepted drift on" in shown
    assert "the report was slow" in shown
    assert "the report was slow" in live.run("pulumi-alembic", "history", **url).stdout
    live.configure(taskdb__revision="20250126_002")
    live.up()
    live.configure()
    live.up()
    live.succeed(*GATE)


@pytest.mark.full
def test_what_may_differ_is_a_setting(live: Project) -> None:
    by_hand(live, "CREATE TABLE app.tmp_import (id int)")
    assert live.pulumi(*GATE).exit_code != 0
    live.configure(taskdb__drift_ignore="table app.tmp_*")
    live.up()
    live.succeed(*GATE)
    by_hand(live, "DROP TABLE app.tmp_import")
    live.configure()
    live.up()


@pytest.mark.full
def test_a_pattern_that_is_none_is_refused(live: Project) -> None:
    live.configure(taskdb__drift_ignore="tables app.tmp")
    refused = live.pulumi("preview")
    live.configure()
    assert refused.exit_code != 0
    assert "taskdb:drift_ignore has 'tables app.tmp'" in refused.text


@pytest.mark.full
def test_a_report_has_a_section_on_drift(live: Project) -> None:
    by_hand(live, "ALTER TABLE app.users ADD COLUMN nick text")
    made = live.pulumi("preview", "--refresh", "--json")
    (live.folder / "preview.json").write_text(made.stdout)
    report = live.run("pulumi-alembic", "report", "preview.json").stdout
    by_hand(live, "ALTER TABLE app.users DROP COLUMN nick")
    assert "#### Drift" in report
    assert "`column app.users.nick`" in report
    assert "ALTER TABLE app.users DROP COLUMN nick;" in report
    live.succeed(*GATE)
