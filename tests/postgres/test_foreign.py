"""A server that already has the roles of a stack is detected if the stack's state does not contain them."""

import json
import secrets
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from taskdb.errors import TaskdbError
from taskdb.foreign import refuse_foreign
from taskdb.settings.admin import Admin
from tests.conftest import Database

ADMIN = Admin("db.example.org", 5432, "admin", "secret", "disable")
STACK = {"type": "pulumi:pulumi:Stack", "urn": "urn:pulumi:dev::taskdb::pulumi:pulumi:Stack::taskdb-dev"}
ROLE = {"type": "postgresql:index/role:Role", "urn": "urn:pulumi:dev::taskdb::postgresql:index/role:Role::owner"}


@pytest.fixture
def name(database: Database) -> Iterator[str]:
    """Yield the name of a database whose owner exists on the server."""
    name = f"shop{secrets.token_hex(4)}_dev"
    owner = sql.Identifier(f"{name}_owner")
    with database.connect() as admin:
        admin.execute(sql.SQL("CREATE ROLE {}").format(owner))
        yield name
        admin.execute(sql.SQL("DROP ROLE {}").format(owner))


@pytest.fixture
def connection(database: Database) -> Iterator[psycopg.Connection]:
    with database.connect() as connection:
        yield connection


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("PULUMI_BACKEND_URL", raising=False)
    return tmp_path / "dev.json"


def write(state: Path, *resources: dict[str, str]) -> None:
    state.write_text(json.dumps({"version": 3, "checkpoint": {"latest": {"resources": list(resources)}}}))


@pytest.mark.few(2)
@pytest.mark.parametrize("text", ['{"checkpoint": {"stack": "dev"}}', '{"checkpoint": {"latest": null}}', None])
@pytest.mark.parametrize("local", [True, False])
def test_roles_that_an_empty_state_does_not_know_are_named_with_what_to_do(
    connection: psycopg.Connection, name: str, state: Path, text: str | None, local: bool
) -> None:
    write(state, STACK)
    if text:
        state.write_text(text)
    with pytest.raises(TaskdbError) as caught:
        refuse_foreign(connection, replace(ADMIN, local=local), name, state)
    lines = str(caught.value).splitlines()
    assert f"has the role {name}_owner already" in lines[0]
    # The first command loses nothing. The only command that deletes is for a development server.
    assert lines[2].strip().startswith("pulumi config set taskdb:adopt true --stack")
    assert [each.strip() for each in lines[4:]] == (["taskdb server remove"] if local else [])


def test_a_stack_that_has_resources_has_its_roles(connection: psycopg.Connection, name: str, state: Path) -> None:
    write(state, STACK, ROLE)
    refuse_foreign(connection, ADMIN, name, state)


def test_a_new_stack_on_a_server_of_others_is_none_of_theirs(
    connection: psycopg.Connection, name: str, state: Path
) -> None:
    write(state)
    refuse_foreign(connection, ADMIN, name.partition("_")[0], state)


def test_of_another_backend_nothing_is_known(
    connection: psycopg.Connection, name: str, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse_foreign(connection, ADMIN, name, state)
    write(state)
    monkeypatch.setenv("PULUMI_BACKEND_URL", "file:///elsewhere")
    refuse_foreign(connection, ADMIN, name, state)
