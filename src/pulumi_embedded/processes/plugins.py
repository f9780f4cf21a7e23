"""Find provider plugins as the Pulumi CLI does, start them as processes, forward their output and end them."""

from __future__ import annotations

import contextlib
import itertools
import os
import queue
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Final

import grpc

from pulumi_embedded.errors import EngineError
from pulumi_embedded.processes.interpreters import start
from pulumi_embedded.processes.sockets import address_of
from pulumi_embedded.processes.traced_calls import traced
from pulumi_embedded.storage.workspace import pulumi_home
from pulumi_embedded.tracing import span

__all__ = ["DYNAMIC", "PluginHost", "PluginProcess", "find_plugin"]

DYNAMIC: Final = "pulumi-python"
"""The package of the dynamic providers."""

_START_SECONDS: Final = 60.0
_END_SECONDS: Final = 5.0
_LINE_CHARACTERS: Final = 4096
_MESSAGE_BYTES: Final = 400 * 1024 * 1024
_DYNAMIC: Final = Path(__file__).with_name("dynamic.py")
_PACKAGE_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")


def find_plugin(package: str, version: str, python: str, socket: Path) -> list[str]:
    """Return the command that starts a package's plugin, without the engine's address.

    The order is the CLI's: the PATH (unless PULUMI_IGNORE_AMBIENT_PLUGINS is set), then `$PULUMI_HOME/plugins`. Dynamic
    providers run in the program's own interpreter. For `postgresql` the plugin of this package is the last choice.

    Args:
        package: The package.
        version: The version. Empty for the newest.
        python: The program's interpreter.
        socket: The socket that our own two plugins listen on. Others choose a port of the loopback interface.

    Raises:
        EngineError: The name is not valid, or no plugin is installed.

    """
    if package == DYNAMIC:
        # -P: modules beside dynamic.py must not hide those of the standard library.
        return [python, "-P", "-u", str(_DYNAMIC), str(socket)]
    if not _PACKAGE_NAME.fullmatch(package):
        raise EngineError(f"{package!r} is not the name of a package")
    name = f"pulumi-resource-{package}"
    ambient = None if _is_true("PULUMI_IGNORE_AMBIENT_PLUGINS") else shutil.which(name)
    paths = ambient or _installed(package, version)
    if paths:
        return [paths]
    if package == "postgresql":
        return [sys.executable, "-u", "-m", "pulumi_embedded.postgresql", str(socket)]
    version_text = f" at version v{version}" if version else ""
    raise EngineError(
        f"no resource plugin '{name}' found in the workspace{version_text} or on your $PATH\n"
        "the embedded engine installs no plugins; with the Pulumi CLI: "
        f"pulumi plugin install resource {package}{' ' + version if version else ''}"
    )


def _is_true(variable: str) -> bool:
    return os.environ.get(variable, "").lower() in ("1", "true")


def _installed(package: str, version: str) -> str | None:
    folder = pulumi_home() / "plugins"
    pattern = f"resource-{package}-v{version or '*'}"
    matches = sorted(
        (directory / f"pulumi-resource-{package}" for directory in folder.glob(pattern)), key=_version_of, reverse=True
    )
    return next((str(path) for path in matches if os.access(path, os.X_OK)), None)


def _version_of(path: Path) -> list[int]:
    return [int(part) for part in re.findall(r"\d+", path.parent.name.rpartition("-v")[2])]


class PluginProcess:
    """A running plugin. `close` ends it. After an unexpected end, every call reports that."""

    def __init__(self, package: str, process: subprocess.Popen[str], address: str) -> None:
        self.package = package
        self._process = process
        options = [("grpc.max_receive_message_length", _MESSAGE_BYTES), ("grpc.max_send_message_length", -1)]
        self.channel = traced(grpc.insecure_channel(address, options=options))

    def ended(self) -> str | None:
        """Return how the process ended. None while it runs."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            # A broken connection can be noticed before the process is reaped.
            self._process.wait(0.5)
        code = self._process.poll()
        if code is None:
            return None
        return f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"

    def kill(self) -> None:
        """End the process by force."""
        _end(self._process, signal.SIGKILL)

    def close(self) -> None:
        """Ask the process to end, and kill it if it does not."""
        self.channel.close()
        _end(self._process, signal.SIGTERM)
        try:
            self._process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            self._process.wait()


def _end(process: subprocess.Popen[str], number: signal.Signals) -> None:
    """Send a signal to the process group of a process that was not reaped."""
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)


class PluginHost:
    """Starts plugins, also before their first use, and forwards their output."""

    def __init__(
        self,
        engine: str,
        sockets: Path,
        folder: Path,
        python: str,
        say: Callable[[str, bool], None],
        watch: Callable[[int], None],
    ) -> None:
        self._engine = engine
        self._sockets = (sockets / f"plugin-{number}" for number in itertools.count(1))
        self._folder = folder
        self._python = python
        self._say = say
        self._watch = watch
        self._lock = threading.Lock()
        self._ahead: dict[tuple[str, str], list[queue.SimpleQueue[PluginProcess | EngineError]]] = {}
        self._running: list[PluginProcess] = []
        self._starting: list[subprocess.Popen[str]] = []
        self._closed = False

    def start_ahead(self, package: str, version: str, modules: Sequence[str] = ()) -> None:
        """Begin to start a plugin in the background. `start` reports a failure.

        Args:
            package: The package.
            version: The version.
            modules: Modules that the plugin of dynamic providers loads.

        """
        place: queue.SimpleQueue[PluginProcess | EngineError] = queue.SimpleQueue()
        with self._lock:
            self._ahead.setdefault((package, version), []).append(place)

        def start() -> None:
            try:
                place.put(self._start(package, version, modules))
            except EngineError as error:
                place.put(error)

        threading.Thread(target=start, daemon=True).start()

    def start(self, package: str, version: str) -> PluginProcess:
        """Return a plugin process for one provider. Raises EngineError if it cannot be started."""
        with self._lock:
            waiting = self._ahead.get((package, version))
            place = waiting.pop() if waiting else None
        if place is None:
            return self._start(package, version)
        plugin = place.get()
        if isinstance(plugin, EngineError):
            raise plugin
        return plugin

    def _start(self, package: str, version: str, modules: Sequence[str] = ()) -> PluginProcess:
        with span("start plugin", {"pulumi.package": package}):
            return self._started(package, version, modules)

    def _started(self, package: str, version: str, modules: Sequence[str]) -> PluginProcess:
        with self._lock:
            socket = next(self._sockets)
        command = [*find_plugin(package, version, self._python, socket), *modules, self._engine]
        try:
            process = start(command, self._folder, subprocess.DEVNULL)
        except OSError as error:
            raise EngineError(f"the plugin {command[0]} cannot be started: {error}") from None
        with self._lock:
            self._watch(process.pid)
            self._starting.append(process)
            if self._closed:
                _end(process, signal.SIGKILL)
        plugin = PluginProcess(package, process, self._address(package, process, address_of(socket)))
        with self._lock:
            self._starting.remove(process)
            self._running.append(plugin)
        return plugin

    def _address(self, package: str, process: subprocess.Popen[str], socket: str) -> str:
        """Return the plugin's address from its first line, which is its socket or a port."""
        errors: list[str] = []
        assert process.stdout is not None and process.stderr is not None  # noqa: S101 - both are pipes
        first: queue.SimpleQueue[str] = queue.SimpleQueue()

        def complain(line: str) -> None:
            errors.append(line)
            self._say(line, True)

        complaints = self._forward(process.stderr, complain)
        self._forward(process.stdout, lambda line: self._say(line, False), first)
        try:
            line = first.get(timeout=_START_SECONDS)
        except queue.Empty:
            line = None
        if line is not None and line.rstrip("\n") == socket:
            return socket
        if line is not None and re.fullmatch("[0-9]{1,5}", line.strip()) and 0 < int(line) < 65536:
            return f"127.0.0.1:{int(line)}"
        _end(process, signal.SIGKILL)
        code = process.wait()
        complaints.join(1.0)
        behaviour = "said nothing" if line is None else "ended" if not line else f"printed {line.strip()[:80]!r}"
        how = f"exit code {code}" if line == "" else f"waited {_START_SECONDS:.0f} s" if line is None else "not a port"
        detail = "".join(f"\n  {error}" for error in errors[-5:])
        raise EngineError(f"the plugin of {package} did not start: it {behaviour} instead of its port ({how}){detail}")

    def _forward(
        self,
        stream: IO[str],
        say: Callable[[str], object],
        first: queue.SimpleQueue[str] | None = None,
    ) -> threading.Thread:
        def read() -> None:
            with stream:
                if first is not None:
                    first.put(stream.readline(_LINE_CHARACTERS))
                for line in stream:
                    say(line.rstrip("\n"))

        thread = threading.Thread(target=read, daemon=True)
        thread.start()
        return thread

    def kill(self) -> None:
        """Kill every plugin at once."""
        for plugin in list(self._running):
            plugin.kill()
        for process in list(self._starting):
            _end(process, signal.SIGKILL)

    def close(self) -> None:
        """End every plugin, including unused ones."""
        with self._lock:
            self._closed = True
            places = [place for waiting in self._ahead.values() for place in waiting]
            self._ahead.clear()
            for process in self._starting:
                _end(process, signal.SIGKILL)
        for place in places:
            place.get()
        threads = [threading.Thread(target=plugin.close) for plugin in self._running]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
