"""The application's password changes, and the exported URL is valid at every moment."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from psycopg import sql

from pulumi_embedded.storage.secrets import Crypter
from tests.acceptance.project import PASSPHRASE, Outcome, Project
from tests.conftest import ALL, Database
from tests.postgres.alembic.waiting import until

ROTATIONS = 20 if ALL else 2
EVERY = 0.01 if ALL else 0.05  # seconds
PASSWORD = "pulumi-python:dynamic/taskdb:Password"


class Client:
    """Reads the exported URL from the state and connects with it again and again until the block ends."""

    def __init__(self, project: Project) -> None:
        self._state = project.state
        self._crypter: Crypter | None = None
        self._read: dict[str, str] = {}
        self._done = threading.Event()
        self.connections = 0
        self.logins: list[str] = []
        self.failures: list[str] = []

    def exported(self) -> str:
        """Return the URL that `pulumi stack output app_url` would print now."""
        latest = json.loads(self._state.read_text())["checkpoint"]["latest"]
        self._crypter = self._crypter or Crypter.open(latest["secrets_providers"]["state"]["salt"], PASSPHRASE)
        [root] = [each for each in latest["resources"] if each["type"] == "pulumi:pulumi:Stack"]
        ciphertext = root["outputs"]["app_url"]["ciphertext"]
        if ciphertext not in self._read:
            self._read[ciphertext] = json.loads(self._crypter.decrypt(ciphertext))
        return self._read[ciphertext]

    def run(self) -> None:
        last = False
        while not last:
            # The last connection uses the URL that is exported when the block ends.
            last = self._done.is_set()
            began = time.monotonic()
            try:
                with psycopg.connect(self.exported(), connect_timeout=60) as connection:
                    [user] = connection.execute("SELECT session_user").fetchone() or [""]
                self.connections += 1
                if self.logins[-1:] != [user]:
                    self.logins.append(user)
            except Exception as error:
                self.failures.append(f"{type(error).__name__}: {error}")
            self._done.wait(max(0, EVERY - (time.monotonic() - began)))

    @contextmanager
    def running(self) -> Iterator[Client]:
        thread = threading.Thread(target=self.run)
        thread.start()
        try:
            yield self
        finally:
            self._done.set()
            thread.join()


def choose(project: Project, login: str, *options: str) -> Outcome:
    """Rotate the password: set the other login in the configuration, and update."""
    project.succeed("config", "set", "taskdb:app_login", login)
    return project.up(*options)


def connects(url: str) -> bool:
    try:
        psycopg.connect(url, connect_timeout=60).close()
    except psycopg.OperationalError as error:
        assert "password authentication failed" in str(error)
        return False
    return True


def of_both(project: Project) -> list[tuple[Any, ...]]:
    """Return the groups, settings and attributes of the two logins, which are equal except for the names."""
    query = (
        "SELECT ARRAY(SELECT roleid::regrole::text FROM pg_auth_members WHERE member = r.oid), "
        "ARRAY(SELECT unnest(setconfig) FROM pg_db_role_setting WHERE setrole = r.oid ORDER BY 1), "
        "rolcanlogin, rolinherit, rolconnlimit, rolvaliduntil::text FROM pg_roles r WHERE rolname = ANY(%s)"
    )
    with Database(project.server, "postgres").connect() as admin:
        return admin.execute(query, [[f"{project.name}_app_{login}" for login in "ab"]]).fetchall()


def test_an_update_switches_the_url_and_the_next_retires_the_login(stack: Project, resources: int) -> None:
    a, b = logins = of_both(stack)
    assert a == b and a[0] == [f"{stack.name}_rw"] and "search_path=app" in a[1]
    first = stack.outputs()
    assert first["app_login"] == "a" and f"{stack.name}_app_a:" in first["app_url"]
    preview = stack.succeed("config", "set", "taskdb:app_login", "b") and stack.succeed("preview", "--diff")
    assert "retired" in preview.text and "2 to update" in preview.text
    with Client(stack).running() as client:
        assert "2 updated" in stack.up().text
    assert client.failures == [] and len(client.logins) == 2
    second = stack.outputs()
    assert f"{stack.name}_app_b:" in second["app_url"]
    assert connects(first["app_url"]) and connects(second["app_url"])
    assert "2 updated" in stack.up().text
    assert not connects(first["app_url"]) and connects(second["app_url"])
    assert stack.outputs() == second
    assert of_both(stack) == logins
    assert f"{resources} unchanged" in stack.succeed("preview", "--refresh", "--expect-no-changes").text


@pytest.mark.full
def test_a_client_of_the_exported_url_sees_no_failure(stack: Project) -> None:
    with Client(stack).running() as client:
        for number in range(ROTATIONS):
            choose(stack, "ba"[number % 2])
            # Every other rotation is followed by another at once, which generates the retired password again.
            if number % 4 != 1:
                stack.up()
    assert client.failures == []
    assert client.connections > ROTATIONS * 20
    assert len(client.logins) == ROTATIONS + 1


@pytest.mark.full
def test_a_failed_update_switches_nothing(stack: Project) -> None:
    exported = stack.outputs()["app_url"]
    broken = stack.script(4, "op.execute('ALTER TABLE nowhere ADD x int')")
    stack.succeed("config", "set", "taskdb:app_login", "b")
    for _ in range(2):
        assert stack.pulumi("up", "--yes", "--skip-preview").exit_code != 0
        assert stack.outputs()["app_url"] == exported and connects(exported)
    stack.remove(broken)
    with Client(stack).running() as client:
        stack.up()
    assert client.failures == [] and len(client.logins) == 2
    assert connects(exported)
    stack.up()
    assert not connects(exported)


@pytest.mark.full
def test_a_rotation_that_is_given_up_leaves_the_exported_url_as_it_was(stack: Project) -> None:
    exported = stack.outputs()["app_url"]
    broken = stack.script(4, "op.execute('ALTER TABLE nowhere ADD x int')")
    stack.succeed("config", "set", "taskdb:app_login", "b")
    assert stack.pulumi("up", "--yes", "--skip-preview").exit_code != 0
    stack.remove(broken)
    choose(stack, "a")
    assert stack.outputs()["app_url"] == exported and connects(exported)
    stack.up("--expect-no-changes")


@pytest.mark.full
def test_a_stack_of_before_goes_over_without_a_change(stack: Project, resources: int) -> None:
    """A program before `taskdb:app_login` left no such output, and passwords without turns."""
    url = stack.outputs()["app_url"]
    state = json.loads(stack.succeed("stack", "export").stdout)
    for resource in state["deployment"]["resources"]:
        if resource["type"] == "pulumi:pulumi:Stack":
            del resource["outputs"]["app_login"]
        if resource["type"] == PASSWORD:
            for bag in (resource["inputs"], resource["outputs"]):
                for key in ("login", "use", "__renew", "__keep"):
                    bag.pop(key, None)
    exported = stack.folder / "state.json"
    exported.write_text(json.dumps(state))
    stack.succeed("stack", "import", "--file", str(exported))
    exported.unlink()
    with Client(stack).running() as client:
        assert f"{resources} unchanged" in stack.up().text
        assert stack.outputs()["app_url"] == url and stack.outputs()["app_login"] == "a"
        choose(stack, "b")
    assert client.failures == [] and len(client.logins) == 2 and connects(url)
    stack.up()
    assert not connects(url)


@pytest.mark.full
def test_the_admins_password_may_change_between_updates(project: Project, admin: Any) -> None:
    own = f"own_{project.stack}"
    admin.execute(f"CREATE ROLE {own} LOGIN CREATEROLE CREATEDB PASSWORD 'before'")
    try:
        login = {"PGUSER": own, "PGPASSWORD": "before"}
        project.succeed("up", "--yes", "--skip-preview", **login)
        admin.execute(f"ALTER ROLE {own} PASSWORD 'behind'")
        assert "password authentication failed" in project.pulumi("up", "--yes", **login).text
        login["PGPASSWORD"] = "behind"
        preview = project.succeed("preview", "--json", **login)
        steps = {step["urn"].rpartition("::")[2]: step["op"] for step in json.loads(preview.stdout)["steps"]}
        assert {name: op for name, op in steps.items() if op != "same"} == {"server": "update"}
        project.succeed("up", "--yes", **login)
        project.succeed("preview", "--refresh", "--expect-no-changes", **login)
        project.succeed("destroy", "--yes", **login)
    finally:
        admin.execute(f"DROP ROLE {own}")


@pytest.mark.full
def test_a_login_that_the_server_refuses_gets_a_new_password(live: Project, resources: int) -> None:
    """No catalog shows a password, so only a login shows that the server has another one."""
    project, roles = live, ("reader", "migrator")
    with Database(project.server, "postgres").connect() as admin:
        for role in roles:
            admin.execute(sql.SQL("ALTER ROLE {} PASSWORD 'another'").format(sql.Identifier(f"{project.name}_{role}")))
    preview = project.succeed("preview")
    for role in roles:
        assert f"the server refuses {project.name}_{role} with the password in the state" in preview.text
    assert "20250126_001" not in preview.text, "the plan is for a database that has its revisions"
    project.up()
    outputs = project.outputs()
    assert all(connects(outputs[f"{role}_url"]) for role in roles)
    assert f"{resources} unchanged" in project.succeed("preview", "--refresh", "--expect-no-changes").text


@pytest.mark.full
def test_a_password_whose_update_failed_is_set_by_the_next_update(live: Project, resources: int) -> None:
    """The real plugin records the password anyway, and its next update would change nothing on the server."""
    project = live
    urn = f"urn:pulumi:{project.stack}::taskdb::taskdb:index:Database${PASSWORD}::reader"
    waits = "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
    end = f"SELECT pg_terminate_backend(pid) FROM ({waits}) w WHERE pg_backend_pid() = ANY(pg_blocking_pids(pid))"
    with ThreadPoolExecutor(1) as pool, Database(project.server, "postgres").connect() as admin:
        with admin.transaction():
            lock = "SELECT pg_advisory_xact_lock(oid::bigint) FROM pg_roles WHERE rolname = %s"
            admin.execute(lock, [f"{project.name}_reader"])
            running = pool.submit(project.pulumi, "up", "--yes", "--skip-preview", "--replace", urn)
            until(lambda: bool(admin.execute(end).fetchall()))
        assert running.result().exit_code != 0
    project.up()
    assert connects(project.outputs()["reader_url"])
    assert f"{resources} unchanged" in project.succeed("preview", "--refresh", "--expect-no-changes").text
