"""Messages from inside a provider's call to the person at the terminal, through the engine's log."""

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
    """Shows the person what is done for the resource `urn`, beside it, in previews and updates alike."""

    urn: str

    def warning(self, text: str) -> None:
        """As `info`, counted and marked as a warning."""
        _log(text, self.urn, severity="WARNING")

    def info(self, text: str) -> None:
        """Show `text` beside the resource and under its name in the diagnostics."""
        _log(text, self.urn)

    def status(self, text: str) -> None:
        """Show `text` beside the resource until the next one, and nowhere else."""
        _log(text, self.urn, ephemeral=True)

    def applied(self, revision: str) -> None:
        """As `status`, of a revision."""
        self.status(f"applied {revision}")

    def waits(self, text: str) -> None:
        """As `info`."""
        self.info(text)

    def kept(self, text: str) -> None:
        """As `info`."""
        self.info(text)

    def backfill(self, text: str) -> None:
        """As `info`."""
        self.info(text)

    def command(self, verb: str) -> str:
        """How the person at the terminal runs `verb` on the stack of this resource, whichever stack is selected there.

        It is a command of Pulumi's CLI, unless the engine in use says its own name.
        """
        flags = f" --stack {shlex.quote(self.stack)}" if self.stack else ""
        return f"{os.environ.get('PULUMI_COMMAND', 'pulumi')} {verb}{flags}"

    @property
    def stack(self) -> str:
        """The stack of `urn:pulumi:STACK::PROJECT::…`; empty where it is none."""
        return self.urn.removeprefix("urn:pulumi:").partition("::")[0] if self.urn.startswith("urn:pulumi:") else ""


def _log(message: str, urn: str, *, severity: str = "INFO", ephemeral: bool = False) -> None:
    engine = _engine()
    if engine is not None:
        from pulumi.runtime.proto import engine_pb2

        level = engine_pb2.LogSeverity.Value(severity)
        engine.Log(engine_pb2.LogRequest(severity=level, message=printable(message), urn=urn, ephemeral=ephemeral))


@cache
def _engine() -> Any:
    """The engine that started this plugin; None in a process that no engine started.

    An engine passes its address as the plugin's last argument (Pulumi SDK 3.272, pulumi.dynamic): `HOST:PORT`, or
    `unix:PATH` for a socket.
    """
    host, _, port = sys.argv[-1].rpartition(":")
    if not (host and port.isdigit()) and not sys.argv[-1].startswith("unix:"):
        return None
    import grpc
    from pulumi.runtime.proto import engine_pb2_grpc

    return engine_pb2_grpc.EngineStub(grpc.insecure_channel(sys.argv[-1]))
