"""The connection of the postgresql plugin is cut at a statement of a create, an update or a delete.

After the failed update the state matches the server. The next `up` succeeds, the login logs in, a refresh finds
nothing, and no membership is left over. The tests run a draw of the faults, and `make test-all` runs all of them.
"""

from __future__ import annotations

import random
import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pulumi
import pulumi_postgresql as postgresql
import pytest

from pulumi_embedded.testing import Engine, Secret, UnexpectedResult
from taskdb.local import Server
from tests.conftest import Database
from tests.faults.conftest import ALL, Count
from tests.faults.striking import Striker

SEED = 14
DRAWN = 2
SHARES = 16 if ALL else 1
VERBS = ("create", "update", "delete")
MOMENTS = ("before", "after")

MEMBERSHIPS = """
SELECT member::regrole::text, roleid::regrole::text FROM pg_auth_members
WHERE starts_with(roleid::regrole::text, %(name)s) AND grantor <> 10 ORDER BY 1, 2
"""
PRESENT = """
SELECT rolname::text FROM pg_roles WHERE starts_with(rolname, %(name)s)
UNION ALL SELECT datname::text FROM pg_database WHERE starts_with(datname, %(name)s) ORDER BY 1
"""


@dataclass
class Program:
    """Every type of resource of the plugin. `verb` is the operation of the next update."""

    name: str
    admin: str
    verb: str = "create"
    passwords: dict[str, str] = field(default_factory=dict)

    def __call__(self) -> None:
        if self.verb == "delete":
            return
        changed = self.verb == "update"
        self.passwords = {"create": {"login": "old", "lone": "old"}, "update": {"login": "new", "lone": "new"}}[
            self.verb
        ]
        last: list[pulumi.Resource] = []

        def add(kind: Callable[..., Any], logical: str, ignore: Sequence[str] = (), **arguments: Any) -> Any:
            options = pulumi.ResourceOptions(depends_on=list(last), ignore_changes=list(ignore))
            last[:] = [kind(logical, opts=options, **arguments)]
            return last[0]

        owner = add(postgresql.Role, "owner", name=f"{self.name}_owner").name
        group = add(postgresql.Role, "group", name=f"{self.name}_group").name
        login = add(
            postgresql.Role,
            "login",
            name=f"{self.name}_login",
            login=True,
            password=self.passwords["login"],
            roles=[group],
            search_paths=["app"],
            statement_timeout=2000 if changed else 1000,
            connection_limit=7 if changed else 5,
        ).name
        add(
            postgresql.Role,
            "lone",
            name=f"{self.name}_{'renamed' if changed else 'lone'}",
            login=True,
            password=self.passwords["lone"],
        )
        # From 16 on the creator of a role is a member with the admin option, which a refresh reads as a change.
        add(postgresql.GrantRole, "membership", role=self.admin, grant_role=login, ignore=["withAdminOption"])
        database = add(postgresql.Database, "database", name=self.name, connection_limit=20 if changed else 10).name
        # A database of another role. The plugin becomes a member of that role, and leaves it again.
        add(postgresql.Database, "owned", name=f"{self.name}_owned", owner=owner)
        add(
            postgresql.Database,
            "moved",
            name=f"{self.name}_{'moved' if changed else 'made'}",
            connection_limit=20 if changed else 10,
        )
        add(postgresql.Schema, "app", name="app", database=database, owner=owner)
        add(postgresql.Schema, "extra", name="extra2" if changed else "extra", database=database)
        add(
            postgresql.Extension,
            "pgcrypto",
            name="pgcrypto",
            database=database,
            schema="extra2" if changed else "extra",
        )
        privileges = ["CONNECT", "TEMPORARY"] if changed else ["CONNECT"]
        add(postgresql.Grant, "connect", database=database, role=login, object_type="database", privileges=privileges)
        add(postgresql.Grant, "public", database=database, role="public", object_type="database", privileges=[])
        usage = ["CREATE", "USAGE"] if changed else ["USAGE"]
        add(
            postgresql.Grant,
            "usage",
            database=database,
            role=group,
            object_type="schema",
            schema="app",
            privileges=usage,
        )
        tables = ["SELECT", "INSERT"] if changed else ["SELECT"]
        add(
            postgresql.DefaultPrivileges,
            "tables",
            database=database,
            owner=owner,
            role=group,
            schema="app",
            object_type="table",
            privileges=tables,
        )


class Stack:
    """A stack of `Program` on the run's server, connected through the striker."""

    def __init__(self, folder: Path, server: Server, striker: Striker) -> None:
        self.server, self.striker = server, striker
        self.program = Program(f"p_{secrets.token_hex(5)}", server.username)
        self.engine = Engine(folder)
        self.engine.program = self.program
        self.engine.config = {
            "postgresql:host": striker.host,
            "postgresql:port": striker.port,
            "postgresql:username": server.username,
            "postgresql:password": Secret(server.password),
            "postgresql:sslmode": "disable",
            "postgresql:superuser": False,
        }

    def run(self, verb: str) -> list[str]:
        """Run an undisturbed update, and return its statements."""
        self.program.verb = verb
        self.striker.statements.clear()
        self.engine.up()
        return list(self.striker.statements)

    def survives(self, verb: str, moment: str, number: int) -> str | None:
        """Return an empty text if all is well after the fault and one more update, otherwise the problem.

        None without a fault.
        """
        self.program.verb = verb
        striker = self.striker
        striker.statements.clear()
        striker.struck, striker.moment = "", moment
        striker.planned = lambda statements: len(statements) == number
        try:
            self.engine.up(expect_failure=True)
            failed = True
        except UnexpectedResult:
            # The plugin detected that the step had been done.
            failed = False
        finally:
            striker.planned = lambda statements: False
        if not striker.struck:
            return None
        at = f"{verb}, cut {moment} statement {number}, {striker.struck[:70]!r}"
        if failed:
            found = self._against_the_server()
            if found:
                return f"{at}: after the failure {found}"
        try:
            self.engine.up()
        except UnexpectedResult as error:
            return f"{at}: the next update failed: {error}"
        return "".join(f"{at}: {found}" for found in self._after())

    def _against_the_server(self) -> str:
        """Return the names in the state whose objects do not exist on the server, as a problem."""
        with Database(self.server, "postgres").connect() as admin:
            present = {name for (name,) in admin.execute(PRESENT, {"name": self.program.name})}
        stated = {
            resource.outputs["name"]
            for resource in self.engine.resources
            if resource.type.endswith((":Role", ":Database"))
        }
        return f"the state has {sorted(map(str, stated - present))}, which are not there" if stated - present else ""

    def _after(self) -> Iterator[str]:
        refreshed = self.engine.refresh()
        if set(refreshed.changes) - {"same"}:
            yield f"a refresh finds {[(step.urn, step.op, step.diff) for step in refreshed.steps if step.op != 'same']}"
        if self.engine.preview().has_changes:
            yield "the preview after it has changes"
        name = self.program.name
        with Database(self.server, "postgres").connect() as admin:
            memberships = admin.execute(MEMBERSHIPS, {"name": name}).fetchall()
            present = [found for (found,) in admin.execute(PRESENT, {"name": name})]
        if self.program.verb == "delete":
            if present:
                yield f"{present} are still there"
            return
        if memberships != sorted([(f"{name}_login", f"{name}_group"), (self.server.username, f"{name}_login")]):
            yield f"the memberships are {memberships}"
        changed = self.program.verb == "update"
        for role, password in (("login", "login"), ("renamed" if changed else "lone", "lone")):
            database = name if role == "login" else "postgres"
            try:
                Database(self.server, database).connect(
                    user=f"{name}_{role}", password=self.program.passwords[password]
                ).close()
            except psycopg.OperationalError as error:
                yield f"{role} cannot log in: {error}"


@pytest.mark.parametrize("share", range(SHARES))
def test_after_a_failed_step_the_state_says_what_the_server_has(
    share: int, server: Server, tmp_path: Path, count: Count, record_property: Callable[[str, object], None]
) -> None:
    with Striker(server.host, server.port) as striker:
        stack = Stack(tmp_path, server, striker)
        numbers = {verb: len(stack.run(verb)) for verb in VERBS}
        faults = [(verb, moment, n) for verb in VERBS for moment in MOMENTS for n in range(1, numbers[verb] + 1)]
        chosen = faults if ALL else random.Random(SEED).sample(faults, DRAWN)
        record_property("seed", SEED)
        mine = sorted(chosen[share::SHARES], key=lambda fault: VERBS.index(fault[0]))

        def outcomes() -> Iterator[str | None]:
            # Each stack goes through its life. Operations without a planned fault run undisturbed.
            lives: list[list[tuple[str, str, int]]] = [[]]
            by_verb = {verb: [fault for fault in mine if fault[0] == verb] for verb in VERBS}
            while any(by_verb.values()):
                lives.append([by_verb[verb].pop(0) if by_verb[verb] else (verb, "", 0) for verb in VERBS])
            for life in lives[1:]:
                for verb, moment, number in life:
                    if number:
                        yield stack.survives(verb, moment, number)
                    else:
                        stack.run(verb)

        count(outcomes())
