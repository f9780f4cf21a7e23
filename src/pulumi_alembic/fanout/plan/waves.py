"""The waves of a fan-out: how many databases or schemas are migrated before the next wave begins. Pure."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from pulumi_alembic.errors import PolicyError

__all__ = ["Waves"]

_T = TypeVar("_T")

_STOP, _CONTINUE = "stop", "continue"
_DEFAULTS = {"canary": 1, "on_error": _STOP}


@dataclass(frozen=True)
class Waves:
    """The sizes of waves. A wave begins when the previous one has ended, by default only without a failure.

    Attributes:
        canary: The number of databases in the first wave.
        wave: The number in each other wave. None for twice the previous wave.
        parallel: How many databases are migrated at the same time. None for the number of cores.
        on_error: `stop` begins no wave after one with a failure. `continue` runs them all, and then fails.

    """

    canary: int = 1
    wave: int | None = None
    parallel: int | None = None
    on_error: str = _STOP

    @classmethod
    def parse(cls, settings: Mapping[str, Any]) -> Waves:
        """Return the waves with these settings. Raises PolicyError if one is not valid."""
        if (on_error := settings.get("on_error", _STOP)) not in (_STOP, _CONTINUE):
            raise PolicyError(f"on_error must be {_STOP} or {_CONTINUE}, not {on_error!r:.80}")
        sizes = {name: value for name, value in settings.items() if name != "on_error" and value is not None}
        return cls(**{name: _number(name, value) for name, value in sizes.items()}, on_error=on_error)

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
    def settings(self) -> dict[str, int | str]:
        """The settings that differ from the defaults, as `parse` reads them."""
        named = {"canary": self.canary, "wave": self.wave, "parallel": self.parallel, "on_error": self.on_error}
        return {name: value for name, value in named.items() if value not in (None, _DEFAULTS.get(name))}

    @property
    def goes_on(self) -> bool:
        """Whether the waves after one with a failure are run."""
        return self.on_error == _CONTINUE


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _number(name: str, value: object) -> int:
    # Pulumi's protocol transports numbers as floats.
    if isinstance(value, bool) or not isinstance(value, int | float) or not float(value).is_integer() or value < 1:
        raise PolicyError(f"{name} must be a whole number from 1, not {value!r}")
    return int(value)
