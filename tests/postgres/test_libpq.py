"""No variable of libpq changes where a stack connects, or the settings of its sessions. The stack sets all of them."""

from __future__ import annotations

import os
import socket
import struct
import threading
from contextlib import nullcontext, suppress
from dataclasses import replace
from typing import Any

import psycopg
import pytest

from pulumi_alembic.database import libpq, pg_programs
from pulumi_alembic.database.connection import OWN_OPTIONS, log_in
from pulumi_alembic.errors import DatabaseError
from pulumi_embedded.postgresql.connection import libpq_variables
from taskdb import existing, preflight
from taskdb.errors import TaskdbError
from taskdb.passwords import is_refused, login_inputs
from taskdb.settings.admin import Admin
from taskdb.variables import refuse_variables
from tests.conftest import Database
from tests.postgres.plugin.replay import ask, configured_plugin

# The effect of each variable if it were read: another server, another session, or an error.
HOSTILE = {
    "PGHOSTADDR": "203.0.113.1",
    "PGHOST": "203.0.113.1",
    "PGPORT": "1",
    "PGOPTIONS": "-c search_path=hostile",
    "PGTZ": "Antarctica/Troll",
    "PGDATESTYLE": "German",
    "PGGEQO": "off",
    "PGCLIENTENCODING": "LATIN1",
    "PGTARGETSESSIONATTRS": "standby",
    "PGREQUIREAUTH": "none",
    "PGCHANNELBINDING": "require",
    "PGCONNECT_TIMEOUT": "2",
}
# The program sets these itself, or they do not affect a connection with a password.
GIVEN = {"PGHOST", "PGPORT", "PGUSER", "PGPASSWORD", "PGSSLMODE", "PGSSLROOTCERT", "PGDATABASE", "PGCONNECT_TIMEOUT"}
GIVEN |= {"PGAPPNAME", "PGPASSFILE", "PGSERVICEFILE", "PGSYSCONFDIR", "PGLOCALEDIR"}
NAMES = sorted(libpq.variables())
SESSION = "SELECT current_user, current_database(), " + ", ".join(
    f"current_setting('{name}')" for name in ("search_path", "TimeZone", "DateStyle", "geqo", "client_encoding")
)


def hostile(name: str) -> str:
    return HOSTILE.get(name, "hostile")


@pytest.fixture
def admin(database: Database) -> Admin:
    server = database.server
    return Admin(server.host, server.port, server.username, server.password, "disable")


def sessions(admin: Admin, database: str) -> list[tuple[Any, ...]]:
    """Return the settings of a session, for each way in which the program and the migrations connect."""
    with preflight._connect(admin) as first, log_in(admin.url(database), "test") as second:
        found = [connection.execute(SESSION.encode()).fetchone() for connection in (first, second)]
    existing.existing(admin, database)
    assert is_refused(login_inputs(admin, admin.username, database), "wrong")
    assert not is_refused(login_inputs(admin, admin.username, database), admin.password)
    return [row for row in found if row]


def test_each_variable_changes_nothing(admin: Admin, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = sessions(admin, database.name)
    assert len(NAMES) > 30
    for name in NAMES:
        with monkeypatch.context() as environment:
            environment.setenv(name, hostile(name))
            assert sessions(admin, database.name) == expected, name
            assert os.environ[name] == hostile(name), "the environment is as before"


def test_an_address_that_is_not_complete_is_completed(admin: Admin, monkeypatch: pytest.MonkeyPatch) -> None:
    """PostgreSQL's own programs do the same: DATABASE_URL can leave the password to PGPASSWORD."""
    monkeypatch.setenv("PGPASSWORD", admin.password)
    log_in(f"postgresql://{admin.username}@{admin.host}:{admin.port}/postgres", "test").close()


def test_pg_dump_gets_no_variable_but_those_of_the_address(admin: Admin, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.setenv(name, hostile(name))
    given = {name: value for name, value in pg_programs.environment(admin.url("postgres")).items() if name in NAMES}
    assert given.pop("PGOPTIONS") == OWN_OPTIONS
    assert given.pop("PGCONNECT_TIMEOUT") == "15"
    assert given.keys() == {"PGHOST", "PGPORT", "PGUSER", "PGPASSWORD", "PGDATABASE", "PGSSLMODE"}


def test_the_plugin_connects_as_its_configuration_says(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """The plugin runs in its own process. The variables that the real plugin documents complete its configuration."""
    assert libpq_variables() >= libpq.variables() - {"PGLOCALEDIR"}
    for name in NAMES:
        monkeypatch.setenv(name, hostile(name))
    with configured_plugin(database) as stub:
        state = {"name": database.name}
        answer = ask(stub, "Read", {"id": database.name, "type": "postgresql:index/database:Database",
            "urn": "urn:pulumi:dev::test::postgresql:index/database:Database::r", "properties": state})  # fmt: skip
        assert answer["response"]["id"] == database.name


@pytest.mark.few(1)
@pytest.mark.parametrize("name", NAMES)
def test_with_the_real_plugin_a_variable_that_it_reads_is_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Variables that the program sets itself are not refused, because developers have them set."""
    monkeypatch.setenv("PULUMI_COMMAND", "pulumi")
    for each in NAMES:
        monkeypatch.delenv(each, raising=False)
    refuse_variables()
    monkeypatch.setenv(name, hostile(name))
    with pytest.raises(TaskdbError, match=rf"unset {name}$") if name not in GIVEN else nullcontext():
        refuse_variables()


class Impostor:
    """A server at the port of the real one: it asks for the password in clear text, and records the answer."""

    def __enter__(self) -> Impostor:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.got = b""
        threading.Thread(target=self._answer, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()

    def _answer(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                client.settimeout(5)
                with client, suppress(OSError):
                    client.recv(65536)
                    client.sendall(b"R" + struct.pack("!II", 8, 3))
                    while more := client.recv(65536):
                        self.got += more


def test_no_password_goes_in_clear_text_to_whoever_asks_for_it(database: Database) -> None:
    if psycopg.pq.version() < 160000:
        pytest.skip("this libpq has no require_auth")
    server = replace(database.server, password="hunter2")
    with Impostor() as impostor:
        admin = Admin("127.0.0.1", impostor.port, server.username, "hunter2", "disable")
        with pytest.raises(TaskdbError, match="taskdb:require_auth"):
            preflight._connect(admin)
        with pytest.raises(TaskdbError):
            existing.existing(admin, "x")
        with pytest.raises(DatabaseError):
            log_in(admin.url("postgres"), "test")
        assert not is_refused(login_inputs(admin, admin.username, "postgres"), "hunter2")
        with configured_plugin(replace(database, server=replace(server, port=impostor.port))) as stub:
            urn = "urn:pulumi:dev::test::postgresql:index/database:Database::r"
            read = {"id": "d", "type": "postgresql:index/database:Database", "urn": urn}
            assert "error" in ask(stub, "Read", read)
        assert b"hunter2" not in impostor.got
