"""Traces and metrics by OpenTelemetry, which is imported only if the usual variables request them.

`pulumi_alembic` and `pulumi_embedded` are independent libraries. Each has this file, and a test compares the two.

The variables are those of the OpenTelemetry specification, "Environment Variable Specification" and "OpenTelemetry
Protocol Exporter" (1.50). `TRACEPARENT` is that of "Environment Variables as Context Propagation Carriers", in the form
of the W3C's Trace Context.
"""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from types import TracebackType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.metrics import Meter
    from opentelemetry.trace import Tracer

__all__ = [
    "Attributes",
    "Span",
    "carrier",
    "continued",
    "count",
    "environment",
    "error_type",
    "measure",
    "remembered",
    "span",
    "wanted",
]

Attributes = Mapping[str, str | bool | int | float | Sequence[str] | Sequence[int]]

_NAME = __name__.partition(".")[0].replace("_", "-")
_CARRIED = ("traceparent", "tracestate")
_TIMEOUT = 3.0
"""Seconds to wait for a collector, unless OTEL_EXPORTER_OTLP_TIMEOUT is set.

The specification's ten seconds would delay a command too long.
"""


class Span:
    """A span of a trace. This class records nothing, for a process without traces."""

    def add(self, attributes: Attributes) -> None:
        """Add attributes."""

    def end(self, error: BaseException | None = None) -> None:
        """End the span, once. The trace records the SQLSTATE or the class of an error, but no message and no value."""

    def __enter__(self) -> Span:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end(error)


_NONE = Span()
_inside: ContextVar[bool] = ContextVar("_inside", default=False)
_remembered: list[Context] = []


def span(name: str, attributes: Attributes | None = None, *, client: bool = False) -> Span:
    """Begin a span. It is the parent of the spans that begin in this thread until it ends.

    The outermost span of a thread belongs to the `continued` one, otherwise to the `remembered` one, otherwise to that
    of the variable `TRACEPARENT`. Its end sends all spans.

    Args:
        name: The name.
        attributes: The first attributes.
        client: Whether the span waits for another program.

    """
    tracer = _tracer()
    return _NONE if tracer is None else _Recorded(tracer, name, attributes or {}, client)


def count(name: str, attributes: Attributes, amount: int = 1) -> None:
    """Add to a counter."""
    if meter := _meter():
        _instrument(meter.create_counter, name, "1").add(amount, dict(attributes))


def measure(name: str, seconds: float, attributes: Attributes) -> None:
    """Record a duration in a histogram."""
    if meter := _meter():
        _instrument(meter.create_histogram, name, "s").record(seconds, dict(attributes))


@contextmanager
def continued(headers: Mapping[str, str]) -> Iterator[None]:
    """Let the spans of this thread belong to the span that the headers of a message name, if there is one."""
    if _tracer() is None or _CARRIED[0] not in headers:
        yield
        return
    from opentelemetry import context

    token = context.attach(_named(headers))
    try:
        yield
    finally:
        context.detach(token)


def error_type(error: BaseException) -> str:
    """Return the SQLSTATE of a driver's error, even inside SQLAlchemy's, or the name of the error's class.

    It is the attribute `error.type` of the semantic conventions for databases (1.40).
    """
    inner = getattr(error, "orig", None) or error
    return str(getattr(inner, "sqlstate", None) or type(error).__name__)


def carrier() -> dict[str, str]:
    """Return headers with which another process continues the trace of this thread. Empty if nothing is traced."""
    if _tracer() is None:
        return {}
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    headers: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(headers, context=_parent())
    return headers


def environment() -> dict[str, str] | None:
    """Return this process's variables with a child's `TRACEPARENT`. None for unchanged variables."""
    headers = carrier()
    return {**os.environ, **{key.upper(): value for key, value in headers.items()}} if headers else None


@contextmanager
def remembered(name: str, attributes: Attributes | None = None) -> Iterator[Span]:
    """Begin a span that is also the parent of spans in other threads, until it ends."""
    with span(name, attributes) as shared:
        _remembered[:] = [_parent()] if _tracer() else []
        try:
            yield shared
        finally:
            _remembered.clear()


@functools.cache
def wanted(signal: str) -> bool:
    """Return whether the variables request a signal: `TRACES` or `METRICS`."""
    if os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    if exporters := os.environ.get(f"OTEL_{signal}_EXPORTER", "").strip():
        return "otlp" in exporters.split(",")
    return any(os.environ.get(f"OTEL_EXPORTER_OTLP_{name}") for name in ("ENDPOINT", f"{signal}_ENDPOINT"))


class _Recorded(Span):
    def __init__(self, tracer: Tracer, name: str, attributes: Attributes, client: bool) -> None:
        from opentelemetry import context, trace

        self._outermost = not (_inside.get() or _remembered)
        self._was_inside = _inside.set(True)
        kind = trace.SpanKind.CLIENT if client else trace.SpanKind.INTERNAL
        self._span = tracer.start_span(name, _parent(), kind, dict(attributes))
        self._token = context.attach(trace.set_span_in_context(self._span))
        self._ended = False

    def add(self, attributes: Attributes) -> None:
        self._span.set_attributes(dict(attributes))

    def end(self, error: BaseException | None = None) -> None:
        if self._ended:
            return
        from opentelemetry import context
        from opentelemetry.trace import Status, StatusCode

        self._ended = True
        if error is not None:
            self._span.set_attribute("error.type", error_type(error))
            self._span.set_status(Status(StatusCode.ERROR))
        self._span.end()
        context.detach(self._token)
        _inside.reset(self._was_inside)
        if self._outermost:
            _send()


def _parent() -> Context:
    from opentelemetry import context, trace

    current = context.get_current()
    if trace.get_current_span(current).get_span_context().is_valid:
        return current
    return _remembered[0] if _remembered else _joined()


@functools.cache
def _joined() -> Context:
    return _named({key: value for key in _CARRIED if (value := os.environ.get(key.upper()))})


def _named(headers: Mapping[str, str]) -> Context:
    from opentelemetry.context import Context
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    return TraceContextTextMapPropagator().extract({key: headers[key] for key in _CARRIED if key in headers}, Context())


_providers: list[Any] = []


def _send() -> None:
    for provider in _providers:
        provider.force_flush()


@functools.cache
def _tracer() -> Tracer | None:
    if not wanted("TRACES") or (exporter := _exporter("traces", "trace_exporter", "OTLPSpanExporter")) is None:
        return None
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.sdk.trace.id_generator import IdGenerator

    class Ids(IdGenerator):
        """Random ids from the system. The SDK's own come from Python's generator, which a script can seed."""

        def generate_span_id(self) -> int:
            return int.from_bytes(os.urandom(8)) or 1

        def generate_trace_id(self) -> int:
            return int.from_bytes(os.urandom(16)) or 1

    # A provider of our own: the global one belongs to the program, and the Pulumi SDK (3.272) sets it.
    provider = TracerProvider(resource=_resource(), id_generator=Ids())
    provider.add_span_processor(BatchSpanProcessor(exporter))
    _providers.append(provider)
    return provider.get_tracer(_NAME)


@functools.cache
def _meter() -> Meter | None:
    if not wanted("METRICS") or (exporter := _exporter("metrics", "metric_exporter", "OTLPMetricExporter")) is None:
        return None
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader

    provider = MeterProvider([PeriodicExportingMetricReader(exporter)], _resource())
    _providers.append(provider)
    return provider.get_meter(_NAME)


@functools.cache
def _instrument(create: Callable[..., Any], name: str, unit: str) -> Any:
    return create(name, unit)


def _resource() -> Any:
    from opentelemetry.sdk.resources import Resource

    named = os.environ.get("OTEL_SERVICE_NAME") or "service.name=" in os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
    return Resource.create({} if named else {"service.name": _NAME})


def _exporter(signal: str, module: str, name: str) -> Any:
    """Return the exporter that the variables request. None, after one printed line, if it is not available."""
    own = os.environ.get(f"OTEL_EXPORTER_OTLP_{signal.upper()}_PROTOCOL")
    protocol = own or os.environ.get("OTEL_EXPORTER_OTLP_PROTOCOL") or "grpc"
    kind = {"grpc": "grpc", "http/protobuf": "http"}.get(protocol)
    if kind is None:
        return _say(f"{signal} are not sent: OTEL_EXPORTER_OTLP_PROTOCOL must be grpc or http/protobuf")
    try:
        base: Any = getattr(_load(f"opentelemetry.exporter.otlp.proto.{kind}.{module}"), name)
    except ImportError:
        package = f"opentelemetry-exporter-otlp-proto-{kind}"
        needed = f"'{_NAME}[traces]'" if kind == "grpc" else package
        return _say(f"{signal} are not sent: {package} is not installed. Install it:\n  pip install {needed}")
    import logging

    # A failing collector is reported once below. Its log messages appear only if the program has its own handlers.
    logging.getLogger("opentelemetry").addHandler(logging.NullHandler())

    class Exporter(base):  # type: ignore[misc]
        """An exporter that gives up after the first failure, because a missing collector must not delay the program."""

        lost = False

        def export(self, batch: Iterable[Any], *arguments: Any, **options: Any) -> Any:
            if self.lost:
                return None
            try:
                result = super().export(batch, *arguments, **options)
            except Exception:
                result = None
            if getattr(result, "name", "") != "SUCCESS":
                self.lost = True
                _say(f"{signal} are not sent: the collector does not take them, and is not asked again")
            return result

    timeouts = ("OTEL_EXPORTER_OTLP_TIMEOUT", f"OTEL_EXPORTER_OTLP_{signal.upper()}_TIMEOUT")
    return Exporter(**{} if any(map(os.environ.get, timeouts)) else {"timeout": _TIMEOUT})


def _load(module: str) -> Any:
    from importlib import import_module

    return import_module(module)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
