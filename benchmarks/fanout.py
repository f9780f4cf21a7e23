"""Many databases of one server as one resource, compared with a loop of `alembic upgrade head`, one command for each.

Our measurement is the resource's own update, as a process: it reads all databases, plans, and migrates them in waves.
The other one is Alembic with a plain env.py: no ledger, no manifest, no lock, no timeouts. The whole loop is measured.
It runs in parts, with our update between them, so that other load on the machine affects both alike. Each preview is
compared with opening and closing one session in each database, in as many processes as there are cores.

The databases are copies of one, on a separate server. The disk is excluded, because commits do not wait for it.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks.measure import Claim, report, seconds
from benchmarks.migrations import Project, bare_project, our_project
from benchmarks.tenants import Tenants

_TENANTS = 100
_PARTS = 5
_MANY = 1000
_FEW = 10
_ROUNDS = 3
_REVISIONS = 3
_HEAD, _BEFORE = "20250101_002", "20250101_001"

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
print(max(peaks) / 1000)
"""

_KNOCK = """
import json, os, sys
from concurrent.futures import ProcessPoolExecutor
import psycopg

urls = json.loads(sys.stdin.read())

def knock(url):
    psycopg.connect(url).close()

if __name__ == "__main__":
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(knock, urls, chunksize=20))
"""


@dataclass(frozen=True)
class _Ran:
    """The duration of a command, and its peak memory. The memory is that of its largest process."""

    seconds: float
    megabytes: float


def _ours(server: Tenants, project: Project, names: Sequence[str], verb: str, target: str = _HEAD) -> _Ran:
    """Run the resource's own update or preview. Its URL is passed as a stack's URL, and is in no argument."""
    asked: dict[str, object] = {"url": server.url("postgres"), "databases": names, "target": target, "__urn": ""}
    asked |= {"verb": verb, "directory": "migrations", "__applying": verb == "update"}
    begun = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", _OURS],
        cwd=project.folder,
        env=_environment(),
        input=json.dumps(asked),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return _Ran(time.perf_counter() - begun, float(done.stdout))


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("PG")}


def _loop(server: Tenants, project: Project, names: Sequence[str]) -> None:
    command = [str(Path(sys.executable).with_name("alembic")), "upgrade", "head"]
    for name in names:
        environment = _environment() | {"DATABASE_URL": server.url(name).replace("postgresql:", "postgresql+psycopg:")}
        subprocess.run(command, cwd=project.folder, env=environment, check=True, stdout=subprocess.DEVNULL)


def _knock(server: Tenants, names: Sequence[str]) -> None:
    urls = json.dumps([server.url(name) for name in names])
    subprocess.run([sys.executable, "-c", _KNOCK], env=_environment(), input=urls, text=True, check=True)


def _update(server: Tenants, ours: Project, bare: Project) -> Claim:
    empty = server.pattern()
    mine: list[float] = []
    loop = 0.0
    theirs = server.copies(_TENANTS, empty)
    for part in range(_PARTS):
        names = server.copies(_TENANTS, empty)
        mine.append(_ours(server, ours, names, "update").seconds)
        server.drop(names)
        loop += seconds(partial(_loop, server, bare, theirs[part::_PARTS]))
    took = statistics.median(mine)
    what = f"{_TENANTS} databases from base to head ÷ a loop of alembic upgrade head over as many"
    return Claim(what, took, loop, took / loop, 0.12)


def _previews(server: Tenants, project: Project) -> Iterator[Claim]:
    before = server.pattern()
    _ours(server, project, [before], "update", _BEFORE)
    names = server.copies(_MANY, before)
    for what, target in (("nothing pending", _BEFORE), ("one revision pending", _HEAD)):
        preview = partial(_ours, server, project, verb="preview", target=target)
        ran = [(preview(names), seconds(partial(_knock, server, names))) for _ in range(_ROUNDS)]
        took = statistics.median(each.seconds for each, _ in ran)
        yield Claim(f"preview of {_MANY} databases, {what}, of the 10 s it may take", took, 10, took / 10, 1)
        ratio = statistics.median(each.seconds / knock for each, knock in ran)
        knock = statistics.median(knock for _, knock in ran)
        yield Claim(f"preview of {_MANY} databases, {what} ÷ a session in each", took, knock, ratio, 3.5)
        many, few = max(each.megabytes for each, _ in ran), preview(names[:_FEW]).megabytes
        yield Claim(f"memory of that preview ÷ of {_FEW} databases, {what}", many, few, many / few, 1.1, "MB")


def _claims(folder: Path) -> Iterator[Claim]:
    with Tenants.at(folder) as server:
        ours, bare = our_project(folder / "ours", _REVISIONS), bare_project(folder / "bare", _REVISIONS)
        yield _update(server, ours, bare)
        yield from _previews(server, ours)


def main() -> None:
    """Measure and print every claim. Exit with 1 if one does not hold."""
    with tempfile.TemporaryDirectory() as name:
        # If root starts the server, it runs as another user.
        Path(name).chmod(0o755)
        sys.exit(0 if report(list(_claims(Path(name)))) else 1)


if __name__ == "__main__":
    main()
