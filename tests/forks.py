"""Start clients quickly: one process has loaded everything, and every run is a fork of it.

Each line of its standard input is a run, as JSON. It answers with two lines: the fork's pid, and its exit code,
negative for a signal.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests import loaded

PROJECT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Ended:
    """The result of a run. A negative code is the signal that killed it."""

    code: int
    output: str


class Launcher:
    """The process whose forks are the runs. Its `module` calls `serve`."""

    def __init__(self, module: str, **environment: str) -> None:
        with pytest.MonkeyPatch.context() as patch:
            for name, value in environment.items():
                patch.setenv(name, value)
            self._process = loaded.start([sys.executable, "-m", module], PROJECT, subprocess.PIPE)

    def start(self, run: dict[str, Any], on_started: Callable[[int], object] = lambda pid: None) -> int:
        """Start a run, and return its exit code."""
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(json.dumps(run) + "\n")
        self._process.stdin.flush()
        on_started(int(self._process.stdout.readline()))
        return int(self._process.stdout.readline())

    def close(self) -> None:
        self._process.communicate()


def serve(client: Callable[[dict[str, Any]], object]) -> None:
    """Call `client` in a fork for each line of standard input. `client` ends the fork."""
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            client(json.loads(line))
        print(pid, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)


def redirect(output: str) -> None:
    """Redirect the output of this process to the file `output`."""
    file = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(file, 1)
    os.dup2(file, 2)
