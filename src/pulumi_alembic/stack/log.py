"""Messages of a provider's call to the person at the terminal, through the engine's log."""

from __future__ import annotations

import os
import shlex
import sys
from dataclasses import dataclass
from functools import cache
from typing import Any

from pulumi_alembic.output.printable import printable

__all__ = ["Log"]


@dataclass
class Log:
    """Prints messages beside the resource `urn`, in previews and updates."""

    urn: str

    def warning(self, text: str) -> None:
        """Print `text` as `info` does, marked and counted as a warning."""
        _log(text, self.urn, severity="WARNING")

    def info(self, text: str) -> None:
        """Print `text` beside the resource and in the diagnostics."""
        _log(text, self.urn)

    def status(self, text: str) -> None:
        """Print `text` beside the resource until the next message. It is not part of the diagnostics."""
        _log(text, self.urn, ephemeral=True)

    def applied(self, revision: str) -> None:
        """Print an applied revision as `status` does."""
        self.status(f"applied {revision}")

    def waits(self, text: str) -> None:
        """Print whom the run waits for, as `info` does."""
        self.info(text)

    def kept(self, text: str) -> None:
        """Print what was preserved or restored, as `info` does."""
        self.info(text)

    def backfill(self, text: str) -> None:
        """Print the progress of a backfill, as `info` does."""
        self.info(text)

    def command(self, verb: str) -> str:
        """Return the command line that runs `verb` on this resource's stack, whichever stack is selected.

        It begins with `pulumi`, unless the engine sets another name in PULUMI_COMMAND.
        """
        flags = f" --stack {shlex.quote(self.stack)}" if self.stack else ""
        return f"{os.environ.get('PULUMI_COMMAND', 'pulumi')} {verb}{flags}"

    @property
    def stack(self) -> str:
        """The stack in `urn:pulumi:STACK::PROJECT::…`. Empty if `urn` has another form."""
        return self.urn.removeprefix("urn:pulumi:").partition("::")[0] if self.urn.startswith("urn:pulumi:") else ""


def _log(message: str, urn: str, *, severity: str = "INFO", ephemeral: bool = False) -> None:
    engine = _engine()
    if engine is not None:
        from pulumi.runtime.proto import engine_pb2

        level = engine_pb2.LogSeverity.Value(severity)
        engine.Log(engine_pb2.LogRequest(severity=level, message=printable(message), urn=urn, ephemeral=ephemeral))


@cache
def _engine() -> Any:
    """Return a client of the engine that started this plugin. None if no engine started this process.

    An engine passes its address as the plugin's last argument (Pulumi SDK 3.272, pulumi.dynamic): `HOST:PORT`, or
    `unix:PATH` for a socket.
    """
    host, _, port = sys.argv[-1].rpartition(":")
    if not (host and port.isdigit()) and not sys.argv[-1].startswith("unix:"):
        return None
    import grpc
    from pulumi.runtime.proto import engine_pb2_grpc

    return engine_pb2_grpc.EngineStub(grpc.insecure_channel(sys.argv[-1]))
