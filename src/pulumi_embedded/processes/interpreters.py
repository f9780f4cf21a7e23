"""Start interpreters of the program's environment in advance. Loading the SDK takes longer than most programs."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from pulumi_embedded.errors import EngineError
from pulumi_embedded.storage.workspace import Project
from pulumi_embedded.tracing import environment

__all__ = ["Interpreter", "Interpreters", "start"]

_PROGRAM: Final = Path(__file__).with_name("program.py")


def start(command: Sequence[str], folder: Path, stdin: int) -> subprocess.Popen[str]:
    """Start a process in a session of its own. The engine handles Ctrl-C, and a plugin completes its step."""
    return subprocess.Popen(
        command,
        cwd=folder,
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,
        env=environment(),
    )


class Interpreter:
    """A Python process of the program's environment that loads the SDK while it waits for its program.

    It ends when its input ends, so it does not outlive the engine.

    Raises:
        EngineError: It cannot be started.

    """

    def __init__(self, project: Project) -> None:
        # -P: modules beside program.py must not hide those of the program or of the standard library.
        command = [project.python(), "-P", "-u", str(_PROGRAM)]
        try:
            self.process = start(command, project.program_folder, subprocess.PIPE)
        except OSError as error:
            raise EngineError(f"the program cannot be started with {command[0]}: {error}") from None

    def close(self) -> None:
        """End the process without a program."""
        self.process.kill()
        self.process.communicate()


class Interpreters:
    """Interpreters for several runs of the program. Each starts before its run. The end of the block ends them."""

    def __init__(self, project: Project, runs: int) -> None:
        self._project = project
        self._runs = runs
        self._waiting: Interpreter | None = None
        self._start()

    def _start(self) -> None:
        if self._runs:
            self._runs -= 1
            self._waiting = Interpreter(self._project)

    def take(self) -> Interpreter:
        """Return the waiting interpreter, and start the next one."""
        interpreter = self._waiting or Interpreter(self._project)
        self._waiting = None
        self._start()
        return interpreter

    def __enter__(self) -> Interpreters:
        return self

    def __exit__(self, *_: object) -> None:
        if self._waiting is not None:
            self._waiting.close()
