"""The resources that the program registers. Pulumi's own mocks answer."""

import re
import runpy
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pulumi
import pytest

from pulumi_alembic.scripts.history import History
from taskdb import preflight
from taskdb.passwords import PasswordProvider
from taskdb.rotation import own_outputs

pytestmark = pytest.mark.usefixtures("event_loop")

PROJECT = Path(__file__).parents[3]


class Mocks(pulumi.runtime.Mocks):
    """Answers each registration with its inputs, and records it."""

    def __init__(self, outputs: dict[str, Any] | None = None) -> None:
        self.registered: dict[str, pulumi.runtime.MockResourceArgs] = {}
        self.outputs = outputs or {}

    def new_resource(self, args: pulumi.runtime.MockResourceArgs) -> tuple[str, dict[str, Any]]:
        self.registered[f"{args.typ} {args.name}"] = args
        return f"{args.name}-id", {"value": "made", **args.inputs}

    def call(self, args: pulumi.runtime.MockCallArgs) -> dict[str, Any]:
        assert args.token == "pulumi:pulumi:readStackOutputs"
        return {"name": args.args["name"], "outputs": self.outputs}


@pytest.fixture
def version() -> int:
    """The server's major version."""
    return 15


@pytest.fixture
def outputs() -> dict[str, Any]:
    """The stack's outputs after its last update."""
    return {}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Link the project's files into a folder without the states of the user's stacks."""
    for name in ("__main__.py", "Pulumi.yaml", "pyproject.toml", "migrations"):
        (tmp_path / name).symlink_to(PROJECT / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def registered(
    folder: Path, monkeypatch: pytest.MonkeyPatch, version: int, outputs: dict[str, Any]
) -> dict[str, pulumi.runtime.MockResourceArgs]:
    """Return the resources that the program registers for the stack `dev` on a named server."""
    monkeypatch.setenv(
        "PULUMI_CONFIG",
        '{"taskdb:revision": "20250126_002", "postgresql:host": "127.0.0.1", '
        '"postgresql:username": "admin", "postgresql:password": "hunter2"}',
    )
    monkeypatch.setattr(preflight, "_connect", lambda admin: nullcontext())
    monkeypatch.setattr(preflight, "_check_admin", lambda admin, connection: version)
    monkeypatch.setattr(preflight, "_logins", lambda connection, database: frozenset[str]())
    mocks = Mocks(outputs)
    pulumi.runtime.set_mocks(mocks, project="taskdb", stack="dev", preview=False)

    # Pulumi would take a returned value for outputs.
    def program() -> None:
        runpy.run_path(str(folder / "__main__.py"), run_name="__main__")

    pulumi.runtime.test(program)()
    return mocks.registered


def test_the_pinned_revision_reaches_the_resource(registered: dict[str, pulumi.runtime.MockResourceArgs]) -> None:
    assert registered["pulumi-python:dynamic/alembic:Migrations schema"].inputs["target"] == "20250126_002"


def test_the_scripts_are_read_once(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    read: list[Path] = []
    load = History.load
    monkeypatch.setattr(History, "load", lambda directory: read.append(directory) or load(directory))
    request.getfixturevalue("registered")
    assert read == [Path("migrations")]


@pytest.mark.parametrize(("version", "takes"), [(14, False), (15, True)])
def test_public_loses_its_rights_if_the_admin_can_revoke_them(
    registered: dict[str, pulumi.runtime.MockResourceArgs], *, takes: bool
) -> None:
    """If the admin cannot revoke the rights, the grant would change nothing, and every update would try again."""
    assert ("postgresql:index/grant:Grant schema-public-public" in registered) is takes


@pytest.mark.parametrize(
    ("outputs", "limit"),
    [
        ({}, 25),
        ({"app_url": "…"}, None),  # of the first release, whose preview is to show no change
        ({"app_url": "…", "app_connection_limit": 40}, 40),
    ],
)
def test_application_logins_of_a_new_stack_have_a_limit(
    registered: dict[str, pulumi.runtime.MockResourceArgs], limit: int | None
) -> None:
    """Without a limit, their sessions can shut out admin and migrator."""
    limits = {
        args.name: args.inputs.get("connectionLimit")
        for args in registered.values()
        if args.typ == "postgresql:index/role:Role" and args.inputs.get("login")
    }
    assert limits == {"migrator": None, "app_a": limit, "app_b": limit, "reader": limit}


@pytest.mark.parametrize(
    ("outputs", "granted"),
    [({}, True), ({"app_url": "…"}, False), ({"app_url": "…", "temporary_tables": True}, True)],
)
def test_the_owner_of_a_new_stack_can_create_temporary_tables(
    registered: dict[str, pulumi.runtime.MockResourceArgs], *, granted: bool
) -> None:
    """A preview of a stack of the first release shows no change."""
    assert ("postgresql:index/grant:Grant temporary-owner" in registered) is granted


@pytest.mark.parametrize("outputs", [{"app_url": "…", "database": "taskdb_former"}])
def test_a_stack_that_was_renamed_is_refused(request: pytest.FixtureRequest, outputs: dict[str, Any]) -> None:
    """The plugin would rename the roles and the database, and every reference to them would fail."""
    with pytest.raises(pulumi.RunError, match="stack rename former --stack dev"):
        request.getfixturevalue("registered")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Record the engine's requests in order: types of resources, and names of functions."""
    asked: list[str] = []
    monitor = pulumi.runtime.mocks.MockMonitor
    register, invoke = monitor.RegisterResource, monitor.Invoke
    monkeypatch.setattr(monitor, "RegisterResource", lambda self, it: asked.append(it.type) or register(self, it))
    monkeypatch.setattr(monitor, "Invoke", lambda self, it: asked.append(it.tok) or invoke(self, it))
    return asked


def test_the_stack_s_own_outputs_are_read_when_the_stack_itself_is_registered(
    asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise the read can happen while the engine writes the state, and see an incomplete file."""

    def program() -> None:
        root = pulumi.ComponentResource("test:index:Stack", "root")
        monkeypatch.setattr(pulumi.runtime, "get_root_resource", lambda: root)
        assert own_outputs() == {}

    pulumi.runtime.set_mocks(Mocks(), project="taskdb", stack="dev", preview=False)
    pulumi.runtime.test(program)()
    assert asked == ["test:index:Stack", "pulumi:pulumi:readStackOutputs"]


def test_a_password_is_long_and_never_the_same() -> None:
    first, second = (PasswordProvider().create({}).outs for _ in range(2))
    assert first and second and first["value"] != second["value"]
    # `pulumi config set --secret NAME VALUE` would take a leading '-' for an option.
    assert re.fullmatch("[0-9a-f]{48}", first["value"])


def test_every_name_on_the_server_carries_the_stack(registered: dict[str, pulumi.runtime.MockResourceArgs]) -> None:
    names = {
        args.inputs["name"]
        for args in registered.values()
        if args.typ in ("postgresql:index/role:Role", "postgresql:index/database:Database")
    }
    assert len(names) == 8
    assert all(name == "taskdb_dev" or name.startswith("taskdb_dev_") for name in names)
