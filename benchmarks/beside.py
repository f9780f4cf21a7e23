"""Sessions that keep a server busy during a measurement, and their waits."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import psycopg

from benchmarks.measure import seconds

__all__ = ["Beside"]


class Beside:
    """Sessions that repeat a statement, each over its own connection, until the block ends. `waits` are in seconds.

    `statement` returns the next SQL text and its parameters.
    """

    def __init__(self, address: str, count: int, pause: float, statement: Callable[[], tuple[str, list[Any]]]) -> None:
        self._pause = pause
        self._statement = statement
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._work, args=[address]) for _ in range(count)]
        self.waits: list[float] = []

    def __enter__(self) -> Beside:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _work(self, address: str) -> None:
        with psycopg.connect(address, autocommit=True) as connection:
            while not self._stop.wait(self._pause):
                sql, parameters = self._statement()
                self.waits.append(seconds(lambda: connection.execute(sql.encode(), parameters)))  # noqa: B023
