"""Promises of the provider to the engine that need no database."""

import base64

import dill
import pytest

from pulumi_alembic.provider import MigrationsProvider
from pulumi_alembic.stack.log import Log
from taskdb.passwords import PasswordProvider

OLD = {"url": "u", "directory": "migrations", "__urn": "urn", "target": "2", "__serial": 1, "revision": "2"}
SAME = {key: value for key, value in OLD.items() if key != "revision"}


@pytest.mark.parametrize(
    ("provider", "stored"),
    [
        (MigrationsProvider, b"cpulumi_alembic.provider\nMigrationsProvider\n"),
        (PasswordProvider, b"ctaskdb.passwords\nPasswordProvider\n"),
    ],
)
def test_the_path_in_every_state_file_still_leads_to_the_class(provider: type, stored: bytes) -> None:
    """State files contain a reference that must find the class for as long as such a file exists."""
    assert dill.loads(stored + b".") is provider


@pytest.mark.parametrize("provider", [MigrationsProvider, PasswordProvider])
def test_a_provider_is_stored_by_reference(provider: type) -> None:
    """Stored by value, every edit of its code would change every stack, and refresh would run the old code."""
    serialized = dill.dumps(provider(), recurse=True)
    assert provider.__module__.encode() in serialized
    assert len(base64.b64encode(serialized)) < 150


def changes(**news: object) -> bool:
    return bool(MigrationsProvider().diff("id", OLD, {**SAME, **news}).changes)


def test_nothing_planned_and_nothing_moved_is_no_change() -> None:
    assert not changes()


def test_a_refresh_compares_with_the_inputs_of_the_update_that_ran() -> None:
    """Those inputs contain a plan, and that plan has run."""
    assert not changes(plan="base → 2, 2 upgrades")


@pytest.mark.parametrize("news", [{"__serial": 2}, {"target": "3"}, {"url": "other"}, {"directory": "other"}])
def test_a_new_plan_target_login_or_directory_is_a_change(news: dict[str, object]) -> None:
    assert changes(**news)


def test_a_schema_moved_behind_the_stack_is_a_change_at_refresh() -> None:
    assert MigrationsProvider().diff("id", {**OLD, "revision": "1"}, SAME).changes


def test_deleting_leaves_the_database_alone() -> None:
    """The address belongs to no server, so an attempt to connect would fail."""
    MigrationsProvider().delete("id", {**OLD, "url": "postgresql://127.0.0.1:1/none"})


@pytest.mark.parametrize("start", ["", "taskdb server start"])
def test_a_stopped_server_is_named_with_the_command_that_starts_it(start: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A destroy and a refresh print the command, because they run no program that could print it."""
    said: list[str] = []
    monkeypatch.setattr(Log, "warning", lambda self, text: said.append(text))
    props = {**OLD, "url": "postgresql://one:hush@127.0.0.1:1/none", "__start": start}
    MigrationsProvider().delete("id", props)
    MigrationsProvider().read("id", props)
    stopped = "there is no server at 127.0.0.1:1: Connection refused. Start the server:\n  taskdb server start"
    *deleted, read = said
    assert deleted == ([stopped] if start else [])
    assert read.startswith("not read, the state keeps the last reading: ") and read.endswith(stopped) == bool(start)
    assert "hush" not in str(said)


@pytest.mark.parametrize("engine", ["pulumi", "pulumi-embedded"])
def test_a_command_names_the_stack_as_another_one_may_be_selected(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PULUMI_COMMAND", engine)
    urn = "urn:pulumi:dev::taskdb::pulumi-python:dynamic/alembic:Migrations::schema"
    assert Log(urn).command("up") == f"{engine} up --stack dev"
    assert Log("").command("up") == f"{engine} up"
