"""A preview rehearses if the stack says so, and leaves the server unchanged."""

from __future__ import annotations

from typing import Any

import pytest

from pulumi_alembic.database.pg_programs import find_client
from tests.acceptance.project import Project

DATABASES = "SELECT datname FROM pg_database WHERE starts_with(datname, %s) OR starts_with(datname, %s)"


@pytest.mark.full
def test_a_preview_shows_what_it_rehearsed(project: Project, admin: Any) -> None:
    """On the development server this is the default. The server of the tests is another one."""
    if find_client(admin.info.server_version // 10000) is None:
        pytest.skip("no pg_dump for this server")
    project.configure(taskdb__revision="20250126_002")
    project.up()
    project.configure(taskdb__rehearse="true")
    named = [project.name, f"rehearsal_{project.name}"]
    before = admin.execute(DATABASES, named).fetchall()
    shown = project.succeed("preview").text
    assert "Rehearsed in a scratch database" in shown
    assert "migrations.alembic_version" not in shown
    assert "the downgrade restores the same schema" in shown
    assert admin.execute(DATABASES, named).fetchall() == before
    project.configure(taskdb__rehearse="false")
    assert "Static analysis, not rehearsed" in project.succeed("preview").text
    project.configure(taskdb__rehearse="perhaps")
    assert "taskdb:rehearse must be true or false, not 'perhaps'" in project.pulumi("preview").text
    project.configure(taskdb__rehearse="true")
    assert "20250126_003" in project.up().text
    [schema] = [each for each in project.resources() if each["urn"].endswith("::schema")]
    assert "__rehearse_with" not in {**schema["inputs"], **schema["outputs"]}
