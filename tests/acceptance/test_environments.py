"""The committed stacks dev, staging and prod, on three servers that differ as such servers do."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest

from taskdb.local.binaries import Binaries
from tests.acceptance.clusters import Authority, Named, encrypted, foreign, plain
from tests.acceptance.project import ENGINES, Project
from tests.conftest import PROJECT

pytestmark = pytest.mark.full

HEAD = "20250126_003"
STACKS = ("dev", "staging", "prod")


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"), "private-authority")


@pytest.fixture(scope="module")
def clusters(run_folder: Path, binaries: Binaries, authority: Authority) -> Iterator[dict[str, Named]]:
    """A cluster for each stack."""
    made = {
        "dev": plain(run_folder, binaries),
        "staging": encrypted(run_folder, binaries, authority),
        "prod": foreign(run_folder, binaries, authority),
    }
    yield made
    for each in made.values():
        each.cluster.stop()


Stacks = dict[str, Project]


@pytest.fixture
def stacks(make_project: Callable[[str], Project], engine: str, clusters: dict[str, Named]) -> Iterator[Stacks]:
    """The three stacks of one copy of the project, with the committed configuration. None is deployed yet."""
    project = make_project(engine)
    made = {}
    for name in STACKS:
        shutil.copy(PROJECT / f"Pulumi.{name}.yaml", project.folder)
        environment = {**project.environment, "PULUMI_CONFIG_PASSPHRASE": "", **clusters[name].variables}
        made[name] = replace(project, stack=name, environment=environment)
        created = made[name].run(ENGINES[engine], "stack", "init", name)
        assert created.exit_code == 0, created.text
    yield made
    for stack in made.values():
        ended(stack)
    assert all(remains(clusters[name]) == [] for name in STACKS)


def remains(cluster: Named) -> list[Any]:
    """Return the stack's databases and roles that remain on the server."""
    query = "SELECT datname FROM pg_database UNION ALL SELECT rolname FROM pg_roles"
    with cluster.connect() as admin:
        return [name for (name,) in admin.execute(query) if name.startswith("taskdb_")]


def digest(stack: Project) -> str:
    """Return the digest that the preview of the stack asks to approve, or an empty text if nothing is pending."""
    answer = stack.pulumi("preview", "--json")
    steps = json.loads(answer.stdout)["steps"]
    [schema] = [each for each in steps if each["urn"].endswith("::schema")]
    return str(schema["newState"]["inputs"].get("digest", ""))


def ended(stack: Project) -> None:
    """Destroy the stack, even if its test failed half-way."""
    if any(each.get("protect") for each in stack.resources()):
        stack.succeed("config", "set", "taskdb:protect", "false")
        stack.up()
    stack.succeed("destroy", "--yes", "--skip-preview")


def brought_up(stack: Project) -> Project:
    approved = digest(stack) if stack.stack == "prod" else ""
    stack.succeed("up", "--yes", PULUMI_ALEMBIC_APPROVE=approved)
    return stack


def test_each_stack_lives_its_whole_life_on_its_own_server(stacks: Stacks, clusters: dict[str, Named]) -> None:
    for name, stack in stacks.items():
        outputs = brought_up(stack).outputs()
        assert outputs["revision"] == HEAD and outputs["database"] == f"taskdb_{name}"
        for output in ("app_url", "reader_url", "migrator_url"):
            assert ("sslmode=verify-full" in outputs[output]) is (name != "dev")
            with psycopg.connect(outputs[output]) as connection:
                assert connection.pgconn.ssl_in_use is (name != "dev")
        stack.succeed("up", "--yes", "--expect-no-changes")
        stack.succeed("refresh", "--yes", "--expect-no-changes")
        stack.succeed("preview", "--refresh", "--expect-no-changes")
    for name in ("dev", "staging"):
        stacks[name].succeed("destroy", "--yes")
        assert remains(clusters[name]) == []


def test_prod_is_not_destroyed_before_it_is_said_to_be_unprotected(stacks: Stacks, clusters: dict[str, Named]) -> None:
    brought_up(stacks["staging"])
    prod = brought_up(stacks["prod"])
    protected = [each["type"].rpartition(":")[2] for each in prod.resources() if each.get("protect")]
    assert sorted(protected) == ["Database", *["Role"] * 7]
    before = remains(clusters["prod"])
    refused = prod.pulumi("destroy", "--yes")
    assert refused.exit_code != 0
    assert "cannot be deleted" in refused.text and "because it is protected" in refused.text
    assert remains(clusters["prod"]) == before
    with psycopg.connect(prod.outputs()["app_url"]) as connection:
        connection.execute("SELECT FROM tasks")
    prod.succeed("config", "set", "taskdb:protect", "false")
    prod.succeed("up", "--yes")
    prod.succeed("destroy", "--yes")
    assert remains(clusters["prod"]) == []


def test_the_other_server_is_known_to_be_foreign(clusters: dict[str, Named]) -> None:
    """Otherwise the tests on this server would prove nothing."""
    with clusters["prod"].connect() as admin:
        settings = admin.execute("SELECT current_user, current_setting('timezone'), current_setting('datestyle')")
        assert settings.fetchone() == ("ops-admin", "Asia/Kathmandu", "SQL, DMY")
        assert admin.execute("SELECT rolsuper FROM pg_roles WHERE rolname = current_user").fetchone() == (False,)


def test_what_is_wrong_with_the_encryption_is_told_before_anything_changes(
    stacks: Stacks, clusters: dict[str, Named], tmp_path: Path
) -> None:
    staging = stacks["staging"]
    set_it = f"{ENGINES[staging.engine]} config set postgresql:"
    other = Authority(tmp_path, "another-authority").file
    for changes, parts in (
        (
            {"PGSSLROOTCERT": str(other)},
            ("certificate verify failed", f"{set_it}sslrootcert FILE --stack staging, or PGSSLROOTCERT"),
        ),
        ({"PGSSLROOTCERT": str(tmp_path / "none.pem")}, ("does not exist", f"{set_it}sslrootcert FILE")),
        (
            {"PGHOST": "127.0.0.1"},
            ('does not match host name "127.0.0.1"', f"{set_it}host NAME --stack staging, or PGHOST"),
        ),
    ):
        refused = staging.pulumi("up", "--yes", **changes)
        assert refused.exit_code != 0 and "Traceback" not in refused.text
        assert all(part in refused.text for part in parts), refused.text
    staging.succeed("config", "set", "postgresql:sslmode", "disable")
    refused = staging.pulumi("up", "--yes")
    assert "no encryption" in refused.text and f"{set_it}sslmode verify-full" in refused.text
    staging.succeed("config", "set", "postgresql:sslmode", "require")
    refused = staging.pulumi("up", "--yes", **clusters["dev"].variables)
    assert "does not support SSL" in refused.text and "ssl = on" in refused.text
    assert remains(clusters["staging"]) == [] and remains(clusters["dev"]) == []


def test_a_production_stack_without_encryption_is_refused(stacks: Stacks, clusters: dict[str, Named]) -> None:
    prod = stacks["prod"]
    prod.succeed("config", "rm", "postgresql:sslmode")
    refused = prod.pulumi("up", "--yes", **clusters["dev"].variables)
    assert refused.exit_code != 0
    assert "this is a production stack, and its connections to 127.0.0.1 would not be encrypted" in refused.text
    assert remains(clusters["dev"]) == []


def test_several_stacks_live_on_one_server(stacks: Stacks, clusters: dict[str, Named]) -> None:
    """None of them changes when another one is destroyed."""
    server = {**clusters["staging"].variables}
    for name in ("dev", "staging"):
        stacks[name].succeed("up", "--yes", "--skip-preview", **server, PGSSLMODE="verify-full")
    stacks["dev"].succeed("destroy", "--yes", **server, PGSSLMODE="verify-full")
    assert all(name.startswith("taskdb_staging") for name in remains(clusters["staging"]))
    stacks["staging"].succeed("preview", "--refresh", "--expect-no-changes")
