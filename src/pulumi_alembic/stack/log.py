"""Messages from inside a provider's call to the person at the terminal, through the engine's log."""

from __future__ import annotations

import os
import shlex
import sys
from functools import cache
from typing import Any

from pulumi_alembic.output.printable import printable

__all__ = ["command", "info", "stack", "status", "warning"]


def warning(message: str, urn: str) -> None:
    """As `info`, counted and marked as a warning."""
    _log(message, urn, severity="WARNING")


def info(message: str, urn: str) -> None:
    """Show `message` beside the resource and under its name in the diagnostics, in previews and updates alike."""
    _log(message, urn)


def status(message: str, urn: str) -> None:
    """Show `message` beside the resource until the next one, and nowhere else."""
    _log(message, urn, ephemeral=True)


def command(verb: str, urn: str) -> str:
    """How the person at the terminal runs `verb` on the stack of this resource, whichever stack is selected there.

    It is a command of Pulumi's CLI, unless the engine in use says its own name.
    """
    name = stack(urn)
    flags = f" --stack {shlex.quote(name)}" if name else ""
    return f"{os.environ.get('PULUMI_COMMAND', 'pulumi')} {verb}{flags}"


def stack(urn: str) -> str:
    """The stack of `urn:pulumi:STACK::PROJECT::…`; empty where it is none."""
    return urn.removeprefix("urn:pulumi:").partition("::")[0] if urn.startswith("urn:pulumi:") else ""


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
