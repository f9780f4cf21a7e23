"""How errors leave the plugin process: as their text, with the state that they left. Also the metadata of a call.

The SDK's plugin (pulumi.dynamic, SDK 3.272) answers every exception of a provider with `traceback.format_exc()`, and
cannot report that a resource was changed half-way. Pulumi's protocol can: the details of an error can contain an
ErrorResourceInitFailed. The engine writes its id and properties into the state before it reports the failure.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterable
from types import ModuleType
from typing import Any

from pulumi_alembic.database import server_message
from pulumi_alembic.errors import MigrationError
from pulumi_alembic.output.printable import printable

__all__ = ["HalfDone", "headers", "install"]

UNKNOWN = 2  # the gRPC status of every error that the plugin returns


class HalfDone(MigrationError):
    """The resource `id` was changed, but not completely. `outputs` are its properties now."""

    def __init__(self, message: str, id: str, outputs: dict[str, Any]) -> None:
        super().__init__(message)
        self.id = id
        self.outputs = outputs


def install(plugin: ModuleType) -> None:
    """Let the plugin answer a MigrationError with its text. Every other exception keeps its traceback.

    Args:
        plugin: The module that runs pulumi.dynamic. A module that formats its errors in another way is left unchanged.

    """
    if getattr(plugin, "traceback", None) is traceback:
        plugin.traceback = _Formatter()  # type: ignore[attr-defined]


def headers() -> dict[str, str]:
    """Return the gRPC metadata of the call in progress. Empty if the SDK's plugin made no call.

    The metadata is read from the frame two levels up, which must be that of the plugin's method.
    """
    call = sys._getframe(2).f_locals.get("context")
    metadata: Iterable[tuple[str, Any]] = getattr(call, "invocation_metadata", tuple)()
    return {key: value for key, value in metadata if isinstance(value, str)}


class _Formatter:
    def format_exc(self) -> str:
        error = sys.exception()
        if not isinstance(error, MigrationError):
            return printable(_without_rows(traceback.format_exc(), error))
        # The caller is the SDK's wrapper around one call, whose gRPC context is its third argument.
        call = sys._getframe(1).f_locals.get("context")
        if isinstance(error, HalfDone) and call is not None:
            call.set_trailing_metadata((("grpc-status-details-bin", _details(error)),))
        return str(error)


def _without_rows(text: str, error: BaseException | None) -> str:
    """Return the traceback without row values that the server quoted in the error or in its causes."""
    while error is not None:
        if message := str(error):
            text = text.replace(message, server_message.any_error(error))
        error = error.__cause__ or error.__context__
    return text


def _details(error: HalfDone) -> bytes:
    from google.protobuf import any_pb2, struct_pb2
    from pulumi.runtime.proto import provider_pb2, status_pb2

    properties = struct_pb2.Struct()
    properties.update(error.outputs)
    failed = provider_pb2.ErrorResourceInitFailed(id=error.id, properties=properties, reasons=[str(error)])
    packed = any_pb2.Any()
    packed.Pack(failed)
    return status_pb2.Status(code=UNKNOWN, message=str(error), details=[packed]).SerializeToString()
