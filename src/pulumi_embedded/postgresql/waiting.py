"""Report which session a statement waits for, during the wait and in the error that ends it."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from typing import Any

import psycopg

from pulumi_embedded.postgresql.errors import ProviderError

__all__ = ["DEADLINE", "Wait", "say", "waiting"]

DEADLINE = 300.0
"""Seconds that a statement waits for one lock, of a table, a role, a database or an advisory one. Then it fails."""

_AFTER = 1.0  # seconds before the first check
_AGAIN = 10.0  # seconds after which the same report is repeated

# Every login sees these columns of every session (PostgreSQL 13 to 18, pg_stat_get_activity).
_BLOCKING = """
SELECT blocker.pid, a.usename, a.application_name
FROM (SELECT DISTINCT unnest(pg_blocking_pids(%s))) AS blocker (pid) LEFT JOIN pg_stat_activity a USING (pid)
ORDER BY 1
"""


class Wait:
    """A statement's wait. `text` is empty until the statement waits for another session."""

    text = ""


@contextmanager
def waiting(connection: psycopg.Connection, another: Callable[[], psycopg.Connection]) -> Iterator[Wait]:
    """Report with `say` which session a statement on `connection` waits for, if it takes long.

    `another` returns the connection for the query. An error there does not end the statement.
    """
    wait, ended = Wait(), threading.Event()
    pid = connection.info.backend_pid
    timer = threading.Timer(_AFTER, _watch, [pid, another, wait, ended])
    timer.daemon = True
    timer.start()
    try:
        yield wait
    finally:
        ended.set()
        timer.cancel()


def _watch(pid: int, another: Callable[[], psycopg.Connection], wait: Wait, ended: threading.Event) -> None:
    with suppress(psycopg.Error, ProviderError), another() as connection:
        silent = 0.0
        while not ended.is_set():
            text = " and ".join(_whom(*row) for row in connection.execute(_BLOCKING, [pid]))
            if text and (text != wait.text or silent >= _AGAIN):
                silent = 0.0
                say(f"waiting for {text}")
            wait.text = text or wait.text
            ended.wait(_AFTER)
            silent += _AFTER


def _whom(pid: int, user: str | None, application: str | None) -> str:
    if pid == 0:
        return "a prepared transaction (see pg_prepared_xacts)"
    parts = [f"user {user}"] * bool(user) + [f"application {application}"] * bool(application)
    return f"pid {pid} ({', '.join(parts)})" if parts else f"pid {pid}"


def say(message: str) -> None:
    """Print `message` through the engine that started this plugin, if one did."""
    engine = _engine()
    if engine is not None:
        from pulumi.runtime.proto import engine_pb2

        with suppress(Exception):
            engine.Log(engine_pb2.LogRequest(severity=engine_pb2.INFO, message=message))


@cache
def _engine() -> Any:
    host, _, port = sys.argv[-1].rpartition(":")
    if not (host and port.isdigit()) and not sys.argv[-1].startswith("unix:"):
        return None
    import grpc
    from pulumi.runtime.proto import engine_pb2_grpc

    return engine_pb2_grpc.EngineStub(grpc.insecure_channel(sys.argv[-1]))
