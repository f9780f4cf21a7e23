"""A stack's settings for locks and waiting, such as `taskdb:lock_timeout`. env.py reads them without Pulumi."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields

from pulumi_alembic.errors import PolicyError
from pulumi_alembic.policy import DURATIONS, Policy, rate_text

__all__ = ["POLICY_KEYS", "example_of", "policy_of"]

_PREFIX = "taskdb:"

POLICY_KEYS = frozenset(_PREFIX + field.name for field in fields(Policy))
"""The configuration keys that `policy_of` reads."""


def policy_of(configuration: Mapping[str, object]) -> Policy:
    """Return the policy of a stack's configuration, without other keys. Raises PolicyError with the invalid key."""
    values = {key.removeprefix(_PREFIX): value for key, value in configuration.items() if key in POLICY_KEYS}
    try:
        return Policy.parse(values)
    except PolicyError as error:
        raise PolicyError(f"{_PREFIX}{error}") from None


def example_of(error: str) -> str:
    """Return the key at the beginning of an error of `policy_of`, with its default value as an example.

    A setting without a limit by default gets another value.
    """
    name = next(key.removeprefix(_PREFIX) for key in sorted(POLICY_KEYS) if error.startswith(key))
    value = getattr(Policy, name)
    if name == "max_wal_rate":
        return f"{_PREFIX}{name} {rate_text(20 << 20)}"
    if name not in DURATIONS:
        return f"{_PREFIX}{name} {str(value).lower()}"
    return f"{_PREFIX}{name} {value:g}s" if value >= 1 else f"{_PREFIX}{name} {value * 1000:g}ms"
