"""Python commands as forks of one process that has loaded the libraries.

Loading takes longer than most commands. `make test` starts the commands of the acceptance tests so, the programs and
plugins of every engine, and the helpers of worker pools. In `make test-all`, and in tests of processes, which use the
fixture `processes`, each is a separate process.

`python -m tests.loaded SOCKET` starts that process. A client sends it the command and its file descriptors. The
answers are the fork's pid and, when it ends, its exit code, negative for a signal.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import gc
import importlib
import io
import json
import os
import pkgutil
import random
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any, NoReturn

from pulumi_alembic.fanout.worker_pool import pool
from pulumi_embedded.processes import interpreters, plugins
from pulumi_embedded.tracing import environment
from tests import keys

start_process = interpreters.start

PROJECT = Path(__file__).parents[1]
PACKAGES = ("pulumi_alembic", "pulumi_embedded", "taskdb")
NOT_LOADED = ("__main__", "pytest_plugin", "testing", "processes.program", "processes.dynamic")
SOCKET = "TASKDB_TESTS_LOADED"
"""The variable that names the socket, for the processes that tests start."""
STARTED_BY = "TASKDB_TESTS_STARTED_BY"
"""The variable with the pid of the process that started a program or a plugin, whose parent is another process."""


def can_be_a_fork(command: Sequence[str | Path], environment: Mapping[str, str]) -> bool:
    """Return whether the command can be a fork: forks are enabled, and it runs a Python or a script of this venv."""
    if SOCKET not in os.environ:
        return False
    program = Path(command[0])
    return program.is_absolute() and _settings(environment) == _settings(os.environ) and _is_python(program)


def _settings(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the settings of an interpreter's start, except those that a fork can still change."""
    can_follow = ("PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED")
    return {name: value for name, value in environment.items() if name.startswith("PYTHON") and name not in can_follow}


def _is_python(program: Path) -> bool:
    if not program.name.startswith("python"):
        with program.open("rb") as file:
            words = file.readline(1000).split()
        if not words or not words[0].startswith(b"#!"):
            return False
        program = Path(os.fsdecode(words[0][2:]))
    return program.name.startswith("python") and program.parent.resolve() == Path(sys.prefix, "bin").resolve()


class Started:
    """A fork, with the used part of the interface of `subprocess.Popen`."""

    def __init__(
        self, command: Sequence[str | Path], folder: Path, environment: Mapping[str, str], files: Sequence[int]
    ) -> None:
        self.args = command
        self.returncode: int | None = None
        self.stdin: IO[Any] | None = None
        self.stdout: IO[str] | None = None
        self.stderr: IO[str] | None = None
        self._answers = socket.socket(socket.AF_UNIX)
        if not Path(os.environ[SOCKET]).exists():
            load()
        self._answers.connect(os.environ[SOCKET])
        request = {"command": [*map(str, command)], "folder": str(folder), "environment": dict(environment)}
        socket.send_fds(self._answers, [b" "], files)
        self._answers.sendall(json.dumps(request).encode())
        self._answers.shutdown(socket.SHUT_WR)
        # Unbuffered, so that the exit code stays in the socket for waiting callers.
        self.pid = int(self._answers.makefile("rb", 0).readline())

    def poll(self) -> int | None:
        """Return the exit code, or None while the fork runs."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end, and return the exit code."""
        if self.returncode is None:
            if not select.select([self._answers], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(self.args, timeout or 0)
            # Several threads can wait.
            self.returncode = int(self._answers.recv(16, socket.MSG_PEEK) or -signal.SIGKILL)
        return self.returncode

    def kill(self) -> None:
        if self.poll() is None:
            os.kill(self.pid, signal.SIGKILL)

    def communicate(self) -> None:
        """Wait for the end, and drop the output."""
        for stream in (self.stdin, self.stdout, self.stderr):
            if stream:
                stream.close()
        self.wait()


def start(command: Sequence[str], folder: Path, stdin: int) -> Started | subprocess.Popen[str]:
    """Start a program or a plugin of an engine, as a substitute for `pulumi_embedded.processes.interpreters.start`."""
    variables = environment() or os.environ
    if not can_be_a_fork(command, variables):
        return start_process(command, folder, stdin)
    pipes = [os.pipe() for _ in range(3)]
    if stdin == subprocess.DEVNULL:
        os.close(pipes[0][1])
    [(read, write), (out, written), (errors, told)] = pipes
    try:
        started = Started(command, folder, {**variables, STARTED_BY: str(os.getpid())}, (read, written, told))
    finally:
        for theirs in (read, written, told):
            os.close(theirs)
    if stdin == subprocess.PIPE:
        started.stdin = os.fdopen(write, "w")
    started.stdout = os.fdopen(out, errors="replace")
    started.stderr = os.fdopen(errors, errors="replace")
    return started


class Helpers:
    """A substitute for the module `subprocess` of `pulumi_alembic.fanout.worker_pool.pool`."""

    PIPE = subprocess.PIPE
    TimeoutExpired = subprocess.TimeoutExpired

    @staticmethod
    def Popen(  # noqa: N802 - the name that it replaces
        command: Sequence[str], *, stdin: int, pass_fds: Sequence[int], env: Mapping[str, str] | None
    ) -> Started | subprocess.Popen[bytes]:
        """Start the helper process of a worker pool. Its last argument is the number of the file for its answers."""
        variables = os.environ if env is None else env
        if not can_be_a_fork(command, variables):
            return subprocess.Popen(command, stdin=stdin, pass_fds=pass_fds, env=env)
        read, write = os.pipe()
        try:
            started = Started([*command[:-1], "3"], Path.cwd(), variables, [read, 1, 2, *pass_fds])
        finally:
            os.close(read)
        started.stdin = os.fdopen(write, "wb", 0)
        return started


def run(
    command: Sequence[str | Path],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    input: str = "",
    timeout: float | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a command as `subprocess.run` does."""
    folder, variables = cwd or Path.cwd(), os.environ if env is None else env
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        given.write(input.encode())
        given.seek(0)
        started: Started | subprocess.Popen[bytes]
        if can_be_a_fork(command, variables):
            started = Started(command, folder, variables, [each.fileno() for each in (given, output, errors)])
        else:
            started = subprocess.Popen(command, cwd=folder, env=variables, stdin=given, stdout=output, stderr=errors)
        try:
            code = started.wait(timeout)
        finally:
            started.kill()
        for file in (output, errors):
            file.seek(0)
        return subprocess.CompletedProcess(command, code, *(each.read().decode() for each in (output, errors)))


def load() -> None:
    """Start the process of this test run that has loaded the libraries, unless it is running."""
    path = Path(os.environ[SOCKET])
    with path.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            subprocess.run([sys.executable, "-m", "tests.loaded", path], cwd=PROJECT, check=True)


def main() -> None:
    """Load the libraries and listen, then continue in the background until the folder of the socket is removed."""
    _load()
    path = Path(sys.argv[1])
    listener = socket.socket(socket.AF_UNIX)
    # The socket has its final name only when it listens.
    listener.bind(f"{path}-new")
    listener.listen(64)
    Path(f"{path}-new").rename(path)
    os.environ[SOCKET] = str(path)
    if os.fork():
        return
    os.setsid()
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.dup2(nothing, 1)
    _listen(listener, path)


def _listen(listener: socket.socket, path: Path) -> None:
    """Start a fork for each client, and send the client its exit code when it ends."""
    clients: dict[int, socket.socket] = {}
    ended, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake)
    while path.exists():
        ready = select.select([listener, ended], [], [], 1)[0]
        if listener in ready:
            client, _ = listener.accept()
            # The client can be killed at any time.
            with contextlib.suppress(json.JSONDecodeError):
                clients[_serve(client, listener, *clients.values())] = client
        if ended in ready:
            os.read(ended, 4096)
        while clients:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                break
            with contextlib.suppress(BrokenPipeError), clients.pop(pid) as client:
                client.sendall(str(os.waitstatus_to_exitcode(status)).encode())


def _load() -> None:
    import dill  # noqa: F401
    import pulumi_postgresql  # noqa: F401
    import sqlalchemy.dialects.postgresql.psycopg  # noqa: F401

    for package in PACKAGES:
        for module in pkgutil.walk_packages(importlib.import_module(package).__path__, f"{package}."):
            if not any(part in f"{module.name}." for part in (f".{name}." for name in NOT_LOADED)):
                importlib.import_module(module.name)
    assert threading.active_count() == 1, "a fork has no other thread"
    interpreters.start, plugins.start = start, start  # type: ignore[assignment]
    pool.subprocess = Helpers  # type: ignore[assignment]
    for deriving in keys.MODULES:
        deriving.PBKDF2HMAC = keys.remembered(Path(sys.argv[1]).parent)
    # A search for garbage would copy the memory that the forks share.
    gc.collect()
    gc.freeze()


def _serve(client: socket.socket, *others: socket.socket) -> int:
    """Start the client's command as a fork, which does not keep the sockets of this process, and return its pid."""
    _, files, _, _ = socket.recv_fds(client, 1, 4)
    with client.makefile("rb") as sent:
        request = json.loads(sent.read())
    pid = os.fork()
    if pid == 0:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for open_ in (client, *others):
            open_.close()
        _become(request, files)
    # As soon as the client knows the fork, it can send signals to the fork's group.
    with contextlib.suppress(OSError):
        os.setpgid(pid, pid)
    for file in files:
        os.close(file)
    with contextlib.suppress(BrokenPipeError):
        client.sendall(f"{pid}\n".encode())
    return pid


def _become(request: dict[str, Any], files: Sequence[int]) -> NoReturn:
    """Turn this process into the process of the command."""
    os.setpgid(0, 0)
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"] | {SOCKET: sys.argv[1]})
    time.tzset()
    tempfile.tempdir = None
    random.seed()
    sys.dont_write_bytecode = bool(os.environ.get("PYTHONDONTWRITEBYTECODE"))
    code = 1
    try:
        code = _run(*request["command"])
    except BaseException:
        traceback.print_exc()
    finally:
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
        with contextlib.suppress(BrokenPipeError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _run(program: str, *arguments: str) -> int:
    """Run the script, or the arguments of a Python with the options that the engine uses."""
    options, module, words = set[str](), "", [*arguments]
    if not Path(program).name.startswith("python"):
        words = [program, *words]
    else:
        while words[0] in ("-P", "-u"):
            options.add(words.pop(0))
        if words[0] == "-m":
            _, module, *words = words
    buffering = 0 if "-u" in options or os.environ.get("PYTHONUNBUFFERED") else -1
    sys.stdin = os.fdopen(0, closefd=False)
    sys.stdout, sys.stderr = (
        io.TextIOWrapper(os.fdopen(number, "wb", buffering, closefd=False), errors=errors, write_through=True)
        for number, errors in ((1, "strict"), (2, "backslashreplace"))
    )
    sys.path.remove(str(PROJECT))
    if "-P" not in options:
        sys.path.insert(0, str(Path.cwd()) if module else str(Path(words[0]).parent))
    sys.argv = [module, *words] if module else words
    try:
        if module:
            runpy.run_module(module, run_name="__main__", alter_sys=True)
        else:
            runpy.run_path(words[0], run_name="__main__")
    except SystemExit as exit_:
        if isinstance(exit_.code, str):
            print(exit_.code, file=sys.stderr)
            return 1
        return exit_.code or 0
    return 0


if __name__ == "__main__":
    main()
