"""A stack with backups gets one before a revision runs, and one command restores it."""

import json
import sys
from pathlib import Path

import psycopg
import pytest

from tests.acceptance.project import Project


def alembic(project: Project, *arguments: str) -> str:
    program = str(Path(sys.executable).with_name("pulumi-alembic"))
    done = project.run(program, *arguments, DATABASE_URL=project.outputs()["migrator_url"])
    assert done.exit_code == 0, done.text
    return done.stdout


@pytest.mark.full
def test_up_prints_the_backup_it_made_and_restore_brings_it_back(project: Project) -> None:
    settings = {"taskdb__backup": "always", "taskdb__backup_folder": "backups"}
    project.configure(taskdb__revision="20250126_002", **settings)
    assert "no backup: there is nothing in the database yet" in project.up().text
    project.configure(**settings)
    assert "Backup first, into backups: always" in project.succeed("preview").text
    printed = project.up().text
    [backup] = json.loads(alembic(project, "backups", "--json", "--verify"))["backups"]
    assert (
        f"backup {backup['id']} at 20250126_002: " in printed
        and backup["state"] == "verified"
        and backup["heads"] == ["20250126_002"]
    )
    grants = privileges(project)
    restored = alembic(project, "restore", backup["id"], "--yes")
    assert restored.startswith(f"restored {backup['id']}: database {project.name} is at 20250126_002, as on ")
    newest, applied, *_ = json.loads(alembic(project, "history", "--json"))["records"]
    assert (newest["what"], applied["backup"], applied["stack"]) == (
        "restore to 20250126_002",
        backup["id"],
        project.stack,
    )
    # The last reading in the state differs, so the next update upgrades again, with the grants of the first.
    project.up()
    assert project.outputs()["revision"] == "20250126_003"
    assert privileges(project) == grants
    project.succeed("destroy", "--yes", "--skip-preview")


def privileges(project: Project) -> list[object]:
    with psycopg.connect(project.outputs()["migrator_url"]) as connection:
        return connection.execute(
            "SELECT c.oid::regclass::text, a::text FROM pg_class c, unnest(relacl) a "
            "WHERE relnamespace = 'app'::regnamespace ORDER BY 1, 2"
        ).fetchall()
