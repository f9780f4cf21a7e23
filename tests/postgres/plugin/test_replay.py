"""Our plugin answers every recorded call as pulumi-postgresql 3.18.2 does, on the same server in the same state."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from taskdb.local.binaries import Binaries
from taskdb.local.cluster import Cluster
from taskdb.local.ports import free_port
from tests.conftest import create_cluster, verifier
from tests.postgres.plugin.replay import RECORDINGS, Replay, recording

FILES = sorted(path.name for path in RECORDINGS.glob("*.jsonl") if path.name != "on-postgresql-18.jsonl")

# The intended differences from the real plugin's answers: file → line → reason.
GENERATED = "a generated name has the same form, other digits"
LEFT = "after a failed update the state says what the server has; the real plugin records what was to be"
OPEN = "a database that could not be dropped takes connections again, as the state says"
TRIMMED = "the recording leaves out most system tables"
ORDER = "what only changes its option is deleted first, which would otherwise revoke what was just granted"
DIFFERENCES: dict[str, dict[int, str]] = {
    "database.jsonl": {3: GENERATED, 53: LEFT, 69: LEFT, 94: OPEN},
    "default-privileges.jsonl": {35: ORDER},
    "extension.jsonl": {8: GENERATED, 9: GENERATED, 31: LEFT, 34: LEFT},
    "grant.jsonl": {
        197: "a procedure is not taken for a function, which made a grant on all functions drift for ever",
        254: "what the server warned of is not there, and the outputs say so",
    },
    "grant-role.jsonl": {21: ORDER, 27: ORDER},
    "provider.jsonl": {
        1: "gRPC for Python words UNIMPLEMENTED differently",
        33: "the error is readable: the real plugin masks an empty password between its letters",
        39: "a call before Configure is an error, not the end of the process",
        53: TRIMMED,
    },
    "role.jsonl": {4: GENERATED, 118: LEFT, 152: LEFT},
    "schema.jsonl": {6: GENERATED, 31: LEFT, 49: LEFT},
}


@pytest.fixture(scope="module")
def stopped(run_folder: Path, binaries: Binaries) -> Cluster:
    """Create a stopped server that accepts logins of its superuser, with the passwords of the recordings."""
    cluster = create_cluster(run_folder, binaries).cluster
    cluster.stop()
    statements = "".join(f"ALTER ROLE {role} PASSWORD '{verifier(role)}';\n" for role in ("postgres", "admin"))
    postgres = cluster.binaries.program("postgres")
    done = cluster.account.run(postgres, "--single", "-D", cluster.data, "postgres", stdin=statements)
    assert done.returncode == 0, done.stderr
    return cluster


@pytest.fixture
def replay_port(stopped: Cluster, run_folder: Path) -> Iterator[int]:
    """Start a copy of that server, and yield its port."""
    copy = replace(stopped, folder=Path(tempfile.mkdtemp(prefix="cluster-", dir=run_folder)))
    subprocess.run(["cp", "-a", f"{stopped.folder}/.", copy.folder], check=True)
    port = free_port()
    copy.start(port)
    yield port
    copy.stop()


@pytest.mark.parametrize("file", FILES)
def test_answers_as_the_real_plugin_does(file: str, replay_port: int) -> None:
    """Compare line by line. A listed difference must still differ, so that the list contains no outdated reason."""
    login = {"host": "127.0.0.1", "port": replay_port, "user": "admin", "password": "admin", "dbname": "postgres"}
    with psycopg.connect(**login) as connection:
        version = connection.info.server_version
    if version // 10000 not in (15, 18):
        pytest.skip(f"the real plugin was recorded on PostgreSQL 15 and 18, this is {version // 10000}")
    wrong = []
    with ExitStack() as stack:
        replay = Replay(replay_port, stack)
        for line in recording(file, version):
            answer = replay.answer(line)
            if (answer == line.answer) == (line.number in DIFFERENCES.get(file, {})):
                wrong.append(f"{line.name}\n  recorded {json.dumps(line.answer)}\n  answered {json.dumps(answer)}")
    assert not wrong, f"{len(wrong)} lines:\n" + "\n".join(wrong)
