"""The limit of each application login's sessions, which keeps room for admin and migrator."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["DEFAULT", "NO_LIMIT", "OUTPUT", "connection_limit"]

OUTPUT = "app_connection_limit"
NO_LIMIT = -1

DEFAULT = 25
"""Two application logins and the reader leave 22 of the 97 sessions that PostgreSQL has by default."""


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
