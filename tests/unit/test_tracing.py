"""Traces are sent if the usual variables ask for them, without messages of errors. Otherwise nothing is loaded."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa

import pulumi_alembic.output.tracing as ours
import pulumi_embedded.tracing as theirs
from tests.collector import Collected, http_collector

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"

# Loads all modules that a command of either library loads, and opens a span of each.
WITHOUT = """
import sys
from pulumi_embedded.startup import start_quickly
start_quickly()
import pulumi_embedded.cli.root, pulumi_embedded.cli.perform, pulumi_embedded.deployment.deployment
import pulumi_alembic.commands.cli, pulumi_alembic.migrate.alembic_run, pulumi_alembic.migrate.online
import pulumi_alembic.fanout.worker_pool.helper
from pulumi_alembic.output import tracing as ours
from pulumi_embedded import tracing as theirs
for each in (ours, theirs):
    with each.remembered("a"), each.span("b") as span:
        span.add({"c": 1})
        each.count("d", {})
        each.measure("e", 1.0, {})
        assert each.environment() is None and each.carrier() == {}
print([name for name in sys.modules if name.startswith("opentelemetry")])
"""


def test_both_libraries_have_the_same_module() -> None:
    assert Path(ours.__file__).read_text() == Path(theirs.__file__).read_text()


def test_without_the_variables_nothing_of_it_is_imported() -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    # Without an endpoint, a parent alone requests no traces.
    environment["TRACEPARENT"] = f"00-{TRACE}-{PARENT}-01"
    done = subprocess.run([sys.executable, "-c", WITHOUT], env=environment, capture_output=True, text=True)
    assert done.stdout == "[]\n", done.stderr


@pytest.mark.parametrize(
    ("variables", "wanted"),
    [
        ({}, ""),
        ({"OTEL_SERVICE_NAME": "x"}, ""),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x"}, "TRACES METRICS"),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://x"}, "TRACES"),
        ({"OTEL_METRICS_EXPORTER": "otlp"}, "METRICS"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x", "OTEL_METRICS_EXPORTER": "none"}, "TRACES"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x", "OTEL_SDK_DISABLED": "True"}, ""),
    ],
)
def test_the_variables_of_the_specification_decide(
    variables: dict[str, str], wanted: str, untraced: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        untraced.setenv(name, value)
    assert " ".join(signal for signal in ("TRACES", "METRICS") if ours.wanted(signal)) == wanted


def test_spans_belong_to_the_variable_and_to_each_other(collected: Collected, untraced: pytest.MonkeyPatch) -> None:
    untraced.setenv("TRACEPARENT", f"00-{TRACE}-{PARENT}-01")
    with ours.span("outer", {"a": 1}), ours.span("inner"):
        headers = ours.carrier()
    outer, inner = collected.named("outer")[0], collected.named("inner")[0]
    assert (outer.trace, outer.parent, outer.service) == (TRACE, PARENT, "pulumi-alembic")
    assert (inner.trace, inner.parent) == (TRACE, outer.id)
    assert headers["traceparent"] == f"00-{TRACE}-{inner.id}-01"
    assert outer.attributes == {"a": 1}


def test_a_span_of_another_thread_belongs_to_the_remembered_one(collected: Collected) -> None:
    import threading

    def work() -> None:
        with ours.span("aside"):
            pass

    with ours.remembered("operation"):
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    assert collected.path(collected.named("aside")[0]) == ["operation", "aside"]


def test_of_an_error_only_its_code_is_sent(collected: Collected) -> None:
    unique = psycopg.errors.UniqueViolation("Key (name)=(s3cr3t) already exists.")
    for error in (unique, sa.exc.IntegrityError("INSERT s3cr3t", {}, unique), ValueError("s3cr3t")):
        with pytest.raises(type(error)), ours.span("failing"):
            raise error
    sent = [(each.failed, each.attributes["error.type"]) for each in collected.named("failing")]
    assert sent == [(True, "23505"), (True, "23505"), (True, "ValueError")]
    assert "s3cr3t" not in "".join(collected.raw)


def test_metrics_are_sent_with_the_spans(collected: Collected) -> None:
    with ours.span("outer"):
        ours.count("counted", {"a": "b"})
        ours.measure("measured", 0.5, {"c": "d"})
    assert collected.metrics == {"counted": [{"a": "b"}], "measured": [{"c": "d"}]}


def test_they_are_sent_over_http_too(untraced: pytest.MonkeyPatch) -> None:
    pytest.importorskip("opentelemetry.exporter.otlp.proto.http", reason="make test installs it")
    untraced.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
    with http_collector() as collected:
        untraced.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collected.endpoint)
        with ours.span("outer"), ours.span("inner"):
            ours.count("counted", {"a": "b"})
    assert collected.path(collected.named("inner")[0]) == ["outer", "inner"]
    assert collected.metrics == {"counted": [{"a": "b"}]}


def test_a_script_that_seeds_random_gets_its_numbers(collected: Collected) -> None:
    import random

    random.seed(1)
    expected = random.random()
    random.seed(1)
    with ours.span("outer"):
        assert random.random() == expected


def test_a_collector_that_is_gone_is_named_once_and_waited_for_once(
    untraced: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    untraced.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://127.0.0.1:9")
    untraced.setattr(ours, "_TIMEOUT", 0.3)
    with ours.span("first"):
        pass
    begun = time.monotonic()
    for _ in range(10):
        with ours.span("later"):
            pass
    assert time.monotonic() - begun < 0.3
    said = "traces are not sent: the collector does not take them, and is not asked again\n"
    assert capfd.readouterr().err == said


def test_what_cannot_be_sent_is_said_in_one_line(
    untraced: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    untraced.setenv("OTEL_TRACES_EXPORTER", "otlp")
    untraced.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json")
    with ours.span("first"), ours.span("second"):
        assert ours.carrier() == {}
    said = "traces are not sent: OTEL_EXPORTER_OTLP_PROTOCOL must be grpc or http/protobuf\n"
    assert capfd.readouterr().err == said


@pytest.mark.parametrize(
    ("protocol", "needed"),
    [("grpc", "'pulumi-alembic[traces]'"), ("http/protobuf", "opentelemetry-exporter-otlp-proto-http")],
)
def test_a_missing_package_is_named_with_the_command_that_installs_it(
    protocol: str, needed: str, untraced: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    untraced.setenv("OTEL_TRACES_EXPORTER", "otlp")
    untraced.setenv("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", protocol)
    for kind in ("grpc", "http"):
        untraced.setitem(sys.modules, f"opentelemetry.exporter.otlp.proto.{kind}.trace_exporter", None)
    with ours.span("first"):
        pass
    said = capfd.readouterr().err
    assert said.startswith("traces are not sent: opentelemetry-exporter-otlp-proto-")
    assert said.endswith(f" is not installed. Install it:\n  pip install {needed}\n")
