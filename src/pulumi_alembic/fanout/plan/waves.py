"""How many databases are migrated one after the other, and how many at once. Pure."""

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
    """Each wave begins when the one before it has ended, without a failure.

    The first has `canary` databases, the others `wave`, or twice as many as the one before where that is None. Of a
    wave `parallel` are migrated at once, as many as there are cores where that is None.
    """

    canary: int = 1
    wave: int | None = None
    parallel: int | None = None

    @classmethod
    def parse(cls, settings: Mapping[str, Any]) -> Waves:
        """The waves of these settings. Raises PolicyError for what is no whole number from 1 on."""
        return cls(**{name: _number(name, value) for name, value in settings.items() if value is not None})

    def of(self, items: Sequence[_T]) -> Iterator[Sequence[_T]]:
        """The items wave after wave, in their order."""
        size, begun = self.canary, 0
        while begun < len(items):
            yield items[begun : begun + size]
            begun += size
            size = self.wave or 2 * size

    @property
    def processes(self) -> int:
        """How many run at once, if there are as many to run."""
        return self.parallel or _cores()

    @property
    def settings(self) -> dict[str, int]:
        """What `parse` makes these of; only what is not as it is by default."""
        named = {"canary": self.canary, "wave": self.wave, "parallel": self.parallel}
        return {name: value for name, value in named.items() if value is not None and (name, value) != ("canary", 1)}


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _number(name: str, value: object) -> int:
    # Numbers come over the wire as floats.
    if isinstance(value, bool) or not isinstance(value, int | float) or not float(value).is_integer() or value < 1:
        raise PolicyError(f"{name} must be a whole number from 1, not {value!r}")
    return int(value)
