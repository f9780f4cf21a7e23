"""How long a migration waits, and for what: chosen by the stack, checked in one place, before anything runs."""

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
    """Every duration is positive, in seconds, and none is longer than the one that it is a part of.

    `lock_timeout` is how long one statement of a revision may wait for a lock, and so how long others may have to queue
    behind it; a revision that does not get its locks is rolled back and run again for up to `lock_deadline`. Locks that
    are known before are queued for no longer than 25 ms, and in the last third of `lock_deadline` for up to
    `lock_wait_max`, which can be shorter too; `lock_timeout` limits both.
    `migration_wait` is how long to wait for another migration of the same database. `count_timeout` is how long the
    rows that a step would destroy may be counted, under the step's own lock. With `keep_data` a downgrade
    or a contract preserves what it drops. An update works at backfills for `backfill_in_update`.

    With `preflight` nothing runs where a transaction, prepared ones included, is older than `max_transaction_age`, a
    replica is more than `max_replica_lag` behind, or fewer than `min_free_connections` are left. Raises PolicyError.
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
        """The policy with these settings, durations written as `200ms`, `5s`, `2min`; the rest as it is by default."""
        parsers: dict[str, Callable[[str, object], Any]] = dict.fromkeys(DURATIONS, parse_duration)
        parsers |= {"preflight": _flag, "keep_data": _flag, "min_free_connections": _count}
        unknown = sorted(settings.keys() - parsers.keys())
        if unknown:
            raise PolicyError(f"there is no setting {unknown[0]}; there are: {', '.join(parsers)}")
        return cls(**{name: parsers[name](name, value) for name, value in settings.items()})

    @property
    def settings(self) -> dict[str, str]:
        """What `parse` makes this policy of; only what is not as it is by default."""
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
"""The settings of a policy that are durations."""


def parse_duration(name: str, text: object) -> float:
    """The seconds that `text` stands for. Raises PolicyError, naming the setting `name`, where it has no unit."""
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
