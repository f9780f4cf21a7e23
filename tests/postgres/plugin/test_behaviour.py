"""Behaviour that recordings cannot show: simultaneous calls, an end in the middle, and intended differences."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import psycopg
import pytest
from google.protobuf import empty_pb2
from psycopg import sql
from pulumi.runtime.proto import engine_pb2_grpc

from pulumi_embedded.postgresql.configuration import configuration
from pulumi_embedded.postgresql.connection import Server, Work
from pulumi_embedded.postgresql.properties import Change, plan
from pulumi_embedded.postgresql.provider import KINDS
from tests.conftest import verifier
from tests.postgres.plugin.replay import Answer, ask, configured_plugin, plugin

Ask = Callable[[str, dict[str, Any]], Answer]
ROLE, GRANT, SCHEMA, DATABASE, GRANT_ROLE, DEFAULT_PRIVILEGES = (
    f"postgresql:index/{kind[0].lower()}{kind[1:]}:{kind}"
    for kind in ("Role", "Grant", "Schema", "Database", "GrantRole", "DefaultPrivileges")
)
URN = "urn:pulumi:dev::test::{}::r"


def call(kind: str, **request: Any) -> dict[str, Any]:
    """Return a request about one resource of this kind."""
    return {"urn": URN.format(kind), "type": kind, "name": "r"} | request


def wait_until(condition: Callable[[], bool]) -> None:
    """Return when `condition` holds. Fail after ten seconds."""
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "what was waited for did not happen"
        time.sleep(0.02)


@pytest.fixture
def configured(database: Any) -> Iterator[Ask]:
    """Run a plugin process that is configured for the test's database, and yield a function that calls it."""
    with configured_plugin(database) as stub:
        yield lambda method, request: ask(stub, method, request)


@pytest.fixture
def new_role(database: Any) -> Iterator[Callable[..., str]]:
    """Yield a function that creates roles of the test's own, which are dropped after it."""
    made: list[str] = []
    with database.connect() as admin:

        def make(options: str = "") -> str:
            made.append(f"t_{secrets.token_hex(6)}")
            admin.execute(sql.SQL("CREATE ROLE {} " + options).format(sql.Identifier(made[-1])))
            return made[-1]

        yield make
        for name in made:
            if admin.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [name]).fetchone():
                admin.execute(
                    sql.SQL("GRANT {0} TO CURRENT_USER; DROP OWNED BY {0}; DROP ROLE {0}").format(sql.Identifier(name))
                )


def grant(database: str, role: str, *privileges: str) -> dict[str, Any]:
    """Return the inputs of a Grant on a database."""
    return {"database": database, "objectType": "database", "role": role, "privileges": list(privileges)}


def test_changes_of_rights_that_come_at_once_all_succeed(configured: Ask, database: Any, new_role: Any) -> None:
    """PostgreSQL answers concurrent changes of one access list with "tuple concurrently updated"."""
    roles = [new_role() for _ in range(12)]
    common = {"database": database.name, "objectType": "schema", "schema": "public", "privileges": ["CREATE"]}
    requests = [call(GRANT, properties=common | {"role": role}) for role in roles]
    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(lambda request: configured("Create", request), requests))
    assert [answer.get("error") for answer in answers] == [None] * 12
    with database.connect() as admin:
        held = [admin.execute("SELECT has_schema_privilege(%s, 'public', 'CREATE')", [role]) for role in roles]
        assert [cursor.fetchone() for cursor in held] == [(True,)] * 12


def test_cancel_ends_what_runs_and_refuses_what_comes(configured: Ask, database: Any, new_role: Any) -> None:
    """A call that waits for another session's lock ends with an error, and has changed nothing."""
    role = new_role()
    create = call(GRANT, properties=grant(database.name, role, "CREATE"))
    with database.connect() as other, database.connect() as admin, ThreadPoolExecutor(1) as pool:
        other.execute("SELECT pg_advisory_lock(oid::bigint) FROM pg_roles WHERE rolname = %s", [role])
        running = pool.submit(configured, "Create", create)
        waiting = "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND database = "
        own = "(SELECT oid FROM pg_database WHERE datname = current_database())"
        wait_until(lambda: admin.execute(waiting + own).fetchone() is not None)
        assert configured("Cancel", {}) == {"response": {}}
        assert "canceling statement due to user request (57014)" in running.result()["error"]["message"]
        granted = admin.execute("SELECT has_database_privilege(%s, current_database(), 'CREATE')", [role])
        assert granted.fetchone() == (False,)
    assert "the operation was cancelled" in configured("Create", create)["error"]["message"]


def test_a_password_that_is_a_verifier_is_stored_as_it_is(configured: Ask, database: Any) -> None:
    name = f"{database.name}_login"
    properties = {"name": name, "password": verifier("correct horse"), "login": True}
    assert "response" in configured("Create", call(ROLE, properties=properties))
    database.connect(user=name, password="correct horse").close()


def test_the_password_that_a_role_gets_is_the_one_given(configured: Ask, database: Any, new_role: Any) -> None:
    r"""The real plugin doubles backslashes (facts of pulumi-postgresql 3.18)."""
    name, password = f"t_{secrets.token_hex(6)}", r"a\b'c\\"
    properties = {"name": name, "login": True, "password": password}
    assert "response" in configured("Create", call(ROLE, properties=properties))
    with database.connect(user=name, password=password) as login:
        assert login.execute("SELECT current_user").fetchone() == (name,)
    assert configured("Delete", call(ROLE, id=name, properties=properties)) == {"response": {}}


def test_the_server_never_learns_the_password_not_even_its_log(make_cluster: Any) -> None:
    made = make_cluster({"log_statement": "all"})
    login = made.server
    args = {"host": login.host, "port": str(login.port), "username": login.username, "password": login.password}
    name = {"name": "r", "login": True}
    with plugin() as stub:
        ask(stub, "Configure", {"args": args | {"sslmode": "disable", "superuser": "false"}})
        created = ask(stub, "Create", call(ROLE, properties=name | {"password": "hunter2"}))
        state = created["response"]["properties"]
        ask(stub, "Update", call(ROLE, id="r", olds=state, news=name | {"password": "hunter3"}))
    psycopg.connect(host=login.host, port=login.port, user="r", password="hunter3", dbname="postgres").close()
    log = made.cluster.log.read_text()
    assert "CREATE ROLE" in log and "ALTER ROLE" in log
    assert "hunter" not in log


def test_no_error_says_the_password(configured: Ask, new_role: Any) -> None:
    """This includes the role's password and the password of the provider's login."""
    properties = {"name": new_role(), "password": "hunter2", "login": True}
    answer = configured("Create", call(ROLE, properties=properties))
    assert "already exists" in answer["error"]["message"]
    assert "hunter2" not in str(answer)


def failed(answer: Answer) -> dict[str, Any]:
    """Return the outputs that a failed update leaves, without their wrappers."""
    properties: dict[str, Any] = answer["error"]["details"][0]["value"]["properties"]
    return {
        key: value["value"] if isinstance(value, dict) else value
        for key, value in properties.items()
        if key != "__pulumi_raw_state_delta"
    }


def test_an_update_that_fails_half_way_changes_nothing_and_says_so(
    configured: Ask, database: Any, new_role: Any
) -> None:
    """If a membership cannot be granted, a rename and an attribute are rolled back.

    The answer contains the server's state.
    """
    name = new_role()
    olds, news = {"name": name}, {"name": f"{name}_2", "createDatabase": True, "roles": ["t_nobody_at_all"]}
    answer = configured("Update", call(ROLE, id=name, olds=olds, news=news))
    assert "could not grant role t_nobody_at_all" in answer["error"]["message"]
    left = failed(answer)
    assert (left["name"], left["id"], left["createDatabase"]) == (name, name, False)
    with database.connect() as admin:
        found = admin.execute("SELECT rolname, rolcreatedb FROM pg_roles WHERE rolname LIKE %s", [f"{name}%"])
        assert found.fetchall() == [(name, False)]


def test_a_password_whose_update_failed_is_set_by_the_next_update(
    configured: Ask, database: Any, new_role: Any
) -> None:
    """No catalog shows a password.

    After the failure the state has null, and null differs from the requested password.
    """
    name = new_role("LOGIN PASSWORD 'old'")
    inputs = {"name": name, "login": True, "password": "old"}
    news = inputs | {"password": "new"}
    failing = news | {"roles": ["t_nobody_at_all"]}
    left = failed(configured("Update", call(ROLE, id=name, olds=inputs, oldInputs=inputs, news=failing)))
    assert left["password"] is None
    for wanted in (news, inputs):
        again = call(ROLE, id=name, olds=left, oldInputs=inputs, news=wanted)
        assert "password" in configured("Diff", again)["response"]["diffs"]
        assert "response" in configured("Update", again)
        database.connect(user=name, password=wanted["password"]).close()


def test_what_the_real_plugin_records_of_a_failed_update_is_not_believed(
    configured: Ask, database: Any, new_role: Any
) -> None:
    """The real plugin records the planned outputs. The engine keeps the inputs of the last success, and calls again."""
    name = new_role("LOGIN PASSWORD 'old'")
    inputs = {"name": name, "login": True, "password": "old"}
    recorded = inputs | {"password": "new", "connectionLimit": 3, "id": name}
    news = inputs | {"password": "new", "connectionLimit": 3}
    read = configured("Read", call(ROLE, id=name, inputs=inputs, properties=recorded))["response"]
    assert "password" not in read["inputs"] and read["properties"]["connectionLimit"] == -1
    again = call(ROLE, id=name, olds=recorded, oldInputs=inputs, news=news)
    diff = configured("Diff", again)["response"]["diffs"]
    assert "password" in diff and "connectionLimit" not in diff
    first = configured("Update", again)["response"]["properties"]
    assert first["connectionLimit"] == -1, "the limit, which no preview showed, is for the next update"
    database.connect(user=name, password="new").close()


def test_an_update_without_a_difference_does_what_a_failed_one_had_left(
    configured: Ask, database: Any, new_role: Any
) -> None:
    """The engine calls such an update only after a failure, which the real plugin records as if it had succeeded."""
    name = new_role()
    inputs = {"name": name, "connectionLimit": -1, "encryptedPassword": True, "inherit": True, "validUntil": "infinity"}
    news = inputs | {"connectionLimit": 3}
    configured("Update", call(ROLE, id=name, olds=news | {"id": name}, oldInputs=inputs, news=news))
    with database.connect() as admin:
        limit = admin.execute("SELECT rolconnlimit FROM pg_roles WHERE rolname = %s", [name])
        assert limit.fetchone() == (3,)


@pytest.mark.parametrize("kind", [ROLE, DATABASE])
def test_a_resource_is_what_its_id_names_whatever_a_failed_rename_recorded(
    kind: str, configured: Ask, database: Any, new_role: Any
) -> None:
    """The real plugin, and earlier versions of ours, recorded the planned name, which another resource can have."""
    mine, others = new_role(), new_role()
    with database.connect() as admin:
        if kind == DATABASE:
            for name in (mine, others):
                admin.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name)))
        objects = "SELECT oid, rolname FROM pg_roles UNION ALL SELECT oid, datname FROM pg_database"
        # Other tests of the run have their own objects.
        query = f"SELECT * FROM ({objects}) n (oid, name) WHERE name = ANY(%s) ORDER BY oid"
        before = admin.execute(query, [[mine, others]]).fetchall()
        recorded = {"name": others, "id": mine}
        read = configured("Read", call(kind, id=mine, inputs={"name": mine}, properties=recorded))["response"]
        assert (read["id"], read["properties"]["name"], read["inputs"]["name"]) == (mine, mine, mine)
        step = call(kind, id=mine, olds=recorded, oldInputs={"name": mine}, news={"name": others})
        assert "name" in configured("Diff", step)["response"]["diffs"]
        refused = configured("Update", step)
        assert "already exists" in refused["error"]["message"]
        assert failed(refused)["name"] == failed(refused)["id"] == mine
        assert admin.execute(query, [[mine, others]]).fetchall() == before
        assert configured("Delete", call(kind, id=mine, properties=recorded)) == {"response": {}}
        gone = [
            configured("Read", call(kind, id=name, properties={"name": name})) == {"response": {}}
            for name in (mine, others)
        ]
        assert gone == [True, False]
        if kind == DATABASE:
            admin.execute(sql.SQL("DROP DATABASE {}").format(sql.Identifier(others)))


def replace(configured: Ask, kind: str, old: dict[str, Any], change: dict[str, Any]) -> bool:
    """Create a resource, replace it in the order that Diff requests, and return whether it exists afterwards."""
    made = configured("Create", call(kind, properties=old))["response"]
    diff = configured(
        "Diff", call(kind, id=made["id"], olds=made["properties"], oldInputs=old, news={**old, **change})
    )["response"]
    assert diff["replaces"] == list(change)
    steps = [
        ("Create", call(kind, properties={**old, **change})),
        ("Delete", call(kind, id=made["id"], properties=made["properties"])),
    ]
    answers = [configured(*step) for step in (reversed(steps) if diff.get("deleteBeforeReplace") else steps)]
    new = next(answer["response"] for answer in answers if answer["response"])
    read = call(kind, id=new["id"], properties=new["properties"], inputs={**old, **change})
    return bool(configured("Read", read)["response"].get("id"))


@pytest.mark.parametrize("before", [False, True])
def test_what_only_changes_its_option_is_there_afterwards(
    before: bool, configured: Ask, database: Any, new_role: Any
) -> None:
    """The real plugin creates first, and its delete then revokes the new grant."""
    role, group = new_role(), new_role()
    member = {"role": role, "grantRole": group, "withAdminOption": before}
    assert replace(configured, GRANT_ROLE, member, {"withAdminOption": not before})
    rights = {"role": role, "owner": group, "database": database.name, "objectType": "table", "privileges": ["SELECT"]}
    assert replace(
        configured, DEFAULT_PRIVILEGES, {**rights, "withGrantOption": before}, {"withGrantOption": not before}
    )


def test_what_becomes_another_s_is_created_before_the_former_goes(configured: Ask, new_role: Any) -> None:
    role, other, group = new_role(), new_role(), new_role()
    old = {"role": role, "grantRole": group, "withAdminOption": False}
    news = {"role": other, "grantRole": group, "withAdminOption": True}
    diff = configured("Diff", call(GRANT_ROLE, id="x", olds=old, oldInputs=old, news=news))["response"]
    assert diff["replaces"] == ["role", "withAdminOption"] and not diff.get("deleteBeforeReplace")


def test_a_database_that_cannot_be_dropped_takes_connections_again(configured: Ask, database: Any) -> None:
    """The plugin closes the database before the drop. The state of a database that stays says that it is open."""
    name = f"t_{secrets.token_hex(6)}"
    created = configured("Create", call(DATABASE, properties={"name": name, "allowConnections": True}))["response"]
    with database.connect() as admin:
        admin.execute(sql.SQL("ALTER DATABASE {} OWNER TO CURRENT_USER").format(sql.Identifier(name)))
        properties = created["properties"] | {"owner": "t_nobody_at_all"}
        assert "error" in configured("Delete", call(DATABASE, id=name, properties=properties))
        with database.connect(dbname=name) as blocking:
            blocking.execute("SELECT 1")
            prepared = "SELECT datallowconn FROM pg_database WHERE datname = %s"
            assert admin.execute(prepared, [name]).fetchone() == (True,)
    assert configured("Delete", call(DATABASE, id=name, properties=created["properties"])) == {"response": {}}


def test_an_error_says_what_the_server_says_in_detail(configured: Ask, database: Any, new_role: Any) -> None:
    """Only the DETAIL names the objects that depend on a role."""
    name = new_role()
    with database.connect() as admin:
        admin.execute(sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(*map(sql.Identifier, (database.name, name))))
    properties = {"name": name, "skipReassignOwned": True}
    message = configured("Delete", call(ROLE, id=name, properties=properties))["error"]["message"]
    assert "cannot be dropped because some objects depend on it (2BP01)\n\t  DETAIL: privileges for database" in message


class Heard(engine_pb2_grpc.EngineServicer):
    """An engine that records the messages that it must show."""

    def __init__(self) -> None:
        self.messages: list[tuple[str, int, str]] = []

    def Log(self, request: Any, context: Any) -> empty_pb2.Empty:  # noqa: N802
        self.messages.append((request.urn, request.severity, request.message))
        return empty_pb2.Empty()


def test_a_warning_of_the_server_is_shown_and_is_no_success(database: Any, new_role: Any) -> None:
    """The admin has no right on the schema of a superuser, so its REVOKE and GRANT only print warnings."""
    role, engine = new_role(), Heard()
    server = grpc.server(ThreadPoolExecutor(1))
    engine_pb2_grpc.add_EngineServicer_to_server(engine, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    properties = {"database": database.name, "schema": "pg_catalog", "objectType": "table", "objects": ["pg_class"]}
    properties |= {"role": role, "privileges": ["INSERT"]}
    with configured_plugin(database, f"127.0.0.1:{port}") as stub:
        created = ask(stub, "Create", call(GRANT, properties=properties))
    server.stop(0)
    assert [(urn, severity) for urn, severity, _ in engine.messages] == [(URN.format(GRANT), 2)] * len(engine.messages)
    assert any("no privileges were granted" in message for _, _, message in engine.messages), (created, engine.messages)
    assert created["response"]["properties"]["privileges"] == []


def test_wrapped_secrets_in_the_state_are_understood(configured: Ask, new_role: Any) -> None:
    """This includes a wrapped null, which the real plugin refuses as "malformed RPC secret"."""
    signature = {"4dabf18193072939515e22adb298388d": "1b47061264138c4ac30d75fd1eb44270"}
    news = {"name": "r", "password": "x", "inherit": False, "encryptedPassword": False, "connectionLimit": 0}
    news |= {"validUntil": ""}
    olds = news | {"password": signature | {"value": "x"}, "passwordWo": signature | {"value": None}}
    answer = configured("Diff", call(ROLE, id="r", olds=olds, news=news))
    assert answer["response"]["changes"] == "DIFF_NONE"


@pytest.mark.parametrize("name", ["f(int); DROP TABLE t", "f(int) TO x --", "f('x')"])
def test_a_function_s_argument_types_cannot_end_the_statement(name: str, configured: Ask, database: Any) -> None:
    """The argument types are the only part of a statement that cannot be quoted."""
    properties = {
        "database": database.name, "schema": "public", "objectType": "function", "objects": [name],
        "role": "public", "privileges": ["EXECUTE"],
    }  # fmt: skip
    message = configured("Create", call(GRANT, properties=properties))["error"]["message"]
    assert "must be the name of a function with its argument types" in message


def test_a_search_path_that_the_server_would_read_as_two_is_refused(configured: Ask, database: Any) -> None:
    name = f"{database.name}_reader"
    answer = configured("Create", call(ROLE, properties={"name": name, "searchPaths": ["a, b"]}))
    assert "search_path cannot contain `, `: a, b" in answer["error"]["message"]
    with database.connect() as admin:
        assert admin.execute("SELECT FROM pg_roles WHERE rolname = %s", [name]).fetchone() is None


def test_privileges_on_one_of_two_functions_of_a_name(configured: Ask, database: Any, new_role: Any) -> None:
    """An overloaded function is named with its argument types."""
    role = new_role()
    with database.connect() as admin:
        for arguments in ("integer", "text"):
            admin.execute(f"CREATE FUNCTION public.twice({arguments}) RETURNS int LANGUAGE sql AS 'SELECT 1'")
        admin.execute("REVOKE ALL ON ALL FUNCTIONS IN SCHEMA public FROM public")
        properties = {
            "database": database.name, "schema": "public", "objectType": "function", "objects": ["twice(text)"],
            "role": role, "privileges": ["EXECUTE"],
        }  # fmt: skip
        assert "response" in configured("Create", call(GRANT, properties=properties))
        rights = "SELECT has_function_privilege(%s, 'public.twice(int)', 'EXECUTE'), "
        rights += "has_function_privilege(%s, 'public.twice(text)', 'EXECUTE')"
        assert admin.execute(rights, [role, role]).fetchone() == (False, True)


def test_an_argument_type_without_a_schema_is_found_in_public(configured: Ask, database: Any, new_role: Any) -> None:
    with database.connect() as admin:
        admin.execute("CREATE TYPE public.mood AS ENUM ('good'); CREATE SCHEMA tools")
        admin.execute("CREATE FUNCTION tools.cheer(public.mood) RETURNS int LANGUAGE sql AS 'SELECT 1'")
        admin.execute("REVOKE ALL ON ALL FUNCTIONS IN SCHEMA tools FROM public")
        properties = {
            "database": database.name, "schema": "tools", "objectType": "function", "objects": ["cheer(mood)"],
            "role": (role := new_role()), "privileges": ["EXECUTE"],
        }  # fmt: skip
        answer = configured("Create", call(GRANT, properties=properties))
        assert "response" in answer, answer
        rights = "SELECT has_function_privilege(%s, 'tools.cheer(public.mood)', 'EXECUTE')"
        assert admin.execute(rights, [role]).fetchone() == (True,)


def test_public_is_in_the_search_path_of_that_statement_only(
    database: Any, new_role: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A later statement of the transaction finds no object that another role created in public."""
    paths: list[str] = []
    run = Work.run

    def followed(work: Work, *statement: Any, **what: str) -> None:
        run(work, *statement, **what)
        paths.append(work.rows("SHOW search_path")[0][0])

    monkeypatch.setattr(Work, "run", followed)
    with database.connect() as admin:
        admin.execute("CREATE FUNCTION public.f(int) RETURNS int LANGUAGE sql AS 'SELECT 1'")
    login = database.parameters
    given = {"host": login["host"], "port": str(login["port"]), "username": login["user"], "sslmode": "disable"}
    server = Server(configuration(given | {"password": login["password"], "database": database.name}))
    properties = {"database": database.name, "schema": "public", "objectType": "function", "objects": ["f(int)"]}
    properties |= {"role": new_role(), "privileges": ["EXECUTE"]}
    kind = KINDS[GRANT]
    with server.session() as session:
        kind.create(session, Change(kind.schema, {}, properties))
    assert {path.replace(" ", "") for path in paths} == {"pg_catalog,pg_temp"}


def test_a_role_that_is_renamed_gets_its_password_again(
    database: Any, new_role: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server deletes a password whose MD5 hash contains the former name."""
    statements: list[str] = []
    run = Work.run

    def followed(work: Work, statement: str, *parts: Any, what: str = "") -> None:
        statements.append(statement)
        run(work, statement, *parts, what=what)

    monkeypatch.setattr(Work, "run", followed)
    login, kind, name = database.parameters, KINDS[ROLE], new_role("LOGIN PASSWORD 'same'")
    given = {"host": login["host"], "port": str(login["port"]), "username": login["user"], "sslmode": "disable"}
    server = Server(configuration(given | {"password": login["password"], "superuser": "false"}))
    old = plan(kind.schema, None, {"name": name, "login": True, "password": "same"})
    with server.session() as session:
        kind.update(session, name, Change(kind.schema, old, old | {"name": f"{name}_2"}))
        kind.update(session, name, Change(kind.schema, old | {"name": f"{name}_2"}, old))
    renamed = [statement for statement in statements if "RENAME" in statement or "PASSWORD" in statement]
    assert len(renamed) == 4 and all("PASSWORD" in statement for statement in renamed[1::2]), statements


def test_a_grant_on_a_table_leaves_the_grants_on_its_columns(configured: Ask, database: Any, new_role: Any) -> None:
    role = new_role()
    with database.connect() as admin:
        admin.execute("CREATE SCHEMA app; CREATE TABLE app.t (a int, b int)")
        table = {"database": database.name, "schema": "app", "objects": ["t"], "role": role}
        column = table | {"objectType": "column", "columns": ["a"], "privileges": ["UPDATE"]}
        assert "response" in configured("Create", call(GRANT, properties=column))
        whole = table | {"objectType": "table", "privileges": ["SELECT"]}
        created = configured("Create", call(GRANT, properties=whole))["response"]
        assert configured("Delete", call(GRANT, id=created["id"], properties=whole)) == {"response": {}}
        rights = "SELECT has_column_privilege(%s, 'app.t', 'a', 'UPDATE'), has_table_privilege(%s, 'app.t', 'SELECT')"
        assert admin.execute(rights, [role, role]).fetchone() == (True, False)


def test_policies_of_a_schema_are_refused_by_name(configured: Ask, database: Any) -> None:
    """Only the real plugin has this deprecated property. The error names the replacement."""
    properties = {"name": "s", "database": database.name, "policies": [{"role": "public", "usage": True}]}
    message = configured("Create", call(SCHEMA, properties=properties))["error"]["message"]
    assert message.count("schema s: ") == 1 and "the deprecated property policies" in message
    assert "postgresql.Grant" in message


@pytest.mark.parametrize("held", ["role", "member", "database"])
@pytest.mark.parametrize("method", ["Create", "Update", "Delete"])
def test_each_change_of_rights_waits_for_another_plugin(
    method: str, held: str, configured: Ask, database: Any, new_role: Any
) -> None:
    """The lock is that of the role, of each of its members, and of the database."""
    names = {"role": (role := new_role()), "member": new_role(f"IN ROLE {role}"), "database": database.name}
    made = configured("Create", call(GRANT, properties=grant(database.name, role, "CONNECT")))["response"]
    request = {
        "Create": {"properties": grant(database.name, role, "CREATE")},
        "Update": {
            "id": made["id"], "olds": made["properties"], "oldInputs": grant(database.name, role, "CONNECT"),
            "news": grant(database.name, role, "CREATE"),
        },
        "Delete": {"id": made["id"], "properties": made["properties"]},
    }[method]  # fmt: skip
    waiting = "SELECT FROM pg_locks JOIN pg_database d ON d.oid = database WHERE NOT granted AND datname = %s"
    catalog = "pg_database WHERE datname" if held == "database" else "pg_roles WHERE rolname"
    with ThreadPoolExecutor(1) as pool:
        with database.connect() as other:
            other.execute(f"SELECT pg_advisory_lock(oid::bigint) FROM {catalog} = %s".encode(), [names[held]])
            running = pool.submit(configured, method, call(GRANT, **request))
            wait_until(lambda: running.done() or other.execute(waiting, [database.name]).fetchone() is not None)
            assert not running.done()
        assert "response" in running.result(30)


def test_a_database_that_cannot_be_created_leaves_no_membership_in_its_owner(
    configured: Ask, database: Any, new_role: Any
) -> None:
    """CREATE DATABASE runs in no transaction that would undo it."""
    owner = new_role()
    answer = configured("Create", call(DATABASE, properties={"name": database.name, "owner": owner}))
    assert "already exists" in answer["error"]["message"]
    members = "SELECT FROM pg_auth_members WHERE roleid = %s::regrole AND member = current_user::regrole"
    with database.connect() as admin:
        set_option = " AND set_option" if admin.info.server_version >= 160000 else ""
        assert admin.execute((members + set_option).encode(), [owner]).fetchone() is None


@pytest.mark.full
def test_a_refresh_waits_for_no_change(configured: Ask, database: Any, new_role: Any) -> None:
    """In the real plugin, refreshes of two owners' default privileges deadlock (pulumi-postgresql 897)."""
    role = new_role()
    with database.connect() as other:
        other.execute("SELECT pg_advisory_lock(oid::bigint) FROM pg_roles WHERE rolname = %s", [role])
        state = grant(database.name, role, "CONNECT")
        answer = configured("Read", call(GRANT, id="x", inputs=state, properties=state))
    assert answer["response"]["inputs"]["privileges"] == []


def start() -> subprocess.Popen[str]:
    """Start a plugin process, and return when it has printed its port."""
    command = [sys.executable, "-m", "pulumi_embedded.postgresql", "127.0.0.1:1"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline().strip().isdigit()
    return process


def test_the_process_ends_when_it_is_told_to() -> None:
    """SIGTERM ends the process. SIGINT does not, because a terminal sends it to the engine's plugins too."""
    with start() as process:
        process.send_signal(signal.SIGINT)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.3)
        process.terminate()
        assert process.wait(10) == 0


def test_the_process_does_not_outlive_its_engine() -> None:
    """A killed engine leaves no plugin behind."""
    script = "import subprocess, sys\np = subprocess.Popen(sys.argv[1:], stdout=subprocess.PIPE)\n"
    script += "p.stdout.readline()\nprint(p.pid)"
    command = [sys.executable, "-m", "pulumi_embedded.postgresql", "127.0.0.1:1"]
    engine = subprocess.run([sys.executable, "-c", script, *command], capture_output=True, text=True, check=True)
    wait_until(lambda: not is_alive(int(engine.stdout)))


def is_alive(pid: int) -> bool:
    """Return whether a process with this number runs. A zombie does not run."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout
    return not state.startswith("Z") and bool(state)
