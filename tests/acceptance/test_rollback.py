"""Rollbacks by an older commit and by a pinned revision, and their refusal if they would be wrong."""

import re
import subprocess
import sys
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest

from pulumi_alembic.scripts.revision import checksum
from tests.acceptance.project import Outcome, Project
from tests.postgres.alembic.catalog import OBJECTS

# Tests of the migrations alone cover the downgrades and the refusals.
pytestmark = pytest.mark.full

HEAD, NEWER = "20250126_003", "20260101_004"

ROLES = """
SELECT format('role %%s %%s %%s %%s', rolname, rolcanlogin, rolinherit, rolconfig) FROM pg_roles
WHERE rolname LIKE %(name)s
UNION ALL SELECT format('member %%s of %%s', member::regrole, roleid::regrole) FROM pg_auth_members
WHERE member::regrole::text LIKE %(name)s OR roleid::regrole::text LIKE %(name)s
UNION ALL SELECT format('database %%s %%s', datname, datacl) FROM pg_database WHERE datname LIKE %(name)s
ORDER BY 1
"""
RECORD = (
    "SELECT format('head %s', version_num) FROM migrations.alembic_version UNION ALL "
    "SELECT format('%s %s %s', id, direction, revision) FROM migrations.ledger ORDER BY 1"
)


def git(folder: Path, *arguments: str) -> str:
    settings = ["-c", "user.name=x", "-c", "user.email=x@example.org", "-c", "init.defaultBranch=main"]
    return subprocess.run(["git", *settings, *arguments], cwd=folder, check=True, capture_output=True, text=True).stdout


def migrator(stack: Project) -> Any:
    connection = psycopg.connect(stack.outputs()["migrator_url"], autocommit=True)
    connection.execute(f"SET ROLE {stack.name}_owner".encode())
    return connection


def facts(stack: Project) -> list[str]:
    """Return the schema, the revision, the ledger and the roles of a stack's database."""
    with migrator(stack) as connection:
        rows = [connection.execute(OBJECTS), connection.execute(RECORD)]
        rows += [connection.execute(ROLES, {"name": f"{stack.name}%"})]
        return [fact for each in rows for (fact,) in each]


def refused(outcome: Outcome, *parts: str) -> None:
    assert outcome.exit_code != 0, outcome.text
    for part in parts:
        assert part in outcome.text
    assert "Traceback" not in outcome.text


@pytest.fixture
def clones(stack: Project, tmp_path: Path) -> tuple[Project, Project]:
    """Clone two commits of a stack. The stack is at the newer one, and the older one lacks its last script."""
    git(stack.folder, "init")
    (stack.folder / ".gitignore").write_text(".state\n.venv\n")
    git(stack.folder, "add", ".")
    git(stack.folder, "commit", "-m", "older")
    stack.script(4, "op.execute('CREATE TABLE four ()')", "op.execute('DROP TABLE four')")
    git(stack.folder, "add", ".")
    git(stack.folder, "commit", "-m", "newer")
    stack.up()
    git(stack.folder, "clone", "--no-hardlinks", "--single-branch", ".", str(tmp_path / "older"))
    git(tmp_path / "older", "checkout", "main~1")
    (tmp_path / "older" / ".venv").symlink_to(sys.prefix)
    backend = {"PULUMI_BACKEND_URL": f"file://{stack.folder}/.state"}
    return replace(stack, folder=tmp_path / "older", environment=stack.environment | backend), stack


def has_table(stack: Project, name: str) -> bool:
    with migrator(stack) as connection:
        return bool(connection.execute("SELECT to_regclass(%s) IS NOT NULL", [name]).fetchone()[0])


def test_an_older_commit_rolls_the_stack_back_without_newer_scripts(
    clones: tuple[Project, Project],
) -> None:
    older, newer = clones
    assert not list((older.folder / "migrations/versions").glob(f"{NEWER}*"))
    preview = older.succeed("preview", "--diff")
    for part in (
        f"{NEWER} → {HEAD}, 1 downgrade",
        f"downgrade {NEWER} added by a test: 1 statement, from the ledger",
        '"-- from the ledger: the scripts here lack it"',
        '"-- locks app.four: ACCESS EXCLUSIVE"',
        '"-- deletes table app.four"',
        '"DROP TABLE four"',
    ):
        assert part in preview.text
    assert "__applied" not in preview.text
    assert has_table(newer, "app.four"), "a preview changes nothing"
    older.up()
    assert older.outputs()["revision"] == HEAD
    assert not has_table(older, "app.four")
    older.succeed("preview", "--refresh", "--expect-no-changes")

    assert f"{HEAD} → {NEWER}, 1 upgrade" in newer.up().text
    assert has_table(newer, "app.four")
    newer.succeed("refresh", "--yes", "--skip-preview")
    older.up()
    assert older.outputs()["revision"] == HEAD


def test_an_older_commit_that_refuses_names_the_revision(
    clones: tuple[Project, Project],
) -> None:
    older, newer = clones
    older.configure(taskdb__on_unknown_revision="refuse")
    before = facts(newer)
    outcome = older.pulumi("up", "--yes")
    refused(outcome, f"  {NEWER} (applied ", ", alembic 1.", f"git log --all --oneline -- '*{NEWER}*'")
    assert facts(newer) == before
    [command] = re.findall(
        r"allow the rollback in this stack: (\S+) config set (\S+) (\S+) --stack \S+; then: \1 up", outcome.text
    )
    assert command[0] == {"pulumi": "pulumi", "embedded": "pulumi-embedded"}[older.engine]
    older.succeed("config", "set", *command[1:])
    older.up()
    assert older.outputs()["revision"] == HEAD


def test_a_script_that_was_changed_in_the_ledger_is_refused_and_never_runs(
    clones: tuple[Project, Project], tmp_path: Path
) -> None:
    older, newer = clones
    ran = tmp_path / "ran"
    with migrator(newer) as connection:
        [source] = connection.execute("SELECT source FROM migrations.ledger ORDER BY id DESC LIMIT 1").fetchone()
        text = zlib.decompress(source).decode() + f"\nopen({str(ran)!r}, 'w').close()\n"
        connection.execute("ALTER TABLE migrations.ledger DISABLE TRIGGER append_only")
        connection.execute("GRANT ALL ON migrations.ledger TO CURRENT_USER")
        connection.execute(
            "UPDATE migrations.ledger SET source = %s, checksum = %s WHERE revision = %s",
            [zlib.compress(text.encode()), checksum(text), NEWER],
        )
    before = facts(newer)
    for command in (["preview"], ["up", "--yes"], ["up", "--yes", "--skip-preview"]):
        refused(older.pulumi(*command), f"  {NEWER} (applied ", "is not the script that the stack applied")
    assert not ran.exists()
    assert facts(newer) == before


def test_a_pinned_rollback_leaves_other_stacks_as_they_are(
    project: Project, make_project: Callable[[str], Project]
) -> None:
    other = make_project(project.engine)
    project.up()
    other.up()
    before = facts(other)
    assert any(fact.startswith("role ") for fact in before) and any(fact.startswith("column ") for fact in before)
    project.succeed("config", "set", "taskdb:revision", "20250126_002")
    preview = project.succeed("preview", "--diff").text
    for part in ("DROP TABLE IF EXISTS messages", "-- deletes table app.messages"):
        assert part in preview
    assert re.search(r"-- locks [^:\n]*app\.users[^:\n]*: ACCESS EXCLUSIVE", preview), preview
    project.up()
    assert project.outputs()["revision"] == "20250126_002"
    assert facts(other) == before
    other.succeed("preview", "--refresh", "--expect-no-changes")


@pytest.mark.parametrize(
    ("upgrade", "downgrade", "said"),
    [
        (
            "pass",
            "raise NotImplementedError('its rows are gone')",
            "14: raise NotImplementedError('its rows are gone')",
        ),
        ("op.execute('SELECT 1')", "pass", "13: downgrade() does nothing, and upgrade() does something"),
    ],
)
def test_a_target_that_there_is_no_way_to_is_an_error_and_changes_nothing(
    stack: Project, upgrade: str, downgrade: str, said: str
) -> None:
    script = stack.script(4, upgrade, downgrade)
    stack.up()
    before = facts(stack)

    stack.configure(taskdb__revision="20250126_001")
    name = f"migrations/versions/{script.name}:{said}"
    refused(stack.pulumi("up", "--yes"), "cannot be downgraded:", name, "Nothing was run")

    stack.configure(taskdb__revision="20990101_009")
    refused(stack.pulumi("up", "--yes"), "there is no revision '20990101_009' in the scripts")

    branch = stack.folder / "migrations/versions/20260101_005_branch.py"
    branch.write_text(
        f'revision = "20260101_005"\ndown_revision = "{HEAD}"\ndef upgrade(): pass\ndef downgrade(): pass\n'
    )
    (branch.with_name("20260101_006_merge.py")).write_text(
        f'revision = "20260101_006"\ndown_revision = ("{NEWER}", "20260101_005")\n'
        "def upgrade(): pass\ndef downgrade(): pass\n"
    )
    stack.list_scripts()
    stack.configure(taskdb__revision="20260101_005")
    refused(stack.pulumi("up", "--yes"), f"revision 20260101_005 is on another branch than {NEWER}")

    assert facts(stack) == before
    stack.configure()
    stack.up()
    assert stack.outputs()["revision"] == "20260101_006"
