"""How many rows a batch has, how long it rests, and what is said of the progress. Pure but for its clock."""

from __future__ import annotations

import time
from collections.abc import Callable

__all__ = ["Pace"]

TARGET = 0.01
"""Seconds that a batch is to take: for about so long a writer may have to wait for one of its rows."""

LARGEST = 100_000
FIRST = 100
_REST = 0.25  # of the time that the batch took
_SAY = (1.0, 10.0)  # seconds between two texts: a twentieth of the time so far, within these


class Pace:
    """Batches grow to TARGET and no further; they shrink at once where they took longer or somebody waited for them.

    `patient` says that the next batch is one row that takes as long as it takes.
    """

    def __init__(
        self,
        table: str,
        expected: int,
        walked: int,
        tell: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`expected` rows in all, 0 where nobody knows, of which an earlier run `walked` some."""
        self.size = FIRST
        self.patient = False
        self._table = table
        self._expected = expected
        self._walked = self._before = walked
        self._tell = tell
        self._clock = clock
        self._begun = self._progress = clock()
        self._said = self._begun

    @property
    def stuck(self) -> float:
        """Seconds since the last batch that succeeded."""
        return self._clock() - self._progress

    def failed(self, *, timed_out: bool) -> None:
        """The batch was undone: the next one is smaller."""
        self.patient = timed_out and self.size == 1
        self.size = max(1, self.size // 2)

    def done(self, rows: int, seconds: float, *, waited_for: bool) -> float:
        """A batch of `rows` took `seconds`. Returns how long to rest; the next is smaller where it was `waited_for`."""
        self._walked += rows
        self.patient = False
        self._progress = self._clock()
        factor = 0.5 if waited_for else min(2.0, max(0.25, TARGET / max(seconds, 1e-6)))
        self.size = min(LARGEST, max(1, round(self.size * factor)))
        now = self._clock()
        if now - self._said >= min(max((now - self._begun) / 20, _SAY[0]), _SAY[1]):
            self._said = now
            self._tell(str(self))
        return seconds if waited_for else seconds * _REST

    def __str__(self) -> str:
        """`tasks: 1,200,000 of about 2,000,000 rows (60 %), 21,000 rows/s, 38 s left`."""
        rate = (self._walked - self._before) / max(self._clock() - self._begun, 1e-6)
        speed = f"{rate:,.0f} rows/s"
        if self._expected <= self._walked:
            return f"{self._table}: {self._walked:,} rows, {speed}"
        share = 100 * self._walked // self._expected
        left = f", {(self._expected - self._walked) / rate:,.0f} s left" if rate else ""
        return f"{self._table}: {self._walked:,} of about {self._expected:,} rows ({share} %), {speed}{left}"
