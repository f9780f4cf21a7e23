"""`pulumi-alembic` does what a stack's update does, for a database without a stack."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import formats, loaded
from tests.postgres.alembic.conftest import Target

ONE, TWO, THREE, FOUR = "20250101_001", "20250102_002", "20250103_003", "20250104_004"

LOADED = """
import sys
from pulumi_alembic.commands import cli
sys.argv = ["pulumi-alembic", "upgrade"]
assert cli._run() == 0
unneeded = ("alembic", "sqlalchemy", "pulumi", "pulumi_alembic.drift", "pulumi_alembic.backups")
print([name for name in unneeded if name in sys.modules])
"""


@pytest.fixture
def two(empty_target: Target) -> Target:
    """Write two scripts in their own project, none applied."""
    for id, down, table in ((ONE, None, "one"), (TWO, ONE, "two")):
        empty_target.write(id, down, f"op.execute('CREATE TABLE {table} ()')", f"op.execute('DROP TABLE {table}')")
    (empty_target.directory.parent / "pyproject.toml").write_text(
        '[tool.alembic]\nscript_location = "%(here)s/migrations"\n'
    )
    return empty_target


def run(target: Target, *arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return loaded.run(
        [Path(sys.executable).with_name("pulumi-alembic"), *arguments],
        cwd=target.directory.parent,
        env={**os.environ, "DATABASE_URL": target.url, **environment},
    )


def test_plan_shows_and_upgrade_runs(two: Target) -> None:
    planned = run(two, "plan")
    assert planned.stdout == (f"base → {TWO}, 2 upgrades\n  upgrade {ONE} script {ONE}\n  upgrade {TWO} script {TWO}\n")
    assert two.query("SELECT count(*) FROM pg_class WHERE relnamespace = 'migrations'::regnamespace") == [(0,)]
    done = run(two, "upgrade", ONE)
    assert done.stdout == f"upgrade {ONE}\nthe database is at {ONE}\n"
    assert run(two, "upgrade").stdout == f"upgrade {TWO}\nthe database is at {TWO}\n"
    assert run(two, "upgrade").stdout == f"the database is at {TWO}\n"
    assert two.query("SELECT revision, direction FROM migrations.ledger ORDER BY id") == [
        (ONE, "upgrade"),
        (TWO, "upgrade"),
    ]


def test_a_deleted_manifest_is_a_warning_and_stops_nothing(two: Target) -> None:
    warned = run(two, "plan")
    manifest = two.directory / "manifest"
    expected = (
        "warning: there is no migrations/manifest, so an edit of a script is not noticed before the script is applied"
    )
    assert warned.returncode == 0 and warned.stderr == f"{expected}. Write it:\n  pulumi-alembic manifest\n"
    assert run(two, "--quiet", "plan").stderr == ""
    run(two, "manifest")
    assert run(two, "plan").stderr == ""
    manifest.unlink()
    done = run(two, "upgrade", ONE)
    assert done.returncode == 0 and expected in done.stderr


@pytest.mark.full
def test_machines_get_one_json_object(two: Target) -> None:
    steps = [{"revision": id, "message": f"script {id}"} for id in (ONE, TWO)]
    assert formats.read("plan", run(two, "plan", "--json").stdout) == {
        "version": 1,
        "current": [],
        "target": TWO,
        "direction": "upgrade",
        "steps": steps,
    }
    assert formats.read("upgrade", run(two, "upgrade", "--json").stdout)["applied"] == [ONE, TWO]
    assert formats.read("upgrade", run(two, "upgrade", "--json").stdout) == {
        "version": 1,
        "revision": TWO,
        "applied": [],
    }


@pytest.mark.full
def test_upgrade_does_not_go_down(two: Target) -> None:
    run(two, "upgrade")
    refused = run(two, "upgrade", ONE)
    assert refused.returncode == 1
    assert refused.stderr == (
        f"error: {ONE} is older than the database ({TWO} → {ONE}, 1 downgrade).\n  alembic downgrade {ONE}\n"
    )


def test_the_command_that_a_refused_deletion_names_deletes(two: Target) -> None:
    """Regression: `pulumi-alembic upgrade` named the variable and did not read it."""
    two.write(THREE, TWO, "op.execute('INSERT INTO one DEFAULT VALUES')")
    run(two, "upgrade")
    two.write(FOUR, THREE, "op.execute('DROP TABLE one')")
    *_, line = run(two, "upgrade").stderr.splitlines()
    setting, command = line.split(maxsplit=1)
    name, _, value = setting.partition("=")
    assert run(two, *command.split()[1:], **{name: value}).stdout == f"upgrade {FOUR}\nthe database is at {FOUR}\n"


@pytest.mark.parametrize(
    "command", [("upgrade",), ("contract", "--reason", "no other code runs")], ids=["upgrade", "contract"]
)
def test_it_waits_as_long_as_env_py_says(two: Target, command: tuple[str, ...]) -> None:
    """Regression: only `alembic` read the policy."""
    with two.write(THREE, TWO, "op.execute('DROP TABLE one')").open("a") as script:
        script.write("phase = 'contract'\n")
    (two.directory / "env.py").write_text(
        "import sqlalchemy as sa\nfrom pulumi_alembic import environment\nfrom pulumi_alembic.policy import Policy\n"
        f"environment.run(sa.MetaData(), lambda: {two.url!r}, lambda: Policy(preflight=True, "
        "min_free_connections=100_000))\n"
    )
    refused = run(two, *command, DATABASE_URL="")
    assert "(min_free_connections 100000)" in refused.stderr


@pytest.mark.full
def test_the_url_is_that_of_env_py_where_the_environment_has_none(two: Target) -> None:
    (two.directory.parent / "settings_of_this_test.py").write_text(f"URL = {two.url!r}\n")
    (two.directory / "env.py").write_text(
        "import sqlalchemy as sa\nfrom settings_of_this_test import URL\nfrom pulumi_alembic import environment\n"
        "environment.run(target_metadata=sa.MetaData(), url=lambda: URL)\n"
    )
    assert run(two, "upgrade", DATABASE_URL="").stdout.endswith(f"the database is at {TWO}\n")


@pytest.mark.few(1)
@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("postgresql://somebody:hunter2@127.0.0.1:1/nowhere", "error: cannot connect: "),
        ("postgresql://somebody:hunter2@[nowhere", "error: the database URL is not one that PostgreSQL understands"),
    ],
)
def test_what_goes_wrong_is_one_message_without_the_password(two: Target, url: str, message: str) -> None:
    refused = run(two, "upgrade", DATABASE_URL=url)
    assert refused.returncode == 1
    assert refused.stderr.startswith(message)
    assert "Traceback" not in refused.stderr and "hunter2" not in refused.stderr


@pytest.mark.full
def test_a_folder_without_a_project_is_refused(two: Target, tmp_path: Path) -> None:
    (two.directory.parent / "pyproject.toml").unlink()
    assert "run this in the project, or name the scripts' folder with --directory" in run(two, "plan").stderr
    assert run(two, "upgrade", "--directory", two.directory).returncode == 0


@pytest.mark.full
def test_a_run_with_nothing_pending_loads_neither_alembic_nor_pulumi(two: Target) -> None:
    run(two, "manifest")
    run(two, "upgrade")
    printed = subprocess.run(
        [sys.executable, "-c", LOADED],
        cwd=two.directory.parent,
        env=os.environ | {"DATABASE_URL": two.url},
        capture_output=True,
        text=True,
    )
    assert printed.stdout == f"the database is at {TWO}\n[]\n", printed.stderr


@pytest.mark.full
def test_a_plan_of_sql_that_does_not_parse_fails(two: Target) -> None:
    two.write("20250103_003", TWO, "op.execute('ALTER TABEL two ADD a int')")
    for more in ((), ("--json",)):
        done = run(two, "plan", *more)
        assert done.returncode == 1
        assert "error: versions/20250103_003_script.py: upgrade: error syntax-error: " in done.stderr
        assert "20250103_003" in done.stdout
    assert run(two, "plan", TWO).returncode == 0
    assert run(two, "lint").returncode == 1


@pytest.mark.full
@pytest.mark.parametrize(
    "text", ["BEGIN; CREATE TABLE c (); COMMIT;", "CREATE TABLE c (); COMMIT; CREATE TABLE d ()", "ROLLBACK"]
)
def test_a_text_that_ends_the_transaction_is_refused_with_what_to_do(two: Target, text: str) -> None:
    two.write("20250103_003", TWO, f"op.execute({text!r})")
    done = run(two, "upgrade")
    assert done.returncode == 1
    assert "Leave BEGIN, COMMIT and ROLLBACK out: each revision runs in a transaction of its own" in done.stderr
    assert two.query("SELECT to_regclass('c')") == [(None,)]


@pytest.mark.full
def test_a_file_that_a_script_lacks_is_looked_for_in_the_commits(two: Target) -> None:
    two.write("20250103_003", TWO, "open('data/tags.csv')")
    done = run(two, "upgrade")
    assert "Check out the commit that has the file: git log --all --oneline -- '*tags.csv', then run:" in done.stderr
