"""An obstacle on a stack's server is one error with the command that helps, before anything is registered."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pulumi
import pytest

from taskdb import preflight
from taskdb.errors import TaskdbError
from taskdb.local import Server
from taskdb.local.binaries import Binaries
from taskdb.settings import Settings
from taskdb.settings.admin import VARIABLES
from tests.acceptance.clusters import Authority, Named, encrypted
from tests.conftest import PROJECT, Database

SET = "pulumi config set postgresql:"

Check = Callable[..., preflight.Server]


@pytest.fixture
def check(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Check:
    """Return a function that checks the server of these properties for the stack `dev`."""
    for variable in VARIABLES.values():
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.delenv("PULUMI_COMMAND", raising=False)
    monkeypatch.setattr(pulumi, "get_project", lambda: "taskdb")
    monkeypatch.setattr(pulumi, "get_stack", lambda: "dev")
    monkeypatch.chdir(tmp_path)

    def check(**properties: str) -> preflight.Server:
        values = {"taskdb:revision": "head"} | {f"postgresql:{name}": value for name, value in properties.items()}
        monkeypatch.setenv("PULUMI_CONFIG", json.dumps(values))
        _, server = preflight.check(Settings.load(tmp_path), PROJECT / "migrations")
        return server

    return check


def properties(server: Server, **changes: str) -> dict[str, str]:
    login = {"username": server.username, "password": server.password}
    return {"host": server.host, "port": str(server.port), **login, **changes}


def test_a_server_that_has_all_is_known_by_its_version(check: Check, server: Server) -> None:
    with Database(server, "postgres").connect() as admin:
        version = admin.info.server_version // 10000
    assert check(**properties(server)) == preflight.Server(version)


def test_a_server_newer_than_tested_gets_one_line_and_works(
    check: Check, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines: list[str] = []
    monkeypatch.setattr(pulumi, "info", lines.append)
    version = check(**properties(server)).version
    assert not lines
    monkeypatch.setattr(preflight, "NEWEST_TESTED", version - 1)
    assert check(**properties(server)).version == version
    assert lines == [f"PostgreSQL {version} is newer than the versions that are tested: 13 to {version - 1}"]


def test_a_server_that_does_not_run_is_named(check: Check, server: Server) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = str(unused.getsockname()[1])
        with pytest.raises(TaskdbError, match=f"cannot use the server at 127.0.0.1:{port}.* Is the server running"):
            check(**properties(server, port=port))


def test_an_unencrypted_server_on_this_machine_can_be_used_without_encryption(check: Check, server: Server) -> None:
    with pytest.raises(
        TaskdbError, match=r"or do without it on this machine:\n  \S+ config set postgresql:sslmode disable"
    ):
        check(**properties(server, sslmode="require"))


def test_a_wrong_password_is_said_and_not_shown(check: Check, server: Server) -> None:
    with pytest.raises(TaskdbError, match=r"password authentication failed.*PGPASSWORD") as raised:
        check(**properties(server, password="wrong-password"))
    assert "wrong-password" not in str(raised.value)


@pytest.mark.parametrize(("held", "lacking"), [("CREATEDB", "CREATEROLE"), ("CREATEROLE", "CREATEDB")])
def test_an_admin_that_lacks_an_attribute_is_told_which(check: Check, server: Server, held: str, lacking: str) -> None:
    weak = f"weak_{held.lower()}"
    with Database(server, "postgres").connect() as admin:
        admin.execute(f"CREATE ROLE {weak} LOGIN {held} PASSWORD 'x'")
        try:
            with pytest.raises(TaskdbError, match=f"lacks {lacking}.* ALTER ROLE {weak} {lacking}"):
                check(**properties(server, username=weak, password="x"))
        finally:
            admin.execute(f"DROP ROLE {weak}")


@pytest.fixture(scope="module")
def authorities(tmp_path_factory: pytest.TempPathFactory) -> tuple[Authority, Authority]:
    """Return the authority of the encrypted server, and another authority."""
    folder = tmp_path_factory.mktemp("authorities")
    return Authority(folder, "private-authority"), Authority(folder, "another-authority")


@pytest.fixture(scope="module")
def verified(run_folder: Path, binaries: Binaries, authorities: tuple[Authority, Authority]) -> Iterator[Named]:
    """Run a server that accepts only encrypted connections, with a certificate for localhost."""
    made = encrypted(run_folder, binaries, authorities[0])
    yield made
    made.cluster.stop()


def test_an_encrypted_server_is_verified_and_what_is_wrong_is_said(
    check: Check, verified: Named, authorities: tuple[Authority, Authority], server: Server, tmp_path: Path, major: int
) -> None:
    named = {name: verified.variables[variable] for name, variable in VARIABLES.items() if variable != "PGSSLMODE"}
    known = named | {"sslmode": "verify-full"}
    assert check(**known).version >= 13
    for changes, parts in (
        (
            {"sslrootcert": str(authorities[1].file)},
            ("certificate verify failed", f"{SET}sslrootcert FILE --stack dev"),
        ),
        ({"sslrootcert": str(tmp_path / "none.pem")}, ("does not exist", f"{SET}sslrootcert FILE")),
        ({"host": "127.0.0.1"}, ('does not match host name "127.0.0.1"', f"{SET}host NAME --stack dev, or PGHOST")),
        ({"sslmode": "disable"}, ("no encryption" if major >= 14 else "SSL off", f"{SET}sslmode verify-full")),
        (properties(server, sslmode="require"), ("does not support SSL", "ssl = on")),
    ):
        with pytest.raises(TaskdbError) as raised:
            check(**(known | changes))
        assert all(part in str(raised.value) for part in parts), raised.value
