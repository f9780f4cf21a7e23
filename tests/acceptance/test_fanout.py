"""A small separate program on each engine: one resource, many databases or schemas, from the first preview on."""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from psycopg import sql

from pulumi_alembic.scripts.history import History
from taskdb.local import Server
from tests.acceptance.project import ENGINES, PASSED_ON, PASSPHRASE
from tests.conftest import PROJECT, Database, drop_database

HEAD, SECOND = "20250126_003", "20250126_002"

PROGRAM = """
import json
import os

import pulumi

from pulumi_alembic import Migrations, Query, Waves

config = pulumi.Config()
url = config.require_secret("url")
databases = config.get_object("databases") or Query(config.require("query"), url=url)
migrations = Migrations(
    "shops", url=url, databases=databases, target=config.get("revision") or "head", waves=Waves(canary=1, wave=2)
)
pulumi.export("revision", migrations.revision)
pulumi.export("revisions", migrations.revisions)
pulumi.export("failures", migrations.failures)
"""

OF_SCHEMAS = """
import pulumi

from pulumi_alembic import Migrations, Waves

config = pulumi.Config()
migrations = Migrations(
    "rooms",
    url=config.require_secret("url"),
    schemas=config.require_object("schemas"),
    target=config.get("revision") or "head",
    waves=Waves(on_error="continue"),
)
pulumi.export("revision", migrations.revision)
pulumi.export("revisions", migrations.revisions)
pulumi.export("failures", migrations.failures)
"""

# The program has the project's scripts, and none of its modules.
ENV = """
import os
import sqlalchemy as sa
from pulumi_alembic import environment

environment.run(target_metadata=sa.MetaData(), url=lambda: os.environ["DATABASE_URL"])
"""


@dataclass(frozen=True)
class Shops:
    """A project in a folder, with one stack on one engine, and its databases."""

    folder: Path
    engine: str
    server: Server
    names: list[str]

    def run(self, *arguments: str) -> tuple[int, str]:
        """Run a command, and return the exit code and the whole output."""
        scripts = str(Path(sys.executable).parent)
        environment = {
            **{name: os.environ[name] for name in PASSED_ON if name in os.environ},
            "PATH": f"{scripts}:{os.environ['PATH']}",
            "HOME": str(self.folder),
            "PULUMI_CONFIG_PASSPHRASE": PASSPHRASE,
            "PULUMI_SKIP_UPDATE_CHECK": "true",
        }
        done = subprocess.run(
            [ENGINES[self.engine], *arguments],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=200,
        )
        return done.returncode, done.stdout + done.stderr

    def succeed(self, *arguments: str) -> str:
        """Run a command, and return its output. A failure fails the test with the output."""
        code, text = self.run(*arguments)
        assert code == 0, text
        return text

    def state(self) -> str:
        """Return the content of the state file about the resource."""
        [path] = (self.folder / ".state/.pulumi/stacks").glob("*/dev.json")
        resources = json.loads(path.read_text())["checkpoint"]["latest"]["resources"]
        [found] = [each for each in resources if each["type"].endswith(":Migrations")]
        return json.dumps(found)

    def execute(self, name: str, statement: str) -> None:
        """Run one statement in one of the databases."""
        with Database(self.server, name).connect() as admin:
            admin.execute(statement)


@pytest.fixture
def shops(engine: str, server: Server, tmp_path: Path) -> Iterator[Shops]:
    """Three databases, and a stack that is not deployed yet."""
    prefix = f"shop_{secrets.token_hex(4)}"
    names = [f"{prefix}_{number}" for number in range(3)]
    with Database(server, "postgres").connect() as admin:
        for name in names:
            admin.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name)))
    made = Shops(tmp_path, engine, server, names)
    for name in names:
        made.execute(name, "CREATE SCHEMA migrations; CREATE SCHEMA app; CREATE EXTENSION IF NOT EXISTS pgcrypto")
        made.execute(name, f'ALTER DATABASE "{name}" SET search_path = app, public')
    set_up(made, PROGRAM, "postgres")
    made.succeed("config", "set", "databases", json.dumps(names))
    yield made
    for name in names:
        drop_database(Database(server, name))


@pytest.fixture
def rooms(engine: str, server: Server, tmp_path: Path) -> Iterator[Shops]:
    """One database with three schemas, and a stack that is not deployed yet."""
    database = f"rooms_{secrets.token_hex(4)}"
    names = ["room_a", "room_b", "room_c"]
    with Database(server, "postgres").connect() as admin:
        admin.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(database)))
    made = Shops(tmp_path, engine, server, names)
    made.execute(database, "CREATE SCHEMA migrations; " + "; ".join(f"CREATE SCHEMA {name}" for name in names))
    set_up(made, OF_SCHEMAS, database)
    made.succeed("config", "set", "schemas", json.dumps(names))
    yield made
    drop_database(Database(server, database))


def set_up(made: Shops, program: str, database: str) -> None:
    """Write the project, and create a stack whose login begins in a database and whose target is SECOND."""
    folder, server = made.folder, made.server
    (folder / "Pulumi.yaml").write_text(
        "name: shops\nruntime: {name: python, options: {virtualenv: .venv}}\nbackend: {url: 'file://./.state'}\n"
    )
    (folder / "__main__.py").write_text(program)
    (folder / ".venv").symlink_to(sys.prefix)
    (folder / ".state").mkdir()
    shutil.copytree(
        PROJECT / "migrations", folder / "migrations", ignore=shutil.ignore_patterns("__pycache__", "env.py")
    )
    (folder / "migrations" / "env.py").write_text(ENV)
    History.load(folder / "migrations").write_manifest()
    made.succeed("stack", "init", "dev")
    url = f"postgresql://{server.username}:{server.password}@{server.host}:{server.port}/{database}"
    made.succeed("config", "set", "--secret", "url", url)
    made.succeed("config", "set", "revision", SECOND)


@pytest.mark.full
def test_a_fan_out_from_the_first_preview_to_the_wave_that_failed(shops: Shops) -> None:
    first, second, third = shops.names
    shown = shops.succeed("preview", "--diff", "--stack", "dev")
    assert f"3 databases: base → {SECOND}" in shown and "digest" in shown
    shops.succeed("up", "--yes", "--skip-preview", "--stack", "dev")
    assert json.loads(shops.succeed("stack", "output", "--json", "--stack", "dev")) == {
        "failures": {},
        "revision": SECOND,
        "revisions": {SECOND: 3},
    }
    assert "1 to update" not in shops.succeed("preview", "--stack", "dev")
    shops.succeed("preview", "--refresh", "--expect-no-changes", "--stack", "dev")

    shops.succeed("config", "set", "revision", "head")
    shops.execute(second, "CREATE TABLE app.messages (id int)")
    code, failed = shops.run("up", "--yes", "--skip-preview", "--stack", "dev")
    assert code != 0 and f"{second}: revision {HEAD} failed on upgrade" in failed
    assert "it continues with the databases that are left" in failed
    assert first not in shops.state() and shops.server.password not in shops.state() + shown + failed
    outputs = json.loads(shops.state())["outputs"]
    assert outputs["revisions"] == {HEAD: 2, SECOND: 1} and list(outputs["failures"]) == [second]

    shops.execute(second, "DROP TABLE app.messages")
    assert f"1 database: {SECOND} → {HEAD}; 2: already there" in shops.succeed("preview", "--stack", "dev")
    shops.succeed("up", "--yes", "--skip-preview", "--stack", "dev")

    shops.succeed("config", "set", "databases", json.dumps([first, "no_such_database"]))
    code, refused = shops.run("up", "--yes", "--skip-preview", "--stack", "dev")
    assert code != 0 and "no_such_database" in refused and "nothing was changed" in refused
    assert f"{third}" not in refused


@pytest.mark.full
def test_tenants_of_one_database_go_up_fail_and_go_back(rooms: Shops) -> None:
    [database] = re.findall(r"/(rooms_\w+)", rooms.succeed("config", "get", "url", "--stack", "dev"))
    shown = rooms.succeed("preview", "--diff", "--stack", "dev")
    assert f"3 schemas: base → {SECOND}" in shown and "digest" in shown
    rooms.succeed("up", "--yes", "--skip-preview", "--stack", "dev")
    assert json.loads(rooms.succeed("stack", "output", "revisions", "--json", "--stack", "dev")) == {SECOND: 3}
    rooms.succeed("preview", "--refresh", "--expect-no-changes", "--stack", "dev")

    rooms.succeed("config", "set", "revision", "head")
    rooms.execute(database, "CREATE TABLE room_a.messages (id int)")
    code, failed = rooms.run("up", "--yes", "--skip-preview", "--stack", "dev")
    assert code != 0 and f"room_a: revision {HEAD} failed on upgrade" in failed
    assert "all 2 waves, 3 schemas: 1 schema failed" in failed
    outputs = json.loads(rooms.state())["outputs"]
    assert outputs["revisions"] == {HEAD: 2, SECOND: 1} and list(outputs["failures"]) == ["room_a"]
    assert "room_b" not in rooms.state() and rooms.server.password not in rooms.state() + shown + failed

    rooms.execute(database, "DROP TABLE room_a.messages; CREATE SCHEMA room_d")
    rooms.succeed("config", "set", "schemas", json.dumps([*rooms.names, "room_d"]))
    shown = rooms.succeed("preview", "--stack", "dev")
    assert f"1 schema: {SECOND} → {HEAD}; 1: base → {HEAD}; 2: already there" in shown
    rooms.succeed("up", "--yes", "--skip-preview", "--stack", "dev")

    rooms.succeed("config", "set", "revision", SECOND)
    rooms.succeed("up", "--yes", "--skip-preview", "--stack", "dev")
    assert json.loads(rooms.succeed("stack", "output", "revisions", "--json", "--stack", "dev")) == {SECOND: 4}
    rooms.succeed("destroy", "--yes", "--stack", "dev")
    with Database(rooms.server, database).connect() as admin:
        rows = admin.execute("SELECT version_num FROM migrations.alembic_version_room_d").fetchall()
        assert rows == [(SECOND,)]
