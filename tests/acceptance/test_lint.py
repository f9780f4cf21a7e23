"""Lint for users: an error stops the update but not the preview, and every command that it names works."""

import re
import shlex

import psycopg
import pytest

from tests.acceptance.project import Project

pytestmark = pytest.mark.full

INDEX = "op.execute('CREATE INDEX big ON users (updated_at)')"
RULE = "require-concurrent-index-creation"


def configure(project: Project, key: str, value: str) -> None:
    assert project.pulumi("config", "set", "--path", f"taskdb:lint.{key}", value).exit_code == 0


def test_a_finding_stops_the_update_until_the_stack_allows_it(live: Project) -> None:
    with psycopg.connect(live.outputs()["migrator_url"]) as connection:
        name = f"taskdb_{live.stack}_owner"
        connection.execute(f"SET ROLE {name}".encode())
        connection.execute(
            "INSERT INTO users (username, email, password_hash) SELECT n, n, n FROM generate_series(1, 50) n"
        )
        connection.execute("ANALYZE users")
    script = live.script(4, INDEX, "op.execute('DROP INDEX big')")
    configure(live, "large_rows", "20")
    preview = live.pulumi("preview")
    assert preview.exit_code == 0
    assert f"error     {RULE}: builds index big on app.users (fewer than 10,000 rows): writers wait" in preview.text
    refused = live.pulumi("up", "--yes")
    assert refused.exit_code != 0 and "Traceback" not in refused.text
    assert "lint found 1 error; nothing was run" in refused.text
    assert "CREATE INDEX CONCURRENTLY big ON users (updated_at)" in refused.text
    assert f"config set --path taskdb:lint.{RULE} warning --stack {live.stack}" in refused.text
    configure(live, RULE, "off")
    assert live.pulumi("up", "--yes").exit_code == 0
    assert live.outputs()["revision"] == script.name[:12]
    live.configure(taskdb__revision="20250126_003")
    live.up()
    live.remove(script)
    live.configure()


def test_production_asks_for_backups_and_can_be_rolled_back(live: Project) -> None:
    risky = "CREATE FUNCTION risky() RETURNS int LANGUAGE sql SECURITY DEFINER AS 'SELECT 1'"
    back = f'op.execute("{risky}"); op.execute("DROP FUNCTION risky()")'
    script = live.script(4, "op.execute('ANALYZE users')", back)
    live.configure(taskdb__production="true", postgresql__sslmode="disable")
    refused = live.pulumi("up", "--yes")
    assert refused.exit_code != 0 and "production-without-backup: this is a production stack" in refused.text
    commands = re.findall(r"^ *(\S+ config set taskdb:backup.*)$", refused.text, re.MULTILINE)
    assert len(commands) >= 2
    for each in dict.fromkeys(commands):
        assert live.run(*shlex.split(each)).exit_code == 0
    live.up()
    assert live.outputs()["revision"] == script.name[:12]
    live.configure(taskdb__production="true", postgresql__sslmode="disable", taskdb__revision="20250126_003")
    preview = live.succeed("preview")
    assert "error     security-definer-search-path" in preview.text and "production-without-backup" not in preview.text
    live.up()
    assert live.outputs()["revision"] == "20250126_003"
    live.remove(script)
    live.configure()


def test_a_rule_that_there_is_not_is_refused_by_its_nearest(project: Project) -> None:
    configure(project, "trunkate", "off")
    refused = project.pulumi("preview")
    assert refused.exit_code != 0 and "Traceback" not in refused.text
    assert "taskdb:lint has no rule 'trunkate'; the nearest: truncate" in refused.text


def test_a_lower_stack_that_there_is_not_is_named(project: Project) -> None:
    project.pulumi("config", "set", "taskdb:promote_from", "nowhere")
    refused = project.pulumi("preview")
    assert refused.exit_code != 0 and "nowhere" in refused.text
