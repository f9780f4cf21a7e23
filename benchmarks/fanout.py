"""Many databases of one server as one resource, beside a loop of `alembic upgrade head`, one command for each.

Ours is the resource's own update, as a process: it looks at all, judges, and runs them in waves. The other is Alembic
with a plain env.py: no ledger, no manifest, no lock, no timeouts. The disk is left out: commits do not wait for it. The
databases are copies of one, on a server of its own, where each preview is put beside nothing but opening and
closing one session in each of them, in as many processes.
"""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import psycopg

from benchmarks.measure import Claim, claim, report, seconds
from benchmarks.migrations import Project, bare_project, our_project
from taskdb.local.account import Account
from taskdb.local.binaries import Binaries
from taskdb.local.cluster import ADMIN, HOST, Cluster
from taskdb.local.install import binaries_for_new_server
from taskdb.local.place import Place
from taskdb.local.ports import free_port

_TENANTS = 100
_MANY = 1000
_REVISIONS = 3
_HEAD, _BEFORE = "20250101_002", "20250101_001"

_SETTINGS = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "autovacuum": "off"}

_OURS = """
import json, resource, sys
from pulumi_alembic.provider import MigrationsProvider

provider = MigrationsProvider()
asked = json.loads(sys.stdin.read())
verb = asked.pop("verb")
answer = provider.check({}, asked)
assert not answer.failures, answer.failures[0].reason
if verb == "update":
    provider.create(answer.inputs)
peaks = [resource.getrusage(whose).ru_maxrss for whose in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
print(json.dumps({"plan": answer.inputs["plan"], "kB": max(peaks)}))
"""

_KNOCK = """
import json, sys
from concurrent.futures import ProcessPoolExecutor
import psycopg

urls = json.loads(sys.stdin.read())

def knock(url):
    psycopg.connect(url).close()

if __name__ == "__main__":
    with ProcessPoolExecutor(2) as pool:
        list(pool.map(knock, urls, chunksize=20))
"""


class Server:
    """A server of its own, in a folder that goes with it."""

    def __init__(self, folder: Path, binaries: Binaries) -> None:
        self._cluster = Cluster(folder, binaries, Account.for_new_server())
        self._password = secrets.token_urlsafe(12)
        self._cluster.create(self._password, _SETTINGS)
        self._port = free_port()

    def __enter__(self) -> Server:
        self._cluster.start(self._port)
        # Where the projects' own commands look.
        login = {"PGHOST": HOST, "PGPORT": str(self._port), "PGUSER": ADMIN, "PGPASSWORD": self._password}
        os.environ.update(login)
        return self

    def __exit__(self, *_: object) -> None:
        self._cluster.stop()

    def url(self, database: str) -> str:
        """The address of a database there."""
        return f"postgresql://{ADMIN}:{self._password}@{HOST}:{self._port}/{database}"

    def copies(self, number: int, of: str = "template0") -> list[str]:
        """So many new databases, all alike; the schema of the migration tables is in each."""
        names = [f"tenant_{secrets.token_hex(3)}_{each:04}" for each in range(number)]
        pattern = f"pattern_{secrets.token_hex(3)}"
        with self._admin() as admin:
            admin.execute(f"CREATE DATABASE {pattern} TEMPLATE {of}".encode())
            with psycopg.connect(self.url(pattern), autocommit=True) as owner:
                owner.execute("CREATE SCHEMA IF NOT EXISTS migrations")
            for name in names:
                admin.execute(f"CREATE DATABASE {name} TEMPLATE {pattern} {self._strategy}".encode())
        return names

    def drop(self, names: list[str]) -> None:
        """These are gone."""
        with self._admin() as admin:
            for name in names:
                admin.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())

    @property
    def _strategy(self) -> str:
        with self._admin() as admin:
            return "STRATEGY wal_log" if admin.info.server_version >= 150000 else ""

    def _admin(self) -> psycopg.Connection[tuple[object, ...]]:
        return psycopg.connect(self.url("postgres"), autocommit=True)


def _ask(server: Server, project: Project, names: list[str], verb: str, target: str = _HEAD) -> dict[str, object]:
    """What the resource says of these databases; its URL is given as a stack's is, and in no argument."""
    asked: dict[str, object] = {
        "verb": verb,
        "url": server.url("postgres"),
        "databases": names,
        "target": target,
        "__urn": "",
    }
    asked |= {"directory": "migrations", **({"__applying": True} if verb == "update" else {})}
    done = subprocess.run(
        [sys.executable, "-c", _OURS],
        cwd=project.folder,
        env=_environment(),
        input=json.dumps(asked),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    answer: dict[str, object] = json.loads(done.stdout)
    return answer


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("PG")}


def _ours(server: Server, project: Project) -> float:
    names = server.copies(_TENANTS)
    took = seconds(partial(_ask, server, project, names, "update"))
    server.drop(names)
    return took


def _loop(server: Server, project: Project) -> float:
    names = server.copies(_TENANTS)

    def migrate(name: str) -> None:
        url = server.url(name).replace("postgresql:", "postgresql+psycopg:")
        command = [str(Path(sys.executable).with_name("alembic")), "upgrade", "head"]
        environment = _environment() | {"DATABASE_URL": url}
        subprocess.run(command, cwd=project.folder, env=environment, check=True, stdout=subprocess.DEVNULL)

    took = sum(seconds(partial(migrate, name)) for name in names)
    server.drop(names)
    return took


def _knock(server: Server, names: list[str]) -> float:
    urls = json.dumps([server.url(name) for name in names])
    return seconds(
        lambda: subprocess.run([sys.executable, "-c", _KNOCK], env=_environment(), input=urls, text=True, check=True)
    )


def _previews(server: Server, project: Project) -> Iterator[Claim]:
    names = server.copies(_MANY)
    _ask(server, project, names, "update", _BEFORE)
    for what, target in (("nothing pending", _BEFORE), ("one revision pending", _HEAD)):
        preview = partial(_ask, server, project, names, "preview", target)
        found = claim(
            f"preview of {_MANY} databases, {what} ÷ a session in each",
            lambda preview=preview: seconds(preview),  # type: ignore[misc]
            partial(_knock, server, names),
            limit=3.5,
            rounds=3,
        )
        yield found
        yield Claim(f"preview of {_MANY} databases, {what}, and what it may take", found.ours, 10, found.ours / 10, 1)
        many, few = (
            float(str(_ask(server, project, some, "preview", target)["kB"])) / 1000 for some in (names, names[:10])
        )
        yield Claim(f"memory of that preview ÷ of 10 databases, {what}", many, few, many / few, 1.1, "MB")
    server.drop(names)


def _claims(folder: Path) -> Iterator[Claim]:
    place = Place.of(Path(__file__).parent.parent)
    with place.locked():
        binaries = binaries_for_new_server(place, print)
    cluster = folder / "cluster"
    cluster.mkdir(mode=0o755)
    with Server(cluster, binaries) as server:
        ours, bare = our_project(folder / "ours", _REVISIONS), bare_project(folder / "bare", _REVISIONS)
        what = f"{_TENANTS} databases from base to head ÷ a loop of alembic upgrade head"
        yield claim(what, partial(_ours, server, ours), partial(_loop, server, bare), limit=0.12, rounds=3)
        yield from _previews(server, ours)


def main() -> None:
    """Measures and prints every claim; exit code 1 where one does not hold."""
    with tempfile.TemporaryDirectory() as name:
        # A server that a root shell starts runs as another user.
        Path(name).chmod(0o755)
        sys.exit(0 if report(list(_claims(Path(name)))) else 1)


if __name__ == "__main__":
    main()
