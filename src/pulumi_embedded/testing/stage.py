"""Run programs in the thread of the operation's caller, each as if it were a new process."""

from __future__ import annotations

import asyncio
import contextvars
import importlib
import os
import queue
import runpy
import signal
import sys
import threading
import traceback
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import grpc
import pulumi
import pulumi.runtime
from pulumi.runtime.proto import engine_pb2_grpc, resource_pb2_grpc

from pulumi_embedded.model.options import Options
from pulumi_embedded.processes.program import steady_pickler
from pulumi_embedded.storage.target import Target

__all__ = ["Program", "Stage"]

Program = Callable[[], Awaitable[None] | None] | str | os.PathLike[str]

_END_SECONDS = 5.0
_MESSAGE_BYTES = 400 * 1024 * 1024
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stage:
    """Runs programs. The next program sees neither the previous one's SDK settings nor the modules of its directory.

    The operation launches the program from its own thread, and `serve` runs it. A program in this process cannot be
    killed: after the end of an operation its requests are rejected.
    """

    pid = None

    def __init__(self, program: Program | None) -> None:
        self._program = program
        self._runs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._stopping: Callable[[], bool] = lambda: False
        self._ended = threading.Event()
        self.error: BaseException | None = None

    def launch(
        self,
        target: Target,
        options: Options,
        address: str,
        _say: Callable[[str, bool], None],
        exited: Callable[[str | None], None],
    ) -> Stage:
        """Let the program run. Its output is printed, and `exited` receives how it ended."""

        def run() -> None:
            code = contextvars.Context().run(self._run, target, options, address)
            self._ended.set()
            # The error was reported when it was raised.
            exited(None if code == 0 else "" if self.error else "the program failed")

        self._runs.put(run)
        return self

    def serve(self, stopping: Callable[[], bool]) -> None:
        """Run launched programs until `close`. While the operation is `stopping`, programs' errors are not reported."""
        self._stopping = stopping
        while (run := self._runs.get()) is not None:
            run()

    def close(self) -> None:
        """End `serve`."""
        self._runs.put(None)

    def wait(self) -> None:
        """Wait for the end of a program that has nothing left to do."""
        self._ended.wait(_END_SECONDS)

    stop = wait

    def kill(self) -> None:
        """Do nothing, because the program ends with the test."""

    def _run(self, target: Target, options: Options, address: str) -> int:
        folder = target.project.program_folder
        with _as_a_process(folder), _connected(target, options, address), steady_pickler():
            try:
                self._loop(options.parallel)
            except SystemExit as exit_:
                return exit_.code if isinstance(exit_.code, int) else int(exit_.code is not None)
            except BaseException as error:
                self.error = error
                if not self._stopping():
                    _tell(error)
                return 1
        return 0

    def _loop(self, parallel: int) -> None:
        loop = asyncio.new_event_loop()
        executor = ThreadPoolExecutor(max_workers=parallel * 4)
        loop.set_default_executor(executor)
        # A failed program leaves futures behind, and asyncio's messages about them are not useful.
        loop.set_exception_handler(lambda loop, context: None)
        try:
            loop.run_until_complete(pulumi.runtime.run_in_stack(self._call))
        finally:
            _cancel_all(loop)
            executor.shutdown()
            loop.close()

    def _call(self) -> Awaitable[None] | None:
        if self._program is None:
            raise pulumi.RunError("there is no program: set engine.program to a function, a file or a folder")
        if callable(self._program):
            return self._program()
        runpy.run_path(os.fspath(self._program), run_name="__main__")
        return None


def _tell(error: BaseException) -> None:
    frames = [frame.filename for frame in traceback.extract_tb(error.__traceback__)]
    ours = max(index for index, file in enumerate(frames) if file in (__file__, "<frozen runpy>"))
    own = traceback.format_exception(error, limit=ours + 1 - len(frames))
    unexpected = "Program failed with an unhandled exception:\n" + "".join(own)
    with suppress(grpc.RpcError):
        # The operation can have ended meanwhile.
        pulumi.log.error(str(error) if isinstance(error, pulumi.RunError) else unexpected)


def _cancel_all(loop: asyncio.AbstractEventLoop) -> None:
    """End the tasks that a failed program left."""
    tasks = asyncio.all_tasks(loop)
    for task in tasks:
        task.cancel()
    if tasks:
        loop.run_until_complete(asyncio.wait(tasks))


@contextmanager
def _connected(target: Target, options: Options, address: str) -> Iterator[None]:
    """Configure the SDK in the current context, which belongs to this run."""
    config = target.config.items()
    pulumi.runtime.set_all_config(
        {key: value.text for key, value in config}, [key for key, value in config if value.secret]
    )
    limits = [("grpc.max_receive_message_length", _MESSAGE_BYTES)]
    with grpc.insecure_channel(address, options=limits) as channel:
        pulumi.runtime.configure(
            pulumi.runtime.Settings(
                project=target.project.name,
                stack=target.stack,
                organization="organization",
                monitor=resource_pb2_grpc.ResourceMonitorStub(channel),
                engine=engine_pb2_grpc.EngineStub(channel),
                parallel=options.parallel,
                dry_run=options.dry_run,
                root_directory=str(target.project.folder),
            )
        )
        yield


@contextmanager
def _as_a_process(folder: Path) -> Iterator[None]:
    """Run the block in the program's directory, and undo what the end of a process would undo."""
    before: dict[str, Any] = {"argv": sys.argv, "path": sys.path, "dont_write_bytecode": sys.dont_write_bytecode}
    handlers = {number: signal.getsignal(number) for number in _SIGNALS}
    modules, home = set(sys.modules), Path.cwd()
    # Two versions of a module can have the same size and time, so Python would use the old compiled one.
    sys.argv, sys.path, sys.dont_write_bytecode = [str(folder)], [str(folder), *sys.path], True
    importlib.invalidate_caches()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(home)
        for name in [name for name in sys.modules.keys() - modules if _lies_in(folder, name)]:
            del sys.modules[name]
        vars(sys).update(before)
        with suppress(ValueError):
            # Only the main thread can set handlers.
            for number, handler in handlers.items():
                signal.signal(number, handler)


def _lies_in(folder: Path, module: str) -> bool:
    """Return whether the module, or its package, is in the directory itself."""
    file = getattr(sys.modules.get(module.partition(".")[0]), "__file__", None)
    return file is not None and folder in (Path(file).parent, Path(file).parent.parent)
