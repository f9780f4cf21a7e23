"""Report on a schema file, rehearsed on a temporary server on this machine."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from taskdb.errors import TaskdbError
from taskdb.local.account import Account
from taskdb.local.binaries import Binaries, find_binaries
from taskdb.local.cluster import ADMIN, HOST, Cluster
from taskdb.local.place import Place
from taskdb.local.ports import free_port

__all__ = ["report"]


def report(schema: Path, arguments: Sequence[str], project: Path, say: Callable[[str], None]) -> int:
    """Run `pulumi-alembic report` on a schema file, and return its exit code.

    The report is rehearsed on a new server with programs of the file's version. Without such programs it is not
    rehearsed.

    Args:
        schema: The file.
        arguments: Further arguments of the command.
        project: The directory of the project.
        say: Receives a line about the server.

    Raises:
        TaskdbError: The file is no schema file.

    """
    try:
        major = int(json.loads(schema.read_bytes())["server"])
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        raise TaskdbError(f"{schema} is no file that `pulumi-alembic schema` wrote") from None
    command: list[str | Path] = [
        Path(sys.executable).with_name("pulumi-alembic"),
        "report",
        "--schema",
        schema,
        *arguments,
    ]
    account = Account.for_new_server()
    binaries = next(
        (binary for binary in find_binaries(Place.of(project).base, account) if binary.major == major), None
    )
    if binaries is None:
        say(f"PostgreSQL {major} is not installed here: the report is not rehearsed")
        return subprocess.run(command, cwd=project, check=False).returncode
    password = secrets.token_hex(18)
    say(f"starting PostgreSQL {major} for the rehearsal")
    with _server(binaries, account, password) as port:
        command += ["--rehearse-with", f"postgresql://{ADMIN}@{HOST}:{port}/postgres"]
        # In the environment, because every user of the machine can read a command's arguments.
        environment = os.environ | {"PGPASSWORD": password}
        return subprocess.run(command, cwd=project, env=environment, check=False).returncode


@contextmanager
def _server(binaries: Binaries, account: Account, password: str) -> Iterator[int]:
    """Start a new server, yield its port, and delete it with everything in it."""
    with tempfile.TemporaryDirectory(prefix="taskdb-") as name:
        folder = Path(name)
        # Root's servers run as another user, which must be able to enter.
        folder.chmod(0o755 if os.geteuid() == 0 else 0o700)
        cluster = Cluster(folder, binaries, account)
        cluster.create(password, {"fsync": "off"})
        port = free_port()
        cluster.start(port)
        try:
            yield port
        finally:
            cluster.stop()
