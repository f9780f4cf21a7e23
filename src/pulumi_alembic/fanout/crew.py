"""The helper process: it has no threads, so it can fork; each fork does one database after the other.

Its input is a job, and then batches, a line of JSON each; its output, on a pipe of its own, is a line for each database
and one at each batch's end. Where its input ends, everything ends: no database is migrated for a provider that is gone.
"""

from __future__ import annotations

import gc
import json
import os
import selectors
import signal
import socket
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from types import FrameType
from typing import Any, NoReturn

from pulumi_alembic.errors import MigrationError, RevisionFailed
from pulumi_alembic.fanout.job import Job
from pulumi_alembic.fanout.tasks import HEAVY, TASKS, Bench, load
from pulumi_alembic.redact import redact
from pulumi_alembic.scripts.history import History

__all__ = ["main"]

_Send = Callable[[dict[str, Any]], None]

_INPUT = 0
_CHUNK = 1 << 16


def main(output: int) -> None:
    """Do what standard input says, and tell the file descriptor `output`."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _leave)
    commands = _Lines(_INPUT)
    job = Job.from_json(commands.next())
    try:
        bench = Bench(job, History.load(job.folder))
    except MigrationError as error:
        _write(output, {"broken": str(error)})
        return
    while line := commands.next():
        command = json.loads(line)
        if command["task"] in HEAVY:
            load(bench)
        _batch(bench, command, commands, output)
        _write(output, {"end": True})


class _Lines:
    """What was written to a file descriptor, line by line."""

    def __init__(self, source: int) -> None:
        self._source = source
        self._rest = b""
        self._ready: deque[bytes] = deque()
        self.ended = False

    def next(self) -> bytes:
        """The next line; empty at the end."""
        while not self._ready and not self.ended:
            self.read()
        return self._ready.popleft() if self._ready else b""

    def read(self) -> list[bytes]:
        """Wait for more, and return what is complete by now; the lines stay for `next` too."""
        try:
            chunk = os.read(self._source, _CHUNK)
        except ConnectionResetError:
            chunk = b""
        self.ended = not chunk
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        self._ready.extend(lines)
        return lines

    def taken(self) -> Iterator[bytes]:
        """What is complete by now, each line once."""
        while self._ready:
            yield self._ready.popleft()


@dataclass
class _Worker:
    """A fork, and the number of the database that it has in hand."""

    pid: int
    socket: socket.socket
    lines: _Lines = field(init=False)
    item: int | None = None

    def __post_init__(self) -> None:
        self.lines = _Lines(self.socket.fileno())


def _batch(bench: Bench, command: dict[str, Any], commands: _Lines, output: int) -> None:
    waiting = deque(enumerate(command["items"]))
    workers: dict[int, _Worker] = {}
    # What is loaded stays: forks shall not write to its pages.
    gc.collect()
    gc.freeze()
    lifeline, held = os.pipe()
    selector = selectors.DefaultSelector()
    selector.register(_INPUT, selectors.EVENT_READ)

    def hire() -> None:
        worker = _fork(bench, command, lifeline, held)
        workers[worker.socket.fileno()] = worker
        selector.register(worker.socket, selectors.EVENT_READ)
        hand_out(worker)

    def hand_out(worker: _Worker) -> None:
        # Of one that has died, it is heard next.
        with suppress(OSError):
            if waiting:
                worker.item, item = waiting.popleft()
                _send(worker.socket, {"n": worker.item, "item": item})
            else:
                worker.item = None
                worker.socket.shutdown(socket.SHUT_WR)

    def hear(worker: _Worker) -> None:
        worker.lines.read()
        for line in worker.lines.taken():
            _write_all(output, line + b"\n")
            if line.startswith(b'{"n"'):
                hand_out(worker)
        if worker.lines.ended:
            selector.unregister(worker.socket)
            del workers[worker.socket.fileno()]
            worker.socket.close()
            _, status = os.waitpid(worker.pid, 0)
            if worker.item is not None:
                _write(output, {"n": worker.item, "error": _how(status), "kind": "Died"})
                if waiting:
                    hire()

    try:
        for _ in range(min(command["processes"], len(waiting))):
            hire()
        while workers:
            for key, _ in selector.select():
                if key.fd != _INPUT:
                    hear(workers[key.fd])
                elif not commands.read() and commands.ended:
                    sys.exit(1)
    finally:
        os.close(held)
        os.close(lifeline)
        for worker in workers.values():
            os.waitpid(worker.pid, 0)


def _fork(bench: Bench, command: dict[str, Any], lifeline: int, held: int) -> _Worker:
    ours, theirs = socket.socketpair()
    pid = os.fork()
    if pid:
        theirs.close()
        return _Worker(pid, ours)
    try:
        ours.close()
        # Else no fork would notice that the helper is gone.
        os.close(held)
        _work(bench, command, theirs, lifeline)
    except BaseException as error:
        os.write(2, f"{type(error).__name__}: {redact(str(error))}\n".encode())
        os._exit(1)


def _work(bench: Bench, command: dict[str, Any], channel: socket.socket, lifeline: int) -> NoReturn:
    gc.disable()
    # The helper decides: Ctrl-C comes to both.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    # A script that asks its input gets none, instead of a batch.
    os.dup2(os.open(os.devnull, os.O_RDONLY), _INPUT)
    threading.Thread(target=_die_with, args=[lifeline], daemon=True).start()
    lines, writing = _Lines(channel.fileno()), threading.Lock()

    def tell(message: dict[str, Any]) -> None:
        with writing:
            _send(channel, message)

    while line := lines.next():
        order = json.loads(line)
        # At most one generation for each database, and none in the middle of its locks.
        gc.collect(1)
        tell({"n": order["n"], **_answer(bench, command, order, tell)})
    os._exit(0)


def _answer(bench: Bench, command: dict[str, Any], order: dict[str, Any], tell: _Send) -> dict[str, Any]:
    name, own = order["item"]
    detail = command["shared"] if own is None else own

    def say(text: str, *, lasting: bool = False) -> None:
        tell({"say": text, "of": order["n"], "lasting": lasting})

    try:
        return TASKS[command["task"]](bench, name, detail, say)
    except RevisionFailed as error:
        return {"error": str(error), "kind": "RevisionFailed", "revision": error.revision}
    except MigrationError as error:
        return {"error": str(error), "kind": type(error).__name__}
    except (Exception, SystemExit) as error:
        return {"error": f"{type(error).__name__}: {redact(str(error))}", "kind": "Unexpected"}


def _die_with(lifeline: int) -> None:
    """The server rolls back what this process had begun, as after any crash; the next run finds the rest."""
    os.read(lifeline, 1)
    os._exit(1)


def _how(status: int) -> str:
    code = os.waitstatus_to_exitcode(status)
    how = f"was ended by signal {-code}" if code < 0 else f"ended with exit code {code}"
    return f"the process that worked on it {how}: what it had not committed is rolled back"


def _send(channel: socket.socket, message: dict[str, Any]) -> None:
    channel.sendall(json.dumps(message).encode() + b"\n")


def _write(output: int, message: dict[str, Any]) -> None:
    _write_all(output, json.dumps(message).encode() + b"\n")


def _write_all(output: int, data: bytes) -> None:
    while data:
        data = data[os.write(output, data) :]


def _leave(number: int, frame: FrameType | None) -> NoReturn:
    sys.exit(128 + number)
