"""Engines as forks of one process, which tests.forks starts.

A run has `arguments`, `environment` (complete), `output` (a file) and `fault`.

`fault` says where the engine fails while it writes the state: `write` is the number of the write, `point` the place in
it, and `does` the failure. Otherwise it gives the seconds that the engine waits for a plugin's `start` and its
`handshake`, and the `bytes` that it accepts from one.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

from pulumi_embedded import cli
from pulumi_embedded.processes import interpreters, plugins, provider
from pulumi_embedded.storage import files, secrets, statefile
from tests import loaded
from tests.forks import redirect, serve
from tests.stack.engine.written import check_states

# The salt of the stacks in these tests, whose passphrase is empty. Deriving the key takes most of a short command.
SALT = "v1:rJ+R4Ya1Q+o=:v1:5jqDyyKtleEecS/u:BM5JYept0wdk+wAUiUG7ucRcUyceyA=="


class Fault:
    """Counts the writes of the state in the store, and fails in the planned one."""

    def __init__(self, plan: dict[str, Any], store: Path) -> None:
        self._plan = plan
        self._store = store
        self._writes = 0
        self._syncs = 0
        self._state: Path | None = None
        self._backup, self._write, self._sync = statefile.keep_backup, statefile.write_atomically, os.fsync
        statefile.keep_backup = self._keep_backup  # type: ignore[assignment]
        statefile.write_atomically = self._write_atomically  # type: ignore[assignment]

    def _keep_backup(self, path: Path, backup: Path) -> None:
        self._writes += 1
        self._state = path
        (self._store / "writes").write_text(str(self._writes))
        self._at("before")
        self._backup(path, backup)
        self._at("backed up")

    def _write_atomically(self, path: Path, content: bytes) -> None:
        if path != self._state and self._plan.get("does") != "full everywhere":
            self._write(path, content)
            return
        self._syncs = 0
        os.fsync = self._fsync
        try:
            self._write(path, content)
        finally:
            os.fsync = self._sync
        self._at("after")

    def _fsync(self, descriptor: int) -> None:
        self._syncs += 1
        if self._syncs == 1:
            self._sync(descriptor)
        self._at("written" if self._syncs == 1 else "renamed")

    def _at(self, point: str) -> None:
        if (self._plan.get("write"), self._plan.get("point")) == (self._writes, point):
            self._strike(self._plan["does"])

    def _strike(self, what: str) -> None:
        if what.startswith("full"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if what in ("kill plugin", "kill both"):
            processes = self._store / "processes"
            for line in processes.read_text().splitlines() if processes.exists() else []:
                if line.startswith("plugin "):
                    _kill(int(line.split()[1]))
        if what in ("kill engine", "kill both"):
            os.kill(os.getpid(), signal.SIGKILL)


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def _run(command: dict[str, Any]) -> None:
    os.setsid()
    redirect(command["output"])
    os.environ.clear()
    os.environ.update(command["environment"])
    tempfile.tempdir = None
    sys.argv = ["pulumi-embedded", *command["arguments"]]
    fault = command.get("fault") or {}
    plugins._START_SECONDS = fault.get("start", plugins._START_SECONDS)
    provider._HANDSHAKE_SECONDS = fault.get("handshake", provider._HANDSHAKE_SECONDS)
    plugins._MESSAGE_BYTES = fault.get("bytes", plugins._MESSAGE_BYTES)
    Fault(fault, Path(command["environment"]["FAULTY_STORE"]))
    code = 1
    try:
        cli.main()
        code = 0
    except SystemExit as exit_:
        code = int(exit_.code or 0)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    check_states()
    interpreters.start = plugins.start = loaded.start  # type: ignore[assignment]
    secrets.Crypter.open(SALT, "")
    assert files.write_atomically is statefile.write_atomically
    serve(_run)
