"""The waves of a fan-out: how many databases are migrated before the next wave begins. Pure."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from pulumi_alembic.errors import PolicyError

__all__ = ["Waves"]

_T = TypeVar("_T")


@dataclass(frozen=True)
class Waves:
    """The sizes of waves. A wave begins when the previous one has ended without a failure.

    Attributes:
        canary: The number of databases in the first wave.
        wave: The number in each other wave. None for twice the previous wave.
        parallel: How many databases are migrated at the same time. None for the number of cores.

    """

    canary: int = 1
    wave: int | None = None
    parallel: int | None = None

    @classmethod
    def parse(cls, settings: Mapping[str, Any]) -> Waves:
        """Return the waves with these settings. Raises PolicyError if one is not a whole number from 1."""
        return cls(**{name: _number(name, value) for name, value in settings.items() if value is not None})

    def of(self, items: Sequence[_T]) -> Iterator[Sequence[_T]]:
        """Return the items of each wave, in order."""
        size, begun = self.canary, 0
        while begun < len(items):
            yield items[begun : begun + size]
            begun += size
            size = self.wave or 2 * size

    @property
    def processes(self) -> int:
        """The largest number of processes."""
        return self.parallel or _cores()

    @property
    def settings(self) -> dict[str, int]:
        """The settings that differ from the defaults, as `parse` reads them."""
        named = {"canary": self.canary, "wave": self.wave, "parallel": self.parallel}
        return {name: value for name, value in named.items() if value is not None and (name, value) != ("canary", 1)}


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _number(name: str, value: object) -> int:
    # Pulumi's protocol transports numbers as floats.
    if isinstance(value, bool) or not isinstance(value, int | float) or not float(value).is_integer() or value < 1:
        raise PolicyError(f"{name} must be a whole number from 1, not {value!r}")
    return int(value)
