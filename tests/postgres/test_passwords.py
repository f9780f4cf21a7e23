"""A password that the server refuses is generated again, because no catalog shows which password a role has."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import pytest
from psycopg import sql

from pulumi_alembic.stack.log import Log
from taskdb.local import Server
from taskdb.passwords import PasswordProvider, login_inputs
from taskdb.settings.admin import Admin
from tests.conftest import Database


@pytest.fixture
def role(server: Server) -> Iterator[str]:
    """Create a role with the password `first`."""
    name = f"login_{secrets.token_hex(4)}"
    with Database(server, "postgres").connect() as admin:
        admin.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD 'first'").format(sql.Identifier(name)))
        yield name
        admin.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))


@pytest.mark.parametrize("exported", [False, True])
def test_a_login_that_the_server_refuses_gets_a_new_password(
    server: Server, role: str, exported: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    warned: list[str] = []
    monkeypatch.setattr(Log, "warning", lambda self, message: warned.append(message))
    admin = Admin(server.host, server.port, server.username, server.password, "disable")
    # The password of the exported URL is always kept, unless the server refuses it.
    news = {"__login": login_inputs(admin, role, "postgres"), "__keep": exported}
    provider, state = PasswordProvider(), {"value": "first"}
    assert not provider.diff("password", state, news).changes and warned == []
    if exported:
        kept = provider.update("password", state, news).outs
        assert kept is not None and kept["value"] == "first"
    with Database(server, "postgres").connect() as session:
        session.execute(sql.SQL("ALTER ROLE {} PASSWORD 'another'").format(sql.Identifier(role)))
    assert provider.diff("password", state, news).changes
    assert warned == [f"the server refuses {role} with the password in the state: it gets a new one"]
    made = provider.update("password", state, news).outs
    assert made is not None and made["value"] not in ("first", "another") and len(made["value"]) == 48


def test_a_server_that_does_not_answer_says_nothing_about_the_password(server: Server, role: str) -> None:
    nowhere = Admin(server.host, 1, server.username, server.password, "disable")
    news = {"__login": login_inputs(nowhere, role, "postgres")}
    assert not PasswordProvider().diff("password", {"value": "another"}, news).changes
