"""The helper process. It has no threads, so it can fork workers.

Its input is a job followed by batches, each a line of JSON. Its output is a pipe with a line for each database and one
at the end of each batch. If its input ends, the helper and its workers end, so that no database is migrated without a
provider.
"""

from __future__ import annotations

import gc
import json
import os
import selectors
import signal
import sys
from collections import deque
from contextlib import suppress
from dataclasses import replace
from types import FrameType
from typing import Any, NoReturn

from pulumi_alembic.errors import MigrationError
from pulumi_alembic.fanout.job import FanoutJob
from pulumi_alembic.fanout.tasks import HEAVY, Bench, load
from pulumi_alembic.fanout.worker_pool.messages import Lines, write
from pulumi_alembic.fanout.worker_pool.worker import Worker

__all__ = ["main"]

_INPUT = 0


def main(output: int) -> None:
    """Process standard input, and write the answers to the file descriptor `output`."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _leave)
    commands = Lines(_INPUT)
    job = FanoutJob.from_line(commands.next())
    try:
        bench = Bench(replace(job, job=replace(job.job, history=job.job.read_history())))
    except MigrationError as error:
        write(output, {"broken": str(error)})
        return
    workers = _Workers(bench, commands, output)
    try:
        while line := commands.next():
            workers.run(json.loads(line))
            write(output, {"end": True})
    finally:
        workers.end()


class _Workers:
    """The workers. They stay for the next batch, unless it needs modules that were not loaded when they were forked."""

    def __init__(self, bench: Bench, commands: Lines, output: int) -> None:
        self._bench = bench
        self._commands = commands
        self._output = output
        self._loaded = False
        self._workers: dict[int, Worker] = {}
        self._batch: dict[str, Any] = {}
        self._waiting: deque[tuple[int, Any]] = deque()
        self._lifeline, self._held = os.pipe()
        self._selector = selectors.DefaultSelector()
        self._selector.register(_INPUT, selectors.EVENT_READ)

    def run(self, batch: dict[str, Any]) -> None:
        """Process all items of a batch, and write each answer at once."""
        if batch["task"] in HEAVY and not self._loaded:
            self._dismiss(list(self._workers.values()))
            load(self._bench)
            self._loaded = True
        # Freeze loaded objects, so that collections in the forks do not write to shared pages.
        gc.collect()
        gc.freeze()
        self._batch, self._waiting = batch, deque(enumerate(batch["items"]))
        self._dismiss([worker for worker in self._workers.values() if worker.has_ended()])
        for worker in [*self._workers.values()][: batch["processes"]]:
            self._hand_out(worker)
        self._hire()
        while any(worker.item is not None for worker in self._workers.values()):
            for key, _ in self._selector.select():
                if key.fd != _INPUT:
                    self._hear(self._workers[key.fd])
                elif self._input_ended():
                    sys.exit(1)

    def end(self) -> None:
        """End all workers at once. The server rolls back what they have begun."""
        os.close(self._held)
        for worker in self._workers.values():
            worker.end()

    def _input_ended(self) -> bool:
        self._commands.read()
        return self._commands.ended

    def _hire(self) -> None:
        """Fork as many workers as the batch wants, while items are waiting."""
        while self._waiting and len(self._workers) < self._batch["processes"]:
            worker = Worker.fork(self._bench, self._lifeline, self._held)
            self._workers[worker.fileno()] = worker
            self._selector.register(worker, selectors.EVENT_READ)
            self._hand_out(worker)

    def _hand_out(self, worker: Worker) -> None:
        worker.item = None
        if self._waiting:
            number, item = self._waiting.popleft()
            # If the worker has died, its channel reports it next.
            with suppress(OSError):
                worker.begin(self._batch, self._batch["task"], self._batch["shared"], number, item)

    def _hear(self, worker: Worker) -> None:
        worker.lines.read()
        for line in worker.lines.taken():
            write(self._output, line)
            if line.startswith(b'{"n"'):
                self._hand_out(worker)
        if worker.lines.ended:
            number = worker.item
            how = self._dismiss([worker])
            if number is not None:
                write(self._output, {"n": number, "error": how, "kind": "Died"})
            self._hire()

    def _dismiss(self, workers: list[Worker]) -> str:
        """Remove these workers, and return how the last one ended."""
        how = ""
        for worker in workers:
            self._selector.unregister(worker)
            del self._workers[worker.fileno()]
            how = worker.end()
        return how


def _leave(number: int, frame: FrameType | None) -> NoReturn:
    sys.exit(128 + number)
