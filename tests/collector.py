"""An OpenTelemetry collector that takes spans and metrics over OTLP, and keeps them for a test."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import grpc
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2, metrics_service_pb2_grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc

from pulumi_alembic.output import tracing

__all__ = ["Collected", "Recorded", "collector", "forget", "http_collector"]


@dataclass(frozen=True)
class Recorded:
    """A span. Its times are nanoseconds since 1970, and its error is the `error.type`."""

    id: str
    parent: str
    trace: str
    name: str
    service: str
    begun: int
    ended: int
    failed: bool
    attributes: dict[str, Any]


@dataclass
class Collected:
    """The received telemetry. `raw` is every message in a readable form."""

    endpoint: str
    spans: list[Recorded] = field(default_factory=list)
    metrics: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    raw: list[str] = field(default_factory=list)

    def add_spans(self, request: Any) -> None:
        """Add a message with spans."""
        self.raw.append(str(request))
        for resource in request.resource_spans:
            service = _values(resource.resource.attributes)["service.name"]
            for scope in resource.scope_spans:
                self.spans += [_recorded(span, service) for span in scope.spans]

    def add_metrics(self, request: Any) -> None:
        """Add a message with metrics."""
        self.raw.append(str(request))
        for resource in request.resource_metrics:
            for metric in (metric for scope in resource.scope_metrics for metric in scope.metrics):
                points = getattr(metric, metric.WhichOneof("data")).data_points
                self.metrics[metric.name] = [_values(point.attributes) for point in points]

    @property
    def environment(self) -> dict[str, str]:
        """The variables that make a command send its spans to this collector."""
        return {"OTEL_EXPORTER_OTLP_ENDPOINT": self.endpoint}

    def named(self, name: str) -> list[Recorded]:
        """Return the spans of this name, ordered by their beginning."""
        return sorted((each for each in self.spans if each.name == name), key=lambda each: each.begun)

    def children(self, parent: Recorded) -> list[Recorded]:
        """Return the direct children of a span, ordered by their beginning."""
        return sorted((each for each in self.spans if each.parent == parent.id), key=lambda each: each.begun)

    def path(self, span: Recorded) -> list[str]:
        """Return the names from the root down to the span."""
        above = [each for each in self.spans if each.id == span.parent]
        return [*(self.path(above[0]) if above else []), span.name]


@contextmanager
def collector() -> Iterator[Collected]:
    """Listen on a port of the loopback interface until the end of the block."""
    server = grpc.server(ThreadPoolExecutor(4))
    collected = Collected(f"http://127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}")

    class Traces(trace_service_pb2_grpc.TraceServiceServicer):
        def Export(self, request: Any, context: Any) -> Any:  # noqa: N802
            collected.add_spans(request)
            return trace_service_pb2.ExportTraceServiceResponse()

    class Metrics(metrics_service_pb2_grpc.MetricsServiceServicer):
        def Export(self, request: Any, context: Any) -> Any:  # noqa: N802
            collected.add_metrics(request)
            return metrics_service_pb2.ExportMetricsServiceResponse()

    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(Traces(), server)
    metrics_service_pb2_grpc.add_MetricsServiceServicer_to_server(Metrics(), server)
    server.start()
    try:
        yield collected
    finally:
        server.stop(None)


@contextmanager
def http_collector() -> Iterator[Collected]:
    """Run a collector over HTTP, with the protocol http/protobuf."""
    taken = {
        "/v1/traces": (trace_service_pb2.ExportTraceServiceRequest, Collected.add_spans),
        "/v1/metrics": (metrics_service_pb2.ExportMetricsServiceRequest, Collected.add_metrics),
    }

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            message, add = taken[self.path]
            add(collected, message.FromString(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        collected = Collected(f"http://127.0.0.1:{server.server_port}")
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield collected
        finally:
            server.shutdown()
            thread.join()


def _recorded(span: Any, service: str) -> Recorded:
    return Recorded(
        span.span_id.hex(),
        span.parent_span_id.hex(),
        span.trace_id.hex(),
        span.name,
        service,
        span.start_time_unix_nano,
        span.end_time_unix_nano,
        span.status.code == span.status.STATUS_CODE_ERROR,
        _values(span.attributes),
    )


def _values(attributes: Any) -> dict[str, Any]:
    return {each.key: _value(each.value) for each in attributes}


def _value(value: Any) -> Any:
    kind = value.WhichOneof("value")
    return [_value(each) for each in value.array_value.values] if kind == "array_value" else getattr(value, kind)


def forget() -> None:
    """Reset tracing as in a new process."""
    for provider in tracing._providers:
        provider.shutdown()
    tracing._providers.clear()
    for cached in (tracing.wanted, tracing._tracer, tracing._meter, tracing._joined, tracing._instrument):
        cached.cache_clear()
