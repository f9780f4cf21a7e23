"""A schema for each of many tenants in one database: a preview with nothing pending, and an update by one revision.

The preview is compared with a Python program that reads each tenant's version, one query for each, over one session.
The update is compared with the raw statements of the revision, one transaction for each schema, over one session.
Both have one process and no ledger, lock, plan or timeout. Ours is the resource's own preview or update, a process.

The update is far from the raw statements: each tenant has four sessions of its own, and Alembic's run. The limit keeps
it from getting worse, and the growth with the number of tenants linear.

The database is on a separate server, whose commits do not wait for the disk.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psycopg

from benchmarks.fanout import _OURS, _environment
from benchmarks.measure import Claim, report, seconds
from benchmarks.migrations import Project, our_project
from benchmarks.tenants import Tenants

_MANY = 1000
_FEW = 100
_ROUNDS = 3
_REVISIONS = 6
_FIRST = 1

_VERSIONS = """
import json, sys
import psycopg
url, names = json.loads(sys.stdin.read())
with psycopg.connect(url, autocommit=True) as connection:
    for name in names:
        assert connection.execute(f'SELECT version_num FROM migrations."alembic_version_{name}"').fetchone()
"""


def _id(number: int) -> str:
    return f"20250101_{number:03}"


def _ours(url: str, project: Project, names: list[str], verb: str, target: str) -> float:
    asked: dict[str, object] = {"url": url, "schemas": names, "target": target, "__urn": "", "verb": verb}
    asked |= {"directory": "migrations", "__applying": verb == "update"}
    begun = time.perf_counter()
    subprocess.run(
        [sys.executable, "-c", _OURS],
        cwd=project.folder,
        env=_environment(),
        input=json.dumps(asked),
        stdout=subprocess.DEVNULL,
        text=True,
        check=True,
    )
    return time.perf_counter() - begun


def _versions(url: str, names: list[str]) -> None:
    asked = json.dumps([url, names])
    subprocess.run([sys.executable, "-c", _VERSIONS], env=_environment(), input=asked, text=True, check=True)


def _raw(url: str, names: list[str], number: int) -> None:
    with psycopg.connect(url) as connection:
        for name in names:
            connection.execute(f"SET LOCAL search_path = {name}".encode())
            connection.execute(f"CREATE TABLE raw_{number} (id bigint, name text)".encode())
            connection.commit()


def _database(server: Tenants, number: int) -> tuple[str, list[str]]:
    """Create a database with so many schemas, and return its URL and their names."""
    url = server.url(server.pattern())
    names = [f"shop_{each:04}" for each in range(number)]
    with psycopg.connect(url, autocommit=True) as owner:
        for name in names:
            owner.execute(f"CREATE SCHEMA {name}".encode())
    return url, names


def main() -> bool:
    """Measure, and return whether all claims hold."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        with Tenants.at(Path(folder)) as server:
            project = our_project(Path(folder) / "ours", _REVISIONS)
            few_url, few = _database(server, _FEW)
            url, names = _database(server, _MANY)
            for at, those in ((few_url, few), (url, names)):
                _ours(at, project, those, "update", _id(_FIRST))
            idle: list[tuple[float, float]] = []
            behind: list[tuple[float, float, float]] = []
            for number in range(_FIRST, _FIRST + _ROUNDS):
                preview = _ours(url, project, names, "preview", _id(number))
                idle.append((preview, seconds(lambda: _versions(url, names))))
                update = _ours(url, project, names, "update", _id(number + 1))
                raw = seconds(lambda number=number: _raw(url, names, number))  # type: ignore[misc]
                behind.append((update, raw, _ours(few_url, project, few, "update", _id(number + 1))))
    ours, other = (statistics.median(column) for column in zip(*idle, strict=True))
    update, raw, of_few = (statistics.median(column) for column in zip(*behind, strict=True))
    growth = statistics.median(many / few for many, _, few in behind)
    return report(
        [
            Claim(f"preview of {_MANY} schemas, nothing pending ÷ a query for each", ours, other, ours / other, 6),
            Claim(f"{_MANY} schemas by one revision ÷ the raw statements", update, raw, update / raw, 100),
            Claim(f"{_MANY} schemas by one revision ÷ {_FEW} schemas", update, of_few, growth, 12),
        ]
    )


if __name__ == "__main__":
    sys.exit(not main())
