"""Start the helper process, from a process that cannot fork because it has threads, and exchange messages with it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from types import TracebackType
from typing import IO, Any

from pulumi_alembic.errors import DatabaseError, HistoryError
from pulumi_alembic.fanout.job import FanoutJob
from pulumi_alembic.output.tracing import environment

__all__ = ["WorkerPool"]

_END_SECONDS = 10


class WorkerPool:
    """A helper process for the duration of a block. Its workers end with it.

    The helper ends when its input ends, even if this process is killed.
    """

    def __init__(self, job: FanoutJob) -> None:
        self._job = job
        self._process: subprocess.Popen[bytes] | None = None
        self._answers: IO[bytes] | None = None

    def __enter__(self) -> WorkerPool:
        ours, theirs = os.pipe()
        try:
            command = [sys.executable, "-m", "pulumi_alembic.fanout.worker_pool", str(theirs)]
            self._process = subprocess.Popen(command, stdin=subprocess.PIPE, pass_fds=[theirs], env=environment())
        finally:
            os.close(theirs)
        self._answers = os.fdopen(ours, "rb")
        self._say(self._job.to_line())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        process, answers = self._process, self._answers
        assert process and process.stdin and answers  # noqa: S101 - there is one within the block
        with suppress(BrokenPipeError):
            process.stdin.close()
        answers.close()
        try:
            process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    @property
    def command(self) -> str:
        """The command that repeats the run after a failure."""
        return self._job.job.command

    @property
    def target(self) -> str:
        """The target of all databases."""
        return self._job.job.target

    def run(
        self,
        task: str,
        items: Sequence[tuple[str | None, Any]],
        processes: int,
        hear: Callable[[int, str, bool], None] = lambda number, text, lasting: None,
        shared: Any = None,
    ) -> Iterator[tuple[int, dict[str, Any]]]:
        """Run a task for each item, and return the answers with the items' numbers as they arrive.

        Args:
            task: The name of the task.
            items: Pairs of a database and its argument. None as the argument stands for `shared`.
            processes: The largest number of workers.
            hear: Receives a report of an item's task: the number, the text, and whether it is lasting.
            shared: The argument of all items without their own.

        Raises:
            HistoryError: The scripts are not one history.
            DatabaseError: The helper ended. What its workers had not committed is rolled back.

        """
        self._say(json.dumps({"task": task, "items": items, "processes": processes, "shared": shared}).encode())
        assert self._answers  # noqa: S101 - there is one within the block
        for line in self._answers:
            answer = json.loads(line)
            if "end" in answer:
                return
            if "broken" in answer:
                raise HistoryError(answer["broken"])
            if "say" in answer:
                hear(answer["of"], answer["say"], answer["lasting"])
            else:
                yield answer.pop("n"), answer
        raise DatabaseError(
            f"the process that works on the databases ended, and with it what it had not committed. Run again: "
            f"{self.command}"
        )

    def _say(self, line: bytes) -> None:
        assert self._process and self._process.stdin  # noqa: S101 - there is one within the block
        # If the helper is gone, its answers give the reason.
        with suppress(BrokenPipeError):
            self._process.stdin.write(line + b"\n")
            self._process.stdin.flush()
