"""A stack's settings for locks and waiting: `taskdb:lock_timeout` and its companions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields

from pulumi_alembic.errors import PolicyError
from pulumi_alembic.policy import Policy

__all__ = ["POLICY_KEYS", "policy_of"]

_PREFIX = "taskdb:"

POLICY_KEYS = frozenset(_PREFIX + field.name for field in fields(Policy))
"""The keys of a stack's configuration that `policy_of` reads."""


def policy_of(configuration: Mapping[str, object]) -> Policy:
    """The policy that a stack's configuration asks for, whatever else it holds. Raises PolicyError, naming the key."""
    asked = {key.removeprefix(_PREFIX): value for key, value in configuration.items() if key in POLICY_KEYS}
    try:
        return Policy.parse(asked)
    except PolicyError as error:
        raise PolicyError(f"{_PREFIX}{error}") from None
