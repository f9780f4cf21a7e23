"""The provider between an engine and a real database: its plans, its changes and its readings."""

from typing import Any

import pytest
from pulumi.output import Unknown

from pulumi_alembic.provider import MigrationsProvider
from pulumi_alembic.stack.plugin_errors import HalfDone
from pulumi_alembic.stack.properties import DETAILS
from tests.conftest import Database
from tests.postgres.alembic.conftest import Target

ONE, TWO, THREE = "20250126_001", "20250126_002", "20250126_003"

provider = MigrationsProvider()


def inputs(target: Target, revision: str, **changes: Any) -> dict[str, Any]:
    """Return the inputs that the resource sends."""
    return {"url": target.url, "directory": str(target.directory), "target": revision, "__urn": "urn", **changes}


def checked(target: Target, revision: str, olds: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    """Return the inputs as `check` completes them."""
    answer = provider.check(olds or {}, inputs(target, revision, **changes))
    assert answer.failures == []
    return dict(answer.inputs)


def test_a_database_that_does_not_exist_yet_is_planned_from_base(target: Target) -> None:
    planned = checked(target, TWO, url=Unknown())
    assert planned["plan"] == f"base → {TWO}, 2 upgrades"


def test_a_plan_starts_where_the_database_is_and_counts_up(target: Target) -> None:
    target.migrate(ONE)
    planned = checked(target, THREE)
    assert (planned["plan"], planned["__serial"]) == (f"{ONE} → {THREE}, 2 upgrades", 1)
    outputs = provider.create(planned).outs
    assert outputs and outputs["revision"] == THREE

    again = checked(target, THREE, planned)
    assert (again["plan"], again["__serial"]) == (f"at {THREE}: nothing pending", 1)
    assert not provider.diff("id", outputs, again).changes


def test_what_a_preview_shows_is_in_no_state(target: Target) -> None:
    """The inputs of an update contain only the plan, which holds if no other migration runs."""
    shown = checked(target, THREE)
    assert {*DETAILS} - {"__plans"} <= shown.keys()
    applied = checked(target, THREE, **{"__applying": True})
    assert (applied["plan"], applied["__serial"]) == (shown["plan"], shown["__serial"])
    assert not applied.keys() & {*DETAILS, "__applying"}


def test_a_schema_taken_down_to_where_it_began_is_a_change(target: Target) -> None:
    """The plan has the same text as the one that has run, and differs only by its serial number."""
    planned = checked(target, THREE)
    outputs = provider.create(planned).outs
    target.migrate("base")
    again = checked(target, THREE, planned)
    assert again["plan"] == planned["plan"]
    assert outputs is not None
    assert provider.diff("id", outputs, again).changes


def test_creating_twice_is_harmless(target: Target) -> None:
    """After a failure the engine calls it again."""
    planned = checked(target, THREE)
    assert provider.create(planned).outs == provider.create(planned).outs


def test_a_changed_password_is_planned_with_the_old_one(target: Target) -> None:
    """A preview comes before the update that changes the password on the server."""
    new = target.url.replace("_migrator:", "_migrator:new-")
    assert checked(target, THREE, inputs(target, THREE), url=new)["plan"].startswith(f"base → {THREE}")
    assert provider.check({}, inputs(target, THREE, url=new)).failures


def test_a_login_that_is_being_replaced_is_planned_with_the_one_there_is(target: Target) -> None:
    """The login's URL is unknown in the preview, but its database is not empty."""
    target.migrate(TWO)
    planned = checked(target, THREE, inputs(target, TWO), url=Unknown())
    assert planned["plan"] == f"{TWO} → {THREE}, 1 upgrade"
    gone = inputs(target, TWO, url="postgresql://user@127.0.0.1:1/gone")
    assert checked(target, TWO, gone, url=Unknown())["plan"] == f"base → {TWO}, 2 upgrades"


def test_the_old_login_is_not_asked_about_another_database(target: Target) -> None:
    target.migrate(THREE)
    elsewhere = target.url.replace("_migrator:", "_migrator:x").replace("@127.0.0.1", "@localhost")
    [failure] = provider.check(inputs(target, THREE), inputs(target, THREE, url=elsewhere)).failures
    port = target.url.rpartition("/")[0].rpartition(":")[2]
    assert f"was on the server at 127.0.0.1:{port}, and this server is at localhost:{port}" in failure.reason
    assert "\n  pulumi state delete --all --force --yes\n" in failure.reason


def test_a_refresh_reports_a_login_that_the_server_no_longer_has(target: Target) -> None:
    target.migrate(THREE)
    unknown = target.url.replace("_migrator:", "_migrator:x")
    [failure] = provider.check(inputs(target, THREE, url=unknown), inputs(target, THREE, url=unknown)).failures
    assert "if they were dropped: pulumi refresh, then try again" in failure.reason


def test_a_failure_names_no_property_whose_value_would_be_printed(target: Target) -> None:
    gone = target.url.rpartition("/")[0] + "/no_such_database"
    [failure] = provider.check({}, inputs(target, THREE, url=gone)).failures
    assert failure.property == ""
    assert "If it was dropped outside of the stack: pulumi refresh" in failure.reason


@pytest.mark.few(1)
@pytest.mark.parametrize("line", ["import sys; sys.exit(4)", "raise SystemExit"])
def test_an_env_py_that_ends_the_process_fails_the_preview(empty_target: Target, line: str) -> None:
    empty_target.write(ONE, None)
    env = empty_target.directory / "env.py"
    env.write_text(f"{line}\n")
    [failure] = provider.check({}, inputs(empty_target, ONE)).failures
    assert f"{env} ends the process" in failure.reason


def test_what_a_script_that_does_not_import_says_is_shown_without_a_password(empty_target: Target) -> None:
    path = empty_target.write(ONE, None)
    path.write_text(path.read_text() + "raise RuntimeError(\"ALTER ROLE x PASSWORD 'geheim'\")\n")
    [failure] = provider.check({}, inputs(empty_target, ONE)).failures
    assert (
        "cannot be imported: RuntimeError: ALTER ROLE x PASSWORD" in failure.reason and "geheim" not in failure.reason
    )


def test_an_update_reads_back_what_it_reached(target: Target) -> None:
    target.migrate(THREE)
    outputs = provider.update("id", {}, checked(target, ONE)).outs
    assert outputs and outputs["revision"] == ONE


def test_a_read_returns_the_reading_as_output_and_as_target(target: Target) -> None:
    target.migrate(TWO)
    answer = provider.read("id", {**inputs(target, THREE), "__serial": 4, "revision": THREE})
    assert answer.outs and answer.inputs
    assert (answer.outs["revision"], answer.inputs["target"], answer.inputs["plan"]) == (TWO, TWO, "")


def test_a_database_that_is_gone_is_a_resource_that_is_gone(target: Target) -> None:
    gone = target.url.rpartition("/")[0] + "/no_such_database"
    assert provider.read("id", inputs(target, THREE, url=gone)).id == ""


def test_a_database_that_cannot_be_asked_keeps_the_last_reading(target: Target, database: Database) -> None:
    """Otherwise an error would stop the refresh that must find the obstacle, so that an update can repair it."""
    refused = inputs(target, THREE, url=target.url.replace("_migrator:", "_migrator:x")) | {"revision": TWO}
    answer = provider.read("id", refused)
    assert (answer.id, answer.outs) == ("id", refused)
    with database.connect() as admin:
        admin.execute(f"REVOKE {database.name}_owner FROM {database.name}_migrator")
    powerless = inputs(target, THREE) | {"revision": TWO}
    answer = provider.read("id", powerless)
    assert (answer.id, answer.outs) == ("id", powerless)


def test_a_failure_half_way_carries_the_state_that_it_left(empty_target: Target) -> None:
    empty_target.write("20250101_001", None)
    empty_target.write("20250102_002", "20250101_001", "op.execute('SELECT 1/0')")
    with pytest.raises(HalfDone) as caught:
        provider.create(checked(empty_target, "20250102_002"))
    assert caught.value.outputs["revision"] == "20250101_001"
