"""Many databases at once, from a process that may not fork: the helper is started, told what to do, and listened to."""

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
    """From the beginning of the block to its end there is one helper; with it goes whatever it has begun.

    The helper notices the end of this process by the end of its input.
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
        """What a person repeats after a failure."""
        return self._job.job.command

    @property
    def target(self) -> str:
        """The revision that all databases are brought to."""
        return self._job.job.target

    def run(
        self,
        task: str,
        items: Sequence[tuple[str | None, Any]],
        processes: int,
        hear: Callable[[int, str, bool], None] = lambda number, text, lasting: None,
        shared: Any = None,
    ) -> Iterator[tuple[int, dict[str, Any]]]:
        """One answer for each item, with its number, as they come.

        `hear` gets what one of them says meanwhile, and whether that is to last.

        An item is the name of a database and what the task wants to know of it, or None where that is `shared` by all.
        Raises HistoryError where the scripts are no history, DatabaseError where the helper itself ends.
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
        # Why it is gone, is read from its answers.
        with suppress(BrokenPipeError):
            self._process.stdin.write(line + b"\n")
            self._process.stdin.flush()
