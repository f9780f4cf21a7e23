"""How many sessions each application login can have: without a limit, they could shut out admin and migrator."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from taskdb.errors import TaskdbError

__all__ = ["CONNECTION_LIMIT_KEY", "NO_LIMIT", "OUTPUT", "configured_limit", "connection_limit"]

CONNECTION_LIMIT_KEY = "taskdb:app_connection_limit"
OUTPUT = "app_connection_limit"
NO_LIMIT = -1

DEFAULT = 25
"""Two application logins and the reader leave 22 of the 97 sessions that PostgreSQL has by default."""


def configured_limit(values: Mapping[str, str], command: Callable[[str, str], str]) -> int | None:
    """The limit that the stack's configuration sets, None without one. `command` writes a command of the engine."""
    value = values.get(CONNECTION_LIMIT_KEY)
    if value is None or value == "none":
        return None if value is None else NO_LIMIT
    if not value.isdigit() or int(value) == 0:
        fix = command("config set", f"{CONNECTION_LIMIT_KEY} {DEFAULT}")
        raise TaskdbError(f"{CONNECTION_LIMIT_KEY} must be a number from 1, or none, not {value!r}. Set it:\n  {fix}")
    return int(value)


def connection_limit(configured: int | None, outputs: Mapping[str, Any], *, adopting: bool) -> int:
    """The limit of each application login.

    A new stack gets DEFAULT. A stack whose `outputs` have no limit has none: the first release set none, and a preview
    of its stacks shows no change. The same holds for a database that is adopted, whose application can have more
    sessions already.
    """
    if configured is not None:
        return configured
    if not outputs and not adopting:
        return DEFAULT
    return int(outputs.get(OUTPUT, NO_LIMIT))
