"""States and databases of the first release keep their meaning: previews of them show no change.

tests/fixtures/first_release/README.md describes each file.
"""

from __future__ import annotations

import base64
import json
import pickle
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from pulumi_alembic.provider import MigrationsProvider
from pulumi_alembic.review import report
from pulumi_alembic.review.plan_review import PlanReview
from pulumi_alembic.scripts.promotion import Proof
from taskdb.local.binaries import Binaries
from taskdb.local.record import Server
from tests.acceptance.first_release import FIXTURES, VERSION, query, restore, restored_project, restored_server
from tests.acceptance.project import Project
from tests.conftest import Database

HEAD = "20250126_003"
SCRATCH = "rehearsal_taskdb_kept_"
STATES = sorted(path for path in (FIXTURES / "projects").glob("*/*.json"))

LATER: Mapping[str, str] = {}
"""Later changes of the program: the names of its resources, and the operation of an update on each."""

Restored = Callable[[str, str], Project]


@pytest.fixture(scope="module")
def place(run_folder: Path, binaries: Binaries) -> Iterator[Server]:
    """A server with the databases of the states."""
    made = restored_server(run_folder, binaries)
    yield made.server
    made.cluster.stop()


@pytest.fixture
def restored(place: Server, engine: str, tmp_path: Path) -> Restored:
    """Return a function that creates a fixture's project with one of its stacks: `restored("promotion", "upper")`."""
    with Database(place, "postgres").connect() as admin:
        version = admin.info.server_version // 10000
    if version != VERSION:
        pytest.skip(f"the fixtures of the first release are of PostgreSQL {VERSION}")
    return lambda project, stack: restored_project(tmp_path, project, stack, engine, place)


def changes(project: Project, *options: str) -> dict[str, str]:
    """Return the changes of an update: the name of each resource that it would change, and the operation."""
    steps = json.loads(project.succeed("preview", "--json", *options).stdout)["steps"]
    found = {each["urn"].rpartition("::")[2]: each["op"] for each in steps}
    return {name: op for name, op in found.items() if op not in ("same", "read", "refresh")}


def expected(*changed: str) -> dict[str, str]:
    """Return an update of these resources and of LATER. The resource of the migrations has a digest of LATER."""
    return {**LATER, **dict.fromkeys([*changed, *(["schema"] if LATER else [])], "update")}


@pytest.mark.few("kept")
@pytest.mark.parametrize(
    ("project", "stack"), [("plain", "plain"), ("kept", "kept"), ("promotion", "upper"), ("adopted", "adopted")]
)
def test_a_preview_shows_no_change(restored: Restored, project: str, stack: str) -> None:
    assert changes(restored(project, stack)) == expected()


@pytest.mark.full
@pytest.mark.parametrize(("project", "stack"), [("kept", "kept"), ("adopted", "adopted")])
def test_a_refresh_finds_the_fingerprints_that_the_state_has(restored: Restored, project: str, stack: str) -> None:
    assert changes(restored(project, stack), "--refresh") == expected()


@pytest.mark.full
def test_a_preview_of_a_fan_out_shows_no_change(restored: Restored) -> None:
    there = restored("shops", "shops")
    there.succeed("preview", "--expect-no-changes")
    there.succeed("preview", "--refresh", "--expect-no-changes")


@pytest.mark.full
def test_what_was_pending_is_pending_and_nothing_else(restored: Restored) -> None:
    lower = restored("promotion", "lower")
    assert changes(lower) == expected("schema")
    shown = lower.succeed("preview").text
    assert f"{HEAD} → 20260101_001, 1 upgrade" in shown
    assert re.search(r"Digest: v2:[0-9a-f]{32}(-[0-9a-f]{4}){6}", shown)


@pytest.mark.full
def test_an_update_that_failed_half_way_goes_on_from_there(restored: Restored) -> None:
    half = restored("half", "half")
    assert changes(half) == expected("schema")
    assert "20260101_001 → 20260101_002, 1 upgrade" in half.succeed("preview").text


@pytest.mark.full
def test_a_fan_out_that_failed_half_way_goes_on_from_there(restored: Restored) -> None:
    shown = restored("shops", "torn").succeed("preview").text
    assert f"1 database: 20250126_002 → {HEAD}; 2: already there" in shown and "1 to update" in shown


@pytest.mark.full
def test_drift_that_a_refresh_found_is_told_again(restored: Restored) -> None:
    drifted = restored("drifted", "drifted")
    assert "index app.quick" in drifted.pulumi("preview", "--refresh", "--expect-no-changes").text
    assert changes(drifted) == expected("schema")
    assert drifted.resource("Migrations")["outputs"]["drift"]


@pytest.mark.full
def test_preserved_rows_are_announced_and_the_scratch_leftover_is_dropped(restored: Restored, place: Server) -> None:
    kept = restored("kept", "kept")
    [leftover] = [path.stem for path in (FIXTURES / "databases").glob(f"{SCRATCH}*.sql")]
    there = f"SELECT FROM pg_database WHERE datname = '{leftover}'"
    if not query(place, "postgres", there):
        restore(place, leftover)
    kept.succeed("config", "set", "taskdb:revision", "head")
    kept.succeed("config", "set", "taskdb:rehearse", "true")
    shown = kept.succeed("preview").text
    assert re.search(r"2 rows of app\.labels", shown) and re.search(r"3 values of app\.users\.nickname", shown)
    assert query(place, "postgres", there) == []


def test_the_commands_read_the_ledger_the_backups_and_what_is_preserved(restored: Restored) -> None:
    kept = restored("kept", "kept")
    url = {"DATABASE_URL": kept.outputs()["migrator_url"]}
    for name, command in {
        "history.json": ("history", "--json", "--limit", "all"),
        "kept.json": ("kept", "--json"),
        "plan.json": ("plan", "--json"),
    }.items():
        done = kept.run("pulumi-alembic", *command, **url)
        assert done.exit_code == 0, done.text
        assert _covers(json.loads(done.stdout), document(name)), name
    stored = kept.run("pulumi-alembic", "capsule", "20260101_002", **url)
    assert stored.stdout.splitlines()[1:] == (FIXTURES / "documents" / "capsule.txt").read_text().splitlines()[1:]
    verified = kept.run("pulumi-alembic", "backups", "--folder", str(FIXTURES / "backups"), "--verify", **url)
    assert verified.exit_code == 0 and "verified" in verified.stdout, verified.text


def test_a_report_of_a_saved_preview_has_every_field_that_it_had() -> None:
    preview = report.read((FIXTURES / "documents" / "preview.kept.json").read_bytes())
    now = json.loads(json.dumps(report.document(preview, report.judge(preview))))
    then = document("report.kept.json")
    assert _covers(now, then) and now["plans"][0]["digest"] == then["plans"][0]["digest"]


@pytest.mark.parametrize("name", ["preview.kept.json", "preview.lower.json"])
def test_a_plan_of_the_first_release_is_read_and_written_without_a_loss(name: str) -> None:
    [inputs] = [
        step["newState"]["inputs"] for step in document(name)["steps"] if "__plan" in step["newState"].get("inputs", {})
    ]
    plan = json.loads(inputs["__plan"])
    assert _covers(json.loads(json.dumps(PlanReview.from_json(plan).to_json())), plan)
    assert inputs["digest"].startswith("v1:")


@pytest.mark.parametrize("path", STATES, ids=lambda path: path.stem)
def test_a_state_names_the_provider_by_the_path_that_it_has(path: Path) -> None:
    resources = json.loads(path.read_text())["checkpoint"]["latest"]["resources"]
    [found] = [each for each in resources if each["type"].endswith(":Migrations")]
    pickled = base64.b64decode(found["inputs"]["__provider"])
    assert b"pulumi_alembic.provider" in pickled and isinstance(pickle.loads(pickled), MigrationsProvider)
    assert {"__serial", "__applied", "target", "plan", "__urn"} <= found["inputs"].keys()


def test_a_promotion_record_is_read_and_written_as_it_was(restored: Restored) -> None:
    text = restored("promotion", "lower").outputs()["proof"]
    assert text.startswith("v1 postgresql=") and str(Proof.parse(text)) == text


def document(name: str) -> Any:
    return json.loads((FIXTURES / "documents" / name).read_text())


def _covers(now: Any, then: Any) -> bool:
    """Return whether a document has all fields of an older one, in lists of the same length. Texts can differ."""
    if isinstance(then, dict):
        return isinstance(now, dict) and all(key in now and _covers(now[key], value) for key, value in then.items())
    if isinstance(then, list):
        pairs = zip(now, then, strict=False)
        return isinstance(now, list) and len(now) == len(then) and all(_covers(*pair) for pair in pairs)
    return type(now) is type(then)
