"""Record the calls of a plugin as spans, and pass their context on in the metadata."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import grpc

from pulumi_embedded.tracing import carrier, span, wanted

__all__ = ["traced"]


def traced(channel: grpc.Channel) -> grpc.Channel:
    """Return the channel, whose calls are spans if traces are requested."""
    return grpc.intercept_channel(channel, _Calls()) if wanted("TRACES") else channel


class _Details(NamedTuple):
    method: str
    timeout: float | None
    metadata: Any
    credentials: Any
    wait_for_ready: bool | None
    compression: Any


class _Calls(grpc.UnaryUnaryClientInterceptor):  # type: ignore[type-arg]
    def intercept_unary_unary(self, continuation: Callable[..., Any], details: Any, request: Any) -> Any:
        method = details.method.strip("/")
        # Attributes of OpenTelemetry's semantic conventions for RPC (1.40).
        named = {"rpc.system.name": "grpc", "rpc.method": method, "pulumi.urn": getattr(request, "urn", "")}
        call = span(method, named, client=True)
        metadata = [*(details.metadata or ()), *carrier().items()]
        waits = getattr(details, "wait_for_ready", None)
        compression = getattr(details, "compression", None)
        response = continuation(
            _Details(details.method, details.timeout, metadata, details.credentials, waits, compression), request
        )
        error = response.exception()
        if isinstance(error, grpc.RpcError):
            call.add({"rpc.response.status_code": error.code().name})
            # A plugin is allowed to lack calls.
            error = None if error.code() is grpc.StatusCode.UNIMPLEMENTED else error
        call.end(error)
        return response
