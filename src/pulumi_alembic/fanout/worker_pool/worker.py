"""A forked worker, which processes one database after the other and keeps loaded modules between them."""

from __future__ import annotations

import gc
import json
import os
import signal
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NoReturn

from pulumi_alembic.database import server_message
from pulumi_alembic.database.sessions import waits
from pulumi_alembic.errors import MigrationError, RevisionFailed
from pulumi_alembic.fanout.tasks import TASKS, Bench
from pulumi_alembic.fanout.worker_pool.messages import Lines, write
from pulumi_alembic.output.printable import printable
from pulumi_alembic.output.redact import redact
from pulumi_alembic.output.tracing import span

__all__ = ["Worker"]

_Tell = Callable[[dict[str, Any]], None]

_INPUT = 0


class Worker:
    """A worker process, seen from the helper.

    `item` is the number of its current database, and `batch` the batch that it last received. The worker ends with the
    process that forked it. It ignores Ctrl-C, which the helper handles.
    """

    def __init__(self, pid: int, channel: socket.socket) -> None:
        self.lines = Lines(channel.fileno())
        self.item: int | None = None
        self.batch: object = None
        self._pid = pid
        self._channel = channel
        self._status: int | None = None

    @classmethod
    def fork(cls, bench: Bench, lifeline: int, held: int) -> Worker:
        """Fork a worker with everything that this process has loaded.

        Args:
            bench: The state that the worker begins with.
            lifeline: The reading end of a pipe that nothing is written to. It ends with this process.
            held: The writing end, which only this process keeps open.

        """
        ours, theirs = socket.socketpair()
        pid = os.fork()
        if pid:
            theirs.close()
            return cls(pid, ours)
        try:
            ours.close()
            # Otherwise no worker would notice the end of this process.
            os.close(held)
            _work(bench, theirs.fileno(), lifeline)
        except BaseException as error:
            text = redact(server_message.any_error(error))
            os.write(2, printable(f"{type(error).__name__}: {text}\n").encode())
            os._exit(1)

    def fileno(self) -> int:
        """Return the file descriptor of the worker's answers."""
        return self._channel.fileno()

    def begin(self, batch: object, task: str, shared: Any, number: int, item: Any) -> None:
        """Send a database to the worker, after the task of a new batch. Raises OSError if the worker is gone."""
        self.item = number
        if batch is not self.batch:
            write(self.fileno(), {"task": task, "shared": shared})
            self.batch = batch
        write(self.fileno(), {"n": number, "item": item})

    def has_ended(self) -> bool:
        """Return whether the worker has ended."""
        if self._status is None:
            pid, status = os.waitpid(self._pid, os.WNOHANG)
            self._status = status if pid else None
        return self._status is not None

    def end(self) -> str:
        """Wait until the worker has finished its database and ended. Return how it ended, in words."""
        with suppress(OSError):
            # close() is not enough, because workers that were forked later have this end too.
            self._channel.shutdown(socket.SHUT_WR)
        self._channel.close()
        if self._status is None:
            _, self._status = os.waitpid(self._pid, 0)
        code = os.waitstatus_to_exitcode(self._status)
        how = f"was ended by signal {-code}" if code < 0 else f"ended with exit code {code}"
        return f"the process that worked on it {how}: what it had not committed is rolled back"


def _work(bench: Bench, channel: int, lifeline: int) -> NoReturn:
    gc.disable()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    # A script that reads standard input gets nothing, instead of a batch.
    os.dup2(os.open(os.devnull, os.O_RDONLY), _INPUT)
    threading.Thread(target=_die_with, args=[lifeline], daemon=True).start()
    lines, writing = Lines(channel), threading.Lock()

    def tell(message: dict[str, Any]) -> None:
        with writing:
            write(channel, message)

    task, shared = "", None
    while line := lines.next():
        order = json.loads(line)
        if "task" in order:
            task, shared = order["task"], order["shared"]
            bench.told.clear()
            continue
        # Collect garbage between databases, so that no collection happens while locks are held.
        gc.collect(1)
        tell({"n": order["n"], **_answer(bench, task, shared, order, tell)})
    os._exit(0)


def _answer(bench: Bench, task: str, shared: Any, order: dict[str, Any], tell: _Tell) -> dict[str, Any]:
    name, own = order["item"]

    def say(text: str, *, lasting: bool = False) -> None:
        tell({"say": text, "of": order["n"], "lasting": lasting})

    try:
        with span(f"{task} database", {"db.namespace": name or ""}), waits(say, bench.job.job.policy.lock_deadline):
            return TASKS[task](bench, name, shared if own is None else own, say)
    except RevisionFailed as error:
        return {"error": str(error), "kind": "RevisionFailed", "revision": error.revision}
    except MigrationError as error:
        return {"error": str(error), "kind": type(error).__name__}
    except (Exception, SystemExit) as error:
        return {"error": f"{type(error).__name__}: {redact(server_message.any_error(error))}", "kind": "Unexpected"}


def _die_with(lifeline: int) -> None:
    """End this process when its parent ends. The server rolls back its transaction, and the next run continues."""
    os.read(lifeline, 1)
    os._exit(1)
