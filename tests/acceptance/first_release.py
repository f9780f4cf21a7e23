"""Restore states of the first release, and their databases and roles, on a server."""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

from psycopg import sql

from taskdb.local.account import Account
from taskdb.local.binaries import Binaries
from taskdb.local.cluster import ADMIN, HOST, Cluster
from taskdb.local.ports import free_port
from taskdb.local.record import Server
from tests.acceptance.project import NEEDED, Project, environment_of
from tests.acceptance.states import moved
from tests.conftest import PROJECT, SETTINGS, Database, ThrowawayCluster

FIXTURES = PROJECT / "tests" / "fixtures" / "first_release"
PASSWORD = "of the first release's admin"
PASSPHRASE = "a passphrase of the first release"
EMPTY = ("plain", "drifted")
"""The stacks whose passphrase is empty."""

PORT = 54015
"""The port of the server on which the fixtures were made."""

VERSION = 15
"""The major version of that server. A later catalog has additions that count as drift, and an older one lacks parts."""

_OTHER_OWNERS = "SELECT rolname FROM pg_roles WHERE rolname LIKE 'taskdb%owner' AND NOT pg_has_role(oid, 'USAGE')"
"""The owners of stacks whose admin does not have the owner's rights. The restore grants them to itself for a while."""


def restored_server(parent: Path, binaries: Binaries) -> ThrowawayCluster:
    """Create a server with the databases, the roles and the admin of the first release."""
    folder = Path(tempfile.mkdtemp(prefix="cluster-", dir=parent))
    folder.chmod(0o755)
    cluster = Cluster(folder, binaries, Account.for_new_server())
    server = Server(HOST, free_port(), ADMIN, PASSWORD)
    cluster.create(PASSWORD, SETTINGS)
    cluster.start(server.port)
    with Database(server, "postgres").connect() as admin:
        admin.execute((FIXTURES / "roles.sql").read_bytes())
        others = [sql.Identifier(name) for (name,) in admin.execute(_OTHER_OWNERS).fetchall()]
        for name in others:
            admin.execute(sql.SQL("GRANT {} TO CURRENT_USER").format(name))
        for path in sorted((FIXTURES / "databases").glob("*.sql")):
            restore(server, path.stem)
        for name in others:
            admin.execute(sql.SQL("REVOKE {} FROM CURRENT_USER").format(name))
    return ThrowawayCluster(cluster, server)


def restore(server: Server, name: str) -> None:
    """Create one of the databases with its content, which an admin can do who is a member of its owner."""
    with Database(server, "postgres").connect() as admin:
        admin.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name)))
    with Database(server, name).connect() as admin:
        admin.execute((FIXTURES / "databases" / f"{name}.sql").read_bytes())


def restored_project(folder: Path, name: str, stack: str, engine: str, server: Server) -> Project:
    """Create one of the projects in an empty folder, with its stacks as the first release left them."""
    source = FIXTURES / "projects" / name
    _copy_program(source, folder)
    for script in (source / "versions").glob("*.py"):
        shutil.copy(script, folder / "migrations" / "versions")
    shutil.copy(source / "manifest", folder / "migrations")
    (folder / ".venv").symlink_to(sys.prefix)
    states = folder / ".state" / ".pulumi" / "stacks" / ("shops" if name == "shops" else "taskdb")
    states.mkdir(parents=True)
    (folder / ".state" / ".pulumi" / "meta.yaml").write_text("version: 1\n")
    passphrase = "" if stack in EMPTY else PASSPHRASE
    for path in (*source.glob("Pulumi.*.yaml"), *source.glob("*.json")):
        to = states if path.suffix == ".json" else folder
        (to / path.name).write_text(moved(path.read_text(), passphrase, PORT, server.port))
    environment = environment_of(server, folder) | {"PULUMI_CONFIG_PASSPHRASE": passphrase}
    return Project(folder, stack, engine, environment)


def _copy_program(source: Path, folder: Path) -> None:
    """Copy the project's own program, or the fixture's if it has one."""
    for needed in NEEDED:
        if needed != "migrations" and (source / needed).exists():
            shutil.copy(source / needed, folder)
        elif (PROJECT / needed).is_dir():
            shutil.copytree(PROJECT / needed, folder / needed, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(PROJECT / needed, folder)
    if (source / "env.py").exists():
        shutil.copy(source / "env.py", folder / "migrations")


def query(server: Server, name: str, statement: str) -> list[tuple[object, ...]]:
    """Return the rows of a query by the admin in one of the databases."""
    with Database(server, name).connect() as admin:
        return admin.execute(statement.encode()).fetchall()
