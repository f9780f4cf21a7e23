"""How long a migration waits for locks and other sessions. Come here to add a timeout or to change a default."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from pulumi_alembic.errors import PolicyError

__all__ = ["DURATIONS", "Policy", "parse_duration", "parse_rate", "rate_text"]

_UNITS = {"ms": 0.001, "s": 1.0, "min": 60.0, "h": 3600.0}
_LONGEST = 7 * 24 * 3600.0
_BYTES = {"B": 1, "kB": 1 << 10, "MB": 1 << 20, "GB": 1 << 30}


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
        max_wal_rate: The bytes of WAL that the server is allowed to write per second while rows are set in batches. 0
            for no limit.
        count_timeout: How long the rows that a step would destroy are counted, under the step's own lock.
        backfill_in_update: How long an update works at backfills.
        min_free_connections: How many connections must be free on the server.
        keep_data: Whether a downgrade or a contract preserves the rows that it drops.

    Raises:
        PolicyError: A duration is not between 1 ms and 168 h, `lock_timeout` is above `lock_deadline`, or
            `min_free_connections` or `max_wal_rate` is negative.

    """

    lock_timeout: float = 0.2
    lock_deadline: float = 300.0
    lock_wait_max: float = 0.025
    migration_wait: float = 600.0
    preflight: bool = False
    max_transaction_age: float = 60.0
    max_replica_lag: float = 30.0
    max_wal_rate: int = 0
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
        if self.max_wal_rate < 0:
            raise PolicyError(f"max_wal_rate must be a whole number of bytes from 0, not {self.max_wal_rate}")

    @classmethod
    def parse(cls, settings: Mapping[str, Any]) -> Policy:
        """Return the policy with these settings and the defaults of the others.

        Args:
            settings: Values by the names of the fields, durations as `200ms`, `5s`, `2min` or `1h`, and
                `max_wal_rate` as `20MB/s`.

        Raises:
            PolicyError: A name is unknown, or a value is not valid.

        """
        parsers: dict[str, Callable[[str, object], Any]] = dict.fromkeys(DURATIONS, parse_duration)
        parsers |= {"preflight": _flag, "keep_data": _flag, "min_free_connections": _count, "max_wal_rate": parse_rate}
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
        texts: dict[str, Callable[[Any], str]] = {**dict.fromkeys(DURATIONS, _text), "max_wal_rate": rate_text}
        return {name: texts.get(name, _lower)(value) for name, value in changed.items()}


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


def parse_rate(name: str, text: object) -> int:
    """Return the bytes per second of a rate such as `20MB/s`. A kB has 1024 bytes, as in PostgreSQL's settings.

    Args:
        name: The setting, for the error.
        text: A number with its unit.

    Raises:
        PolicyError: The number is not whole or not above 0, or has another unit than B/s, kB/s, MB/s and GB/s.

    """
    match = re.fullmatch(r"([1-9]\d*)\s*(B|kB|MB|GB)/s", str(text).strip())
    if match is None:
        raise PolicyError(f"{name} must be a whole number with its unit (such as 500kB/s or 20MB/s), not {str(text)!r}")
    return int(match[1]) * _BYTES[match[2]]


def rate_text(rate: int) -> str:
    """Return the rate as `parse_rate` reads it, in the largest unit in which it is a whole number."""
    unit = max((unit for unit, size in _BYTES.items() if rate % size == 0), key=_BYTES.__getitem__)
    return f"{rate // _BYTES[unit]}{unit}/s"


def _lower(value: object) -> str:
    return str(value).lower()


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
