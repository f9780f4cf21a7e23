"""Start, stop, remove and describe a project's development server."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from taskdb.errors import TaskdbError
from taskdb.local.account import Account
from taskdb.local.binaries import Binaries, find_binaries, inspect
from taskdb.local.cluster import ADMIN, HOST, Cluster
from taskdb.local.place import Place
from taskdb.local.ports import free_port, is_free
from taskdb.local.postmaster import postmaster, stop_postmaster
from taskdb.local.record import Record, Server

__all__ = ["Status", "find", "is_running", "remove", "start", "status", "stop"]

Say = Callable[[str], None]

START_OVER = "start over, which deletes the local databases: taskdb server remove && taskdb server start"


@dataclass(frozen=True)
class Status:
    """A development server as people see it, without its password."""

    host: str
    port: int
    version: str
    folder: str
    running: bool


def find(project: Path) -> Server | None:
    """Return the login of the project's server, running or not. None if there is no server."""
    record = Record.read(Place.of(project).server)
    return record.server if record else None


def is_running(project: Path) -> bool:
    """Return whether the project's server runs."""
    return postmaster(Place.of(project).server / "data") is not None


def status(project: Path) -> Status | None:
    """Return a description of the project's server. None if there is no server."""
    folder = Place.of(project).server
    record = Record.read(folder)
    if record is None:
        return None
    return Status(record.server.host, record.server.port, record.version, str(folder), is_running(project))


def start(project: Path, *, port: int | None = None, say: Say = print) -> Server:
    """Start the project's server, and return its login when it runs. Create it if there is none.

    PostgreSQL is installed if this machine has none. Concurrent and repeated calls start one server.

    Args:
        project: The directory of the project.
        port: The port from now on. None for the former port.
        say: Receives a line for every long step.

    Raises:
        TaskdbError: The port is taken, PostgreSQL cannot be installed, or the server does not start. Its data are
            unchanged.

    """
    place = Place.of(project)
    with place.locked():
        record = Record.read(place.server) or _create(place, port, say)
        if is_running(project):
            return _running_already(record, port, say)
        binaries = _binaries_for(record, place)
        server = replace(record.server, port=port or record.server.port)
        _require_free(server.port)
        Record(server, binaries.version, str(binaries.folder)).write(place.server)
        Cluster(place.server, binaries, Account.owning(place.server / "data")).start(server.port)
        say(f"PostgreSQL {binaries.version} runs on {server.host}, port {server.port}, from {place.server}")
        return server


def stop(project: Path) -> bool:
    """Stop the project's server, which keeps its data. Return False if it was not running."""
    if not is_running(project):
        return False
    place = Place.of(project)
    with place.locked():
        stop_postmaster(place.server / "data")
    return True


def remove(project: Path) -> bool:
    """Stop and delete the project's server with all its databases. Return False if there was none."""
    place = Place.of(project)
    if not place.server.exists():
        return False
    with place.locked():
        stop_postmaster(place.server / "data")
        place.discard_server()
    return True


def _create(place: Place, port: int | None, say: Say) -> Record:
    # Imported here, because it is slow to import and needed only once.
    from taskdb.local.install import binaries_for_new_server

    binaries = binaries_for_new_server(place, say)
    say(f"Creating a PostgreSQL {binaries.version} server in {place.server} …")
    server = Server(HOST, port or free_port(), ADMIN, secrets.token_hex(24))
    record = Record(server, binaries.version, str(binaries.folder))
    folder = place.incomplete()
    Cluster(folder, binaries, Account.for_new_server()).create(server.password)
    record.write(folder)
    folder.rename(place.server)
    return record


def _running_already(record: Record, port: int | None, say: Say) -> Server:
    server = record.server
    if port not in (None, server.port):
        raise TaskdbError(
            f"The server already runs on port {server.port}. "
            f"Move it to {port}: taskdb server stop && taskdb server start --port {port}"
        )
    say(f"PostgreSQL {record.version} already runs on {server.host}, port {server.port}")
    return server


def _binaries_for(record: Record, place: Place) -> Binaries:
    """Return programs of the data's major version, preferably those of the last start."""
    data = place.server / "data"
    if not (data / "PG_VERSION").exists():
        raise TaskdbError(f"The data of the development server are missing: {data}. To {START_OVER}")
    account = Account.owning(data)
    major = int((data / "PG_VERSION").read_text())
    last = inspect(Path(record.binaries), account)
    if last and last.major == major:
        return last
    candidates = list(find_binaries(place.base, account))
    for binaries in candidates:
        if binaries.major == major:
            return binaries
    raise TaskdbError(
        f"The data in {data} are of PostgreSQL {major}, and no server of that version is installed"
        f" (found: {', '.join(candidate.version for candidate in candidates) or 'none'})."
        f" Install it again, or {START_OVER}"
    )


def _require_free(port: int) -> None:
    if not is_free(port):
        raise TaskdbError(
            f"Port {port} on {HOST} is taken by another program. "
            f"Stop that one, or move this server to another port: taskdb server start --port {free_port()}"
        )
