"""Give an interpreter the program to run, and forward its output."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import IO, Final, Protocol

from pulumi_embedded.model.options import Options
from pulumi_embedded.processes.interpreters import Interpreter, Interpreters
from pulumi_embedded.storage.target import Target

__all__ = ["Launch", "ProgramProcess", "RunningProgram", "launch_in"]

_END_SECONDS: Final = 5.0
_LAST_WORDS_SECONDS: Final = 2.0
# Exit codes of program.py, for a program that ran to its end, and for one that failed and printed why.
_ENDED: Final = 33
_SHOWN: Final = 32


class RunningProgram(Protocol):
    """A launched program. It ends by itself, or when it is stopped."""

    @property
    def pid(self) -> int | None:
        """Its process id, which is also its process group. None if it has no process of its own."""

    def wait(self) -> None:
        """Wait for the end of a program that has nothing left to do."""

    def kill(self) -> None:
        """Kill the program."""

    def stop(self) -> None:
        """End the program, and ignore its further output."""


Launch = Callable[[Target, Options, str, Callable[[str, bool], None], Callable[[str | None], None]], RunningProgram]


class ProgramProcess:
    """The running program. `exited` is called at its end, after all its output was forwarded.

    It receives None if the program ran to its end. Otherwise it receives an error message, which is empty if the
    program has printed its error.
    """

    def __init__(
        self,
        interpreter: Interpreter,
        target: Target,
        options: Options,
        address: str,
        say: Callable[[str, bool], None],
        exited: Callable[[str | None], None],
    ) -> None:
        self._process = interpreter.process
        self._say = say
        self._quiet = False
        self._instruct(target, options, address)
        self._exited = exited
        threading.Thread(target=self._watch, daemon=True).start()

    def _instruct(self, target: Target, options: Options, address: str) -> None:
        project = target.project
        instructions = {
            "project": project.name,
            "stack": target.stack,
            "organization": "organization",
            "monitor": address,
            "engine": address,
            "parallel": options.parallel,
            "dry_run": options.dry_run,
            "pwd": str(project.program_folder),
            "program": str(project.program),
            "root_directory": str(project.folder),
            "config": {key: value.text for key, value in target.config.items()},
            "secret_keys": [key for key, value in target.config.items() if value.secret],
        }
        assert self._process.stdin is not None  # noqa: S101 - it is a pipe
        with suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps(instructions) + "\n")
            self._process.stdin.close()

    def _watch(self) -> None:
        assert self._process.stdout is not None and self._process.stderr is not None  # noqa: S101 - pipes
        readers = [
            threading.Thread(target=self._forward, args=(self._process.stdout, False), daemon=True),
            threading.Thread(target=self._forward, args=(self._process.stderr, True), daemon=True),
        ]
        for reader in readers:
            reader.start()
        code = self._process.wait()
        for reader in readers:
            # With a timeout, because a process that the program left behind can hold its pipes.
            reader.join(_LAST_WORDS_SECONDS)
        self._exited(_failure(code))

    def _forward(self, stream: IO[str], is_error: bool) -> None:
        for line in stream:
            if not self._quiet:
                self._say(line.rstrip("\n"), is_error)

    @property
    def pid(self) -> int:
        """The program's process id, which is also its process group."""
        return self._process.pid

    def wait(self) -> None:
        """Wait for the end of a program that has nothing left to do."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_END_SECONDS)

    def kill(self) -> None:
        """Kill the program."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def stop(self) -> None:
        """End the program within a few seconds, and ignore its further output."""
        self._quiet = True
        if self._process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGTERM)
            try:
                self._process.wait(_END_SECONDS)
            except subprocess.TimeoutExpired:
                self.kill()
                self._process.wait()


def _failure(code: int) -> str | None:
    if code == _ENDED:
        return None
    if code == 0:
        return "the program ended its process before it came to its end; nothing was deleted"
    if code < 0:
        return f"the program was killed by signal {-code}"
    # The Pulumi CLI's words (3.260).
    return "" if code == _SHOWN else f"an unhandled error occurred: program exited with non-zero exit code: {code}"


def launch_in(interpreters: Interpreters) -> Launch:
    """Return a function that runs programs in the waiting interpreters."""

    def launch(
        target: Target,
        options: Options,
        address: str,
        say: Callable[[str, bool], None],
        exited: Callable[[str | None], None],
    ) -> ProgramProcess:
        return ProgramProcess(interpreters.take(), target, options, address, say, exited)

    return launch
