"""How long a migration waits for locks and other sessions. Come here to add a timeout or to change a default."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from pulumi_alembic.errors import PolicyError

__all__ = ["DURATIONS", "Policy", "parse_duration"]

_UNITS = {"ms": 0.001, "s": 1.0, "min": 60.0, "h": 3600.0}
_LONGEST = 7 * 24 * 3600.0


@dataclass(frozen=True)
class Policy:
    """Timeouts and preconditions of a migration. Durations are positive and in seconds.

    Attributes:
        lock_timeout: How long one statement waits for a lock. Other sessions can queue behind it for as long.
        lock_deadline: How long a revision that gets no lock is rolled back and tried again.
        lock_wait_max: How long a session queues for locks that are known in advance, in the last third of
            `lock_deadline`. Before that it queues for 25 ms at most. `lock_timeout` limits both.
        migration_wait: How long to wait for another migration of the same database.
        preflight: Whether to check the next three limits before anything runs.
        max_transaction_age: The age of the oldest transaction, prepared ones included, up to which a run starts.
        max_replica_lag: How far a replica is allowed to be behind.
        count_timeout: How long the rows that a step would destroy are counted, under the step's own lock.
        backfill_in_update: How long an update works at backfills.
        min_free_connections: How many connections must be free on the server.
        keep_data: Whether a downgrade or a contract preserves the rows that it drops.

    Raises:
        PolicyError: A duration is not between 1 ms and 168 h, `lock_timeout` is above `lock_deadline`, or
            `min_free_connections` is negative.

    """

    lock_timeout: float = 0.2
    lock_deadline: float = 300.0
    lock_wait_max: float = 0.025
    migration_wait: float = 600.0
    preflight: bool = False
    max_transaction_age: float = 60.0
    max_replica_lag: float = 30.0
    count_timeout: float = 1.0
    backfill_in_update: float = 30.0
    min_free_connections: int = 3
    keep_data: bool = True

    def __post_init__(self) -> None:
        for name in DURATIONS:
            value = getattr(self, name)
            if not math.isfinite(value) or not 0.001 <= value <= _LONGEST:
                raise PolicyError(f"{name} is {value:g} s: it is between 1ms and 168h")
        if self.lock_timeout > self.lock_deadline:
            raise PolicyError(
                f"lock_timeout, {self.lock_timeout:g} s, is above lock_deadline, {self.lock_deadline:g} s: one try "
                "for a lock cannot take longer than all of them"
            )
        if self.min_free_connections < 0:
            raise PolicyError(f"min_free_connections must be a whole number from 0, not {self.min_free_connections}")

    @classmethod
    def parse(cls, settings: Mapping[str, Any]) -> Policy:
        """Return the policy with these settings and the defaults of the others.

        Args:
            settings: Values by the names of the fields, durations as `200ms`, `5s`, `2min` or `1h`.

        Raises:
            PolicyError: A name is unknown, or a value is not valid.

        """
        parsers: dict[str, Callable[[str, object], Any]] = dict.fromkeys(DURATIONS, parse_duration)
        parsers |= {"preflight": _flag, "keep_data": _flag, "min_free_connections": _count}
        unknown = sorted(settings.keys() - parsers.keys())
        if unknown:
            raise PolicyError(f"there is no setting {unknown[0]}; there are: {', '.join(parsers)}")
        return cls(**{name: parsers[name](name, value) for name, value in settings.items()})

    @property
    def settings(self) -> dict[str, str]:
        """The settings that differ from the defaults, as `parse` reads them."""
        changed = {
            field.name: getattr(self, field.name)
            for field in fields(self)
            if getattr(self, field.name) != field.default
        }
        return {name: _text(value) if name in DURATIONS else str(value).lower() for name, value in changed.items()}


DURATIONS = (
    "lock_timeout",
    "lock_deadline",
    "lock_wait_max",
    "migration_wait",
    "max_transaction_age",
    "max_replica_lag",
    "count_timeout",
    "backfill_in_update",
)
"""The names of the settings that are durations."""


def parse_duration(name: str, text: object) -> float:
    """Return the seconds of a duration such as `200ms` or `5s`.

    Args:
        name: The setting, for the error.
        text: A number with its unit.

    Raises:
        PolicyError: The number has no unit, or another one than ms, s, min and h.

    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(ms|s|min|h)", str(text).strip())
    if match is None:
        raise PolicyError(f"{name} must be a number with its unit (such as 200ms, 5s, 2min or 1h), not {str(text)!r}")
    return float(match[1]) * _UNITS[match[2]]


def _text(seconds: float) -> str:
    return f"{seconds:.10g}s" if seconds >= 1 else f"{seconds * 1000:.10g}ms"


def _flag(name: str, text: object) -> bool:
    if str(text).lower() not in {"true", "false"}:
        raise PolicyError(f"{name} must be true or false, not {str(text)!r}")
    return str(text).lower() == "true"


def _count(name: str, text: object) -> int:
    if not re.fullmatch(r"\d+", str(text)):
        raise PolicyError(f"{name} must be a whole number from 0, not {str(text)!r}")
    return int(str(text))
